"""The three uses, thin shells around `famus_jax.core.update`: weights for one's own loss, an optax
transformation, the whole training step."""
