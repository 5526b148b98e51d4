"""Only until `famus_jax/__init__.py` imports from `famus_jax.forward` itself; delete it then."""

from famus_jax.forward import linen_forward, linen_init, nnx_forward, stateless_forward

__all__ = ["linen_forward", "linen_init", "nnx_forward", "stateless_forward"]
