"""flax Linen modules as forward passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.forward.inputs import Input, like, select_inputs
from famus_jax.forward.mode import explains_mode, mode_keywords

PyTree = Any

_REMEDY = (
    "method=lambda module, x, train: module(x, ...), or method=lambda module, x: module(x) if it has "
    "no mode"
)


@dataclasses.dataclass(frozen=True)
class LinenForward:
    """The forward pass made by `linen_forward`; its fields are that function's arguments."""

    module: Any
    train: bool = True
    input: Input = "image"
    rngs: tuple[str, ...] = ("dropout",)
    method: str | Callable[..., Any] | None = None
    features: bool = False

    def __call__(self, params: Any, model_state: Any, rng: Any, batch: Any) -> tuple[Any, Any]:
        """See `famus_jax.forward`."""
        inputs = select_inputs(batch, self.input)
        if not self.features:
            return self._apply(params, model_state, rng, inputs)
        last = _LastDense()
        with last.watched():
            logits, state = self._apply(params, model_state, rng, inputs)
        return {"logits": logits, "features": last.input_of(logits)}, state

    def __hash__(self) -> int:
        try:
            return hash(
                (self.module, self.train, self.input, self.rngs, self.method, self.features)
            )
        except TypeError:  # a module with a list or a dict among its attributes
            return hash((type(self.module), self.train, self.rngs, self.features))

    def _apply(self, params: Any, state: Any, rng: Any, inputs: tuple) -> tuple[Any, Any]:
        if "params" in state:
            raise ValueError(
                "model_state has an entry 'params'; pass params=variables['params'] and "
                "model_state=<the other collections>, as linen_init returns them."
            )
        variables = {"params": params, **dict(state)}  # `()` is no state too
        keywords = self._mode(self.train, inputs)
        how: dict[str, Any] = {"method": self.method, **keywords}
        if self.train:
            how |= {"mutable": list(state), "rngs": self._streams(rng)}
        with explains_mode(keywords, _REMEDY):
            result = self.module.apply(variables, *inputs, **how)
        if not self.train:
            return result, state
        outputs, new_state = result
        return outputs, like(new_state, state) if state else state

    def _streams(self, rng: Any) -> dict[str, Any]:
        """A key for every random stream; none without `rng`."""
        if rng is None:
            return {}
        return {name: jax.random.fold_in(rng, i) for i, name in enumerate(self.rngs)}

    def _mode(self, train: bool, inputs: tuple) -> dict[str, bool]:
        """The keywords that put the module in training or evaluation mode, if it takes any."""
        method = self.method if self.method is not None else "__call__"
        if isinstance(method, str):
            return mode_keywords(getattr(self.module, method), train, len(inputs))
        return mode_keywords(method, train, 1 + len(inputs))  # the module comes first


class _LastDense:
    """Remembers what the dense layer that ran last got and gave."""

    def __init__(self):
        self.seen: tuple[Any, Any] | None = None

    def watched(self) -> Any:
        """A context in which Linen modules are watched."""
        import flax.linen as nn

        def interceptor(call: Any, args: tuple, kwargs: dict, context: Any) -> Any:
            output = call(*args, **kwargs)
            if isinstance(context.module, nn.Dense) and context.method_name == "__call__":
                self.seen = (args[0], output)
            return output

        return nn.intercept_methods(interceptor)

    def input_of(self, outputs: Any) -> Any:
        """Its input, if what it gave are the network's outputs."""
        if self.seen is None or self.seen[1] is not outputs:
            raise ValueError(
                "features=True takes the input of the dense layer whose output the network returns, "
                "but this network ends otherwise: write a forward that returns "
                '{"logits": ..., "features": ...}'
            )
        return self.seen[0]


def linen_forward(
    module: Any,
    *,
    train: bool = True,
    input: Input = "image",
    rngs: tuple[str, ...] = ("dropout",),
    method: str | Callable[..., Any] | None = None,
    features: bool = False,
) -> LinenForward:
    """Makes a forward pass of a flax Linen module.

    >>> import jax
    >>> from famus_jax.models import build_model
    >>> model, images = build_model("cnn", 10, widths=(4,)), jax.numpy.ones((2, 8, 8, 1))
    >>> params, model_state = linen_init(model, jax.random.key(0), images)
    >>> forward = linen_forward(model)
    >>> logits, model_state = forward(params, model_state, jax.random.key(1), {"image": images})
    >>> logits.shape
    (2, 10)

    Args:
      module: a `flax.linen.Module`. Its mode arguments are found by name: `train`, `training`,
        `is_training`, `is_train` and `update_stats` get True in training, `deterministic`,
        `use_running_average`, `inference` and `eval` False; a module that has none of them runs
        alike in both modes. A part that is made with its mode in the constructor, such as
        `BatchNorm(use_running_average=True)`, keeps it.
      train: training mode (running statistics are updated, dropout is on) or evaluation mode.
      input: what the module reads of the batch, see `select_inputs`.
      rngs: names of the random streams; stream i gets `jax.random.fold_in(rng, i)`.
      method: another method than `__call__`, as in `Module.apply`; its mode arguments are found by
        name, so that `lambda module, x, train: module(x, frozen=not train)` covers any other name.
      features: return `{"logits": [n, C], "features": [n, D]}`, the features being the input of the
        network's last dense layer.

    Returns:
      `forward(params, model_state, rng, batch)` with params `variables["params"]` and `model_state`
      the dict of the other collections, `{}` if there are none. With rng None, or in evaluation mode,
      the module gets no random streams.

      It raises `ValueError` if the module would return a state of another structure than it was
      given, or hands the mode on by `**kwargs` to something that takes none; with `features`, if its
      outputs aren't those of a `flax.linen.Dense`.
    """
    return LinenForward(
        module=module,
        train=train,
        input=input,
        rngs=tuple(rngs),
        method=method,
        features=features,
    )


def linen_init(module: Any, rng: jax.Array, example_input: Any) -> tuple[Any, Any]:
    """Initializes a Linen module under `jax.jit`, in evaluation mode.

    Args:
      module: a `flax.linen.Module`, or the `LinenForward` of one (whose `method` is then used).
      rng: a PRNG key.
      example_input: one array, or a tuple of positional arguments; a `jax.ShapeDtypeStruct` stands for
        zeros.

    Returns:
      `(params, model_state)`, `model_state` without the collection `"params"`.

    Example:
      >>> import flax.linen as nn
      >>> import jax.numpy as jnp
      >>> params, model_state = linen_init(nn.Dense(2), jax.random.key(0), jnp.ones((1, 3)))
      >>> params["kernel"].shape, model_state
      ((3, 2), {})
    """
    forward = module if isinstance(module, LinenForward) else LinenForward(module)
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    inputs = jax.tree.map(_materialise, inputs)
    variables = dict(_init(forward, rng, inputs))
    params = variables.pop("params", {})
    return params, variables


@partial(jax.jit, static_argnums=0)
def _init(forward: LinenForward, rng: jax.Array, inputs: tuple) -> Any:
    keywords = forward._mode(False, inputs)
    with explains_mode(keywords, _REMEDY):
        return forward.module.init(rng, *inputs, method=forward.method, **keywords)


def _materialise(x: Any) -> Any:
    return jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else jnp.asarray(x)
