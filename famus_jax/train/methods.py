"""What each method of a table trains on, with which loss, and what it starts from."""

from __future__ import annotations

from typing import Literal, NamedTuple

Batches = Literal["noisy", "clean", "trusted", "noisy+trusted", "mixed"]
Learned = Literal["", "mwnet", "l2r", "mlc", "meta_label_correction", "mixmatch"]
Loss = Literal["cross_entropy", "focal", "cb_focal", "ldam", "ldam_drw"]


class Method(NamedTuple):
    """One method.

    Attributes:
      title: for tables and legends.
      batches: the training batches: the training set with noisy or clean labels, the trusted set,
        or a noisy batch with a whole meta batch of trusted examples (which oversamples them), or one
        mixed of a labelled and an unlabelled part.
      objective: what is learned from a meta batch: of trusted examples, or, with two networks, of
        those whose labels look right; `""` for nothing.
      loss: the example loss that is trained on, or weighed.
      needs: the method whose run it continues or re-reads.
      early_stop: the rows of `needs`, stopped at the best noisy-validation accuracy.
      networks: two choose a pseudo-clean set for each other and need no trusted labels.
    """

    title: str
    batches: Batches
    objective: Learned = ""
    loss: Loss = "cross_entropy"
    needs: str | None = None
    early_stop: bool = False
    networks: int = 1

    @property
    def meta(self) -> bool:
        """Whether it learns from a meta batch."""
        return self.objective != ""

    @property
    def trusts(self) -> bool:
        """Whether it needs trusted examples."""
        return "trusted" in self.batches or (self.meta and self.networks == 1)

    @property
    def reads_features(self) -> bool:
        """Whether it needs the network's features besides its logits."""
        return self.objective == "meta_label_correction"

    @property
    def reads_counts(self) -> bool:
        """Whether it needs the number of training examples per class."""
        return self.loss not in ("cross_entropy", "focal")

    @property
    def scales_logits(self) -> bool:
        """Whether its loss scales the logits, so that they should be cosines."""
        return self.loss.startswith("ldam")


METHODS: dict[str, Method] = {
    "ce": Method("cross-entropy", "noisy"),
    "ce_early_stop": Method(
        "CE, stopped on noisy validation", "noisy", needs="ce", early_stop=True
    ),
    "trusted_only": Method("trusted set only", "trusted"),
    "noisy_plus_trusted": Method("noisy + trusted (oversampled)", "noisy+trusted"),
    "finetune": Method("CE, fine-tuned on trusted", "trusted", needs="ce"),
    "mwnet": Method("MW-Net", "noisy", "mwnet"),
    "l2r": Method("L2R", "noisy", "l2r"),
    "mlc": Method("MLC (transition matrix)", "noisy", "mlc"),
    "mlc_after_ce": Method("MLC, after CE", "noisy", "mlc", needs="ce"),
    "meta_label_correction": Method("meta label correction", "noisy", "meta_label_correction"),
    "focal": Method("focal loss", "noisy", loss="focal"),
    "cb_focal": Method("class-balanced focal loss", "noisy", loss="cb_focal"),
    "ldam": Method("LDAM", "noisy", loss="ldam"),
    "ldam_drw": Method("LDAM-DRW", "noisy", loss="ldam_drw"),
    "mwnet_ldam": Method("MW-Net, LDAM", "noisy", "mwnet", "ldam"),
    "mwnet_ldam_drw": Method("MW-Net, LDAM-DRW", "noisy", "mwnet", "ldam_drw"),
    "mwnet_pseudo_clean": Method("MW-Net, pseudo-clean (Alg. 2)", "noisy", "mwnet", networks=2),
    "l2r_pseudo_clean": Method("L2R, pseudo-clean (Alg. 2)", "noisy", "l2r", networks=2),
    "mixmatch_pseudo_clean": Method(
        "MixMatch, weights, pseudo-clean", "mixed", "mixmatch", networks=2
    ),
    "dividemix": Method("MixMatch, pseudo-clean (DivideMix)", "mixed", networks=2),
    "clean": Method("clean labels (bound)", "clean"),
}
