"""Training without trusted labels: two networks that choose a pseudo-clean set for each other.

`mixture` finds the labels that look right by the losses, `mixing` makes soft targets and mixed batches,
`targets` compiles that for two networks, `state` is what they carry, `advance` takes their steps,
`runs` opens a run. `famus_jax.methods.mixmatch` is the objective on mixed batches.
"""
