"""One training step of the method, on any pytree of parameters; imports jax and optax only.

To understand it, read in this order: `method`, `famus_jax.layers.partition`,
`famus_jax.differentiate.linearize`, `virtual_step`, `meta_gradient`, `active_layers`, `estimator`,
`state`, `update`.
"""
