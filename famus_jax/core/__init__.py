"""The method itself, on any pytree of parameters; imports jax and optax only.

Bottom to top: `groups`, `linearize`, `tracing` (layer groups and one linearised forward);
`losses`, `objectives` (what is learned); `pooling`, `samplers`, `gates`, `gate_state` (learned gates);
`estimators`; `meta_gradient`, `meta_update`; and three ways to use them: `reweighter`, `transform`,
`train_step`.
"""
