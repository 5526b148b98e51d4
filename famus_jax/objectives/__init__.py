"""The methods: training objectives T(f, θ), one file each. They know nothing of estimators."""

from famus_jax.objectives.l2r import l2r
from famus_jax.objectives.mwnet import mwnet, mwnet_weight
from famus_jax.objectives.plain import cross_entropy

__all__ = ["cross_entropy", "l2r", "mwnet", "mwnet_weight"]
