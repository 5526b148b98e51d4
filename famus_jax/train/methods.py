"""What each method of a table trains on, and what it starts from."""

from __future__ import annotations

from typing import Literal, NamedTuple

Batches = Literal["noisy", "clean", "trusted", "noisy+trusted", "mixed"]


class Method(NamedTuple):
    """One method.

    Attributes:
      title: for tables and legends.
      batches: the training batches: the training set with noisy or clean labels, the trusted set,
        or a noisy batch with a whole meta batch of trusted examples (which oversamples them), or one
        mixed of a labelled and an unlabelled part.
      meta: whether it learns weights from a meta batch: of trusted examples, or, with two networks,
        of those whose labels look right.
      needs: the method whose run it continues or re-reads.
      early_stop: the rows of `needs`, stopped at the best noisy-validation accuracy.
      networks: two choose a pseudo-clean set for each other and need no trusted labels.
      objective: the method whose objective it takes; empty for its own.
    """

    title: str
    batches: Batches
    meta: bool = False
    needs: str | None = None
    early_stop: bool = False
    networks: int = 1
    objective: str = ""

    @property
    def trusts(self) -> bool:
        """Whether it needs trusted examples."""
        return "trusted" in self.batches or (self.meta and self.networks == 1)


METHODS: dict[str, Method] = {
    "ce": Method("cross-entropy", "noisy"),
    "ce_early_stop": Method(
        "CE, stopped on noisy validation", "noisy", needs="ce", early_stop=True
    ),
    "trusted_only": Method("trusted set only", "trusted"),
    "noisy_plus_trusted": Method("noisy + trusted (oversampled)", "noisy+trusted"),
    "finetune": Method("CE, fine-tuned on trusted", "trusted", needs="ce"),
    "mwnet": Method("MW-Net", "noisy", meta=True),
    "l2r": Method("L2R", "noisy", meta=True),
    "mwnet_pseudo_clean": Method(
        "MW-Net, pseudo-clean (Alg. 2)", "noisy", meta=True, networks=2, objective="mwnet"
    ),
    "l2r_pseudo_clean": Method(
        "L2R, pseudo-clean (Alg. 2)", "noisy", meta=True, networks=2, objective="l2r"
    ),
    "mixmatch_pseudo_clean": Method(
        "MixMatch + weights, pseudo-clean", "mixed", meta=True, networks=2
    ),
    "dividemix": Method("MixMatch, pseudo-clean (DivideMix)", "mixed", networks=2),
    "clean": Method("clean labels (bound)", "clean"),
}
