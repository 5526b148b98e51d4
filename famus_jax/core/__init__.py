"""The method itself, on any pytree of parameters; imports jax and optax only.

To understand one training step, read in this order: `method`, `layers`, `linearize`, `virtual_step`,
`meta_gradient`, `active_layers`, `estimator`, `state`, `update`.
"""
