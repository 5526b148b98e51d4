"""Training without trusted labels: which labels look right, and what to do with the others.

`mixture` finds a pseudo-clean set by the losses, `mixing` makes soft targets and mixed batches;
`famus_jax.objectives.mixmatch` is the objective, `famus_jax.train.two_networks.advance` trains two networks that
choose the clean set for each other.
"""

from famus_jax.train.two_networks.mixing import (
    co_guess,
    co_refine,
    mix_training_batch,
    mixup,
    sharpen,
)
from famus_jax.train.two_networks.mixture import Split, clean_probability, split_clean

__all__ = [
    "Split",
    "clean_probability",
    "co_guess",
    "co_refine",
    "mix_training_batch",
    "mixup",
    "sharpen",
    "split_clean",
]
