"""Warnings about choices that work but cost more than they need to."""

import warnings

import jax


def warn_if_switching_on_cpu() -> None:
    """XLA's CPU backend runs convolutions inside a `lax.switch` about ten times slower."""
    if jax.default_backend() == "cpu":
        warnings.warn(
            "an estimator that chooses anew from step to step does so by lax.switch inside one "
            "compiled program, where convolutions run about ten times slower on CPU; use "
            "famus_jax.train_step (the host chooses a compiled variant) or a fixed set of groups",
            stacklevel=3,
        )
