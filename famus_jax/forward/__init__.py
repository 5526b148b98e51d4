"""Linen modules, NNX modules and plain functions as forward passes of one signature.

    forward(params, model_state, rng, batch) -> (outputs, model_state)

- `params`: what is trained, a pytree of floating-point arrays.
- `model_state`: everything else that the network carries along (BatchNorm's running statistics, NNX
  random streams); `{}` if there is none.
- `rng`: a PRNG key for dropout and the like, or None; passes that get different keys draw different
  numbers, in NNX too, whose random streams are in the model state.
- `batch`: any pytree; the argument `input` says which part of it the network reads.
- `outputs`: whatever the network returns, usually logits `[n, C]`.

In training mode the new model state has the structure, shapes and dtypes of the one that was given, so
that `jax.lax.scan` can carry it. In evaluation mode (`train=False`) it is the very one that was given.
All forward passes are differentiable in `params`, forward and reverse.

They are frozen dataclasses: two made from equal arguments are equal and hash alike, so that `jax.jit`
with a static forward pass compiles once. `dataclasses.replace(forward, train=False)` gives the
evaluation twin of one that was made of a Linen or NNX module.

A network that fits none of these functions needs none: any function with the signature above will do.
`compute_in` and `rematerialize` wrap every forward pass; `pair` makes two networks one.
"""

from famus_jax.forward.inputs import Input, select_inputs
from famus_jax.forward.linen import LinenForward, linen_forward, linen_init
from famus_jax.forward.nnx import NNXForward, nnx_forward
from famus_jax.forward.pair import pair
from famus_jax.forward.plain import StatelessForward, stateless_forward
from famus_jax.forward.wrappers import compute_in, rematerialize

__all__ = [
    "Input",
    "LinenForward",
    "NNXForward",
    "StatelessForward",
    "compute_in",
    "linen_forward",
    "linen_init",
    "nnx_forward",
    "pair",
    "rematerialize",
    "select_inputs",
    "stateless_forward",
]
