"""flax NNX modules as forward passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from famus_jax.forward.inputs import Input, like, select_inputs

PyTree = Any


@dataclasses.dataclass(frozen=True)
class NNXForward:
    """The forward pass made by `nnx_forward`; `graphdef` is the module without its arrays."""

    graphdef: Any
    train: bool = True
    input: Input = "image"
    call: Callable[..., Any] | None = None

    def __call__(
        self, params: PyTree, model_state: PyTree, rng: Any, batch: PyTree
    ) -> tuple[PyTree, PyTree]:
        """See `famus_jax.forward`; `rng` is ignored, the streams live in `model_state`."""
        del rng
        from flax import nnx

        # copy=True: without it the merged module shares variables with the caller's state, and
        # training would overwrite it (with tracers, inside a transformation).
        model = nnx.merge(self.graphdef, params, model_state, copy=True)
        if self.train:
            model.train()
        else:
            model.eval()
        inputs = select_inputs(batch, self.input)
        outputs = model(*inputs) if self.call is None else self.call(model, *inputs)
        if not self.train:
            return outputs, model_state
        _, _, new_state = nnx.split(model, nnx.Param, ...)
        return outputs, like(new_state, model_state)


def nnx_forward(
    model: Any,
    *,
    train: bool = True,
    input: Input = "image",
    call: Callable[..., Any] | None = None,
) -> tuple[NNXForward, PyTree, PyTree]:
    """Splits a flax NNX module into a forward pass, its parameters and its other state.

    NNX stores running statistics in their own dtype, with a warning when the computation is wider:
    for float64, cast the floating-point leaves of `model_state` as well as those of `params`.

    >>> import dataclasses, jax
    >>> from flax import nnx
    >>> model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    >>> forward, params, model_state = nnx_forward(model)
    >>> outputs, _ = forward(params, model_state, None, {"image": jax.numpy.ones((4, 3))})
    >>> outputs.shape
    (4, 2)
    >>> evaluate = dataclasses.replace(forward, train=False)
    >>> nnx.update(model, params, model_state)  # writes trained values back

    Args:
      model: an `nnx.Module`; it is left as it is.
      train: whether the forward pass calls `model.train()` or `model.eval()` first.
      input: what the module reads of the batch, see `select_inputs`.
      call: `call(model, *inputs) -> outputs` in place of `model(*inputs)`.

    Returns:
      `(forward, params, model_state)`. `params` is the `nnx.State` of all `nnx.Param` variables,
      `model_state` that of all others: running statistics *and random streams*. So dropout draws from
      `model_state`, which advances with every training call; the forward pass does not use its `rng`.
    """
    from flax import nnx

    graphdef, params, model_state = nnx.split(model, nnx.Param, ...)
    return NNXForward(graphdef, train, input, call), params, model_state
