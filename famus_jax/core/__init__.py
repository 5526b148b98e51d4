"""The method itself, on any pytree of parameters; imports jax and optax only.

Bottom to top: `groups`, `linearize`, `tracing` (layer groups and one linearised forward);
`losses`, `objectives` (what is learned); `pooling`, `samplers`, `gates`, `gate_state` (learned gates);
`estimators`, `problem`, `checks`; `meta_gradient` (the mathematics), `share`, `meta_update` (one step);
and three ways to use them: `reweighter`, `transform`, `train_step`.
"""
