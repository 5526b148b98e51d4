"""What each method of a table trains on, and what it starts from."""

from __future__ import annotations

from typing import Literal, NamedTuple

Batches = Literal["noisy", "clean", "trusted", "noisy+trusted"]


class Method(NamedTuple):
    """One method.

    Attributes:
      title: for tables and legends.
      batches: the training batches: the training set with noisy or clean labels, the trusted set,
        or a noisy batch with a whole meta batch of trusted examples (which oversamples them).
      meta: whether it learns weights from a meta batch of trusted examples.
      needs: the method whose run it continues or re-reads.
      early_stop: the rows of `needs`, stopped at the best noisy-validation accuracy.
    """

    title: str
    batches: Batches
    meta: bool = False
    needs: str | None = None
    early_stop: bool = False


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
    "clean": Method("clean labels (bound)", "clean"),
}
