"""Adapters from Linen modules, NNX modules and plain functions to the one forward signature.

    forward(params, model_state, rng, batch) -> (outputs, model_state)

- `params`: what is trained, a pytree of floating-point arrays.
- `model_state`: everything else that the network carries along (BatchNorm's running statistics, NNX
  random streams); ``{}`` if there is none.
- `rng`: a PRNG key for dropout and the like, or None.
- `batch`: any pytree; the adapter's argument `input` says which part of it the network reads.
- `outputs`: whatever the network returns, usually logits ``[n, C]``.

A forward in training mode returns the new model state, with the structure, shapes and dtypes of the
one it was given, so that it can be carried through `jax.lax.scan`. One in evaluation mode
(``train=False``) returns the very state it was given. All are differentiable in `params`, forward
and reverse.

The forwards are frozen dataclasses: two made from equal arguments are equal and hash alike, so that
`jax.jit` with a static forward compiles once. ``dataclasses.replace(forward, train=False)`` gives
the evaluation twin of a Linen or NNX forward.

A network that fits no adapter needs none: any function with the signature above will do.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Input = str | int | Callable[[Any], Any] | None
"""What a network reads of a batch: a key, a function of the batch, or None for the whole batch."""

# Names under which modules take the mode, and the value that means training.
_MODE_ARGUMENTS = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}


def select_inputs(batch: Any, input: Input) -> tuple[Any, ...]:
    """The positional arguments that the network gets from `batch`.

    **Arguments:**

    - `batch`: any pytree.
    - `input`: a key (or index), so that the network gets ``batch[input]``; a function of the batch
      that returns one array, or a *tuple* of positional arguments; None for the batch itself.

    **Raises:** `KeyError` naming the batch's keys if there is no such entry.
    """
    if input is None:
        return (batch,)
    if callable(input):
        inputs = input(batch)
        return inputs if isinstance(inputs, tuple) else (inputs,)
    try:
        return (batch[input],)
    except (KeyError, IndexError, TypeError) as error:
        has = f"keys {sorted(map(str, batch))}" if isinstance(batch, Mapping) else type(batch)
        raise KeyError(
            f"the batch has no entry {input!r} (it has {has}); pass input=<its key>, or "
            "input=lambda batch: ... to the adapter."
        ) from error


# --- flax Linen ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class LinenForward:
    """The forward made by `linen_forward`; its fields are that function's arguments."""

    module: Any
    train: bool = True
    input: Input = "image"
    rngs: tuple[str, ...] = ("dropout",)
    method: str | Callable[..., Any] | None = None
    features: bool = False

    def __call__(self, params: Any, model_state: Any, rng: Any, batch: Any) -> tuple[Any, Any]:
        """See the head of this file."""
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
        variables = {"params": params, **state}
        keywords = self._mode(self.train)
        if not self.train:
            outputs = self.module.apply(variables, *inputs, method=self.method, **keywords)
            return outputs, state
        streams = {}
        if rng is not None:
            streams = {name: jax.random.fold_in(rng, i) for i, name in enumerate(self.rngs)}
        outputs, new_state = self.module.apply(
            variables,
            *inputs,
            method=self.method,
            mutable=list(state),
            rngs=streams,
            **keywords,
        )
        return outputs, _like(new_state, state)

    def _mode(self, train: bool) -> dict[str, bool]:
        """The keyword that puts the module in training or evaluation mode, if it takes one."""
        method = self.method if self.method is not None else "__call__"
        function = getattr(self.module, method) if isinstance(method, str) else method
        parameters = inspect.signature(function).parameters
        for name, training in _MODE_ARGUMENTS.items():
            if name in parameters:
                return {name: train is training}
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return {"train": train}
        return {}


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
    """Makes a forward of a flax Linen module.

    **Arguments:**

    - `module`: a `flax.linen.Module`. Its mode argument is found by name: ``train``, ``training``,
      ``is_training`` get True in training, ``deterministic`` and ``use_running_average`` False; a
      module that has none of them runs alike in both modes.
    - `train`: training mode (running statistics are updated, dropout is on) or evaluation mode.
    - `input`: what the module reads of the batch, see `select_inputs`.
    - `rngs`: names of the random streams; stream i gets ``jax.random.fold_in(rng, i)``.
    - `method`: another method than ``__call__``, as in ``Module.apply``.
    - `features`: return ``{"logits": [n, C], "features": [n, D]}``, the features being the input of
      the network's last dense layer.

    **Returns:** ``forward(params, model_state, rng, batch)`` with params ``variables["params"]``
    and `model_state` the dict of the other collections, ``{}`` if there are none. With rng None, or
    in evaluation mode, the module gets no random streams.

    **Raises:** (the forward) `ValueError` if the module would return a state of another structure
    than it was given; with `features`, if its outputs aren't those of a `flax.linen.Dense`.

    ```python
    model = build_model("cnn", 10)
    params, model_state = linen_init(model, jax.random.key(0), images)
    forward = linen_forward(model)
    logits, model_state = forward(params, model_state, key, {"image": images})
    ```
    """
    return LinenForward(module, train, input, tuple(rngs), method, features)


def linen_init(module: Any, rng: jax.Array, example_input: Any) -> tuple[Any, Any]:
    """Initialises a Linen module under `jax.jit`, in evaluation mode.

    **Arguments:**

    - `module`: a `flax.linen.Module`, or the `LinenForward` of one (whose `method` is then used).
    - `rng`: a PRNG key.
    - `example_input`: one array, or a tuple of positional arguments; a `jax.ShapeDtypeStruct`
      stands for zeros.

    **Returns:** ``(params, model_state)``, `model_state` without the collection ``"params"``.
    """
    forward = module if isinstance(module, LinenForward) else LinenForward(module)
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    inputs = jax.tree.map(_materialise, inputs)
    variables = dict(_init(forward, rng, inputs))
    params = variables.pop("params", {})
    return params, variables


@partial(jax.jit, static_argnums=0)
def _init(forward: LinenForward, rng: jax.Array, inputs: tuple) -> Any:
    return forward.module.init(rng, *inputs, method=forward.method, **forward._mode(False))


# --- flax NNX -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class NNXForward:
    """The forward made by `nnx_forward`; `graphdef` is the module without its arrays."""

    graphdef: Any
    train: bool = True
    input: Input = "image"
    call: Callable[..., Any] | None = None

    def __call__(self, params: Any, model_state: Any, rng: Any, batch: Any) -> tuple[Any, Any]:
        """See the head of this file; `rng` is ignored, the streams live in `model_state`."""
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
        return outputs, _like(new_state, model_state)


def nnx_forward(
    model: Any,
    *,
    train: bool = True,
    input: Input = "image",
    call: Callable[..., Any] | None = None,
) -> tuple[NNXForward, Any, Any]:
    """Splits a flax NNX module into a forward, its parameters and its other state.

    **Arguments:**

    - `model`: an `nnx.Module`; it is left as it is.
    - `train`: whether the forward calls ``model.train()`` or ``model.eval()`` first.
    - `input`: what the module reads of the batch, see `select_inputs`.
    - `call`: ``call(model, *inputs) -> outputs`` in place of ``model(*inputs)``.

    **Returns:** ``(forward, params, model_state)``. `params` is the `nnx.State` of all `nnx.Param`
    variables, `model_state` that of all others: running statistics *and random streams*. So dropout
    draws from `model_state`, which advances with every training call; the forward's `rng` is not
    used. ``nnx.update(model, params, model_state)`` writes trained values back. NNX stores running
    statistics in their own dtype with a warning when the computation is wider: for float64, cast
    the floating-point leaves of `model_state` as well as `params`.

    ```python
    forward, params, model_state = nnx_forward(model)
    evaluate = dataclasses.replace(forward, train=False)
    ```
    """
    from flax import nnx

    graphdef, params, model_state = nnx.split(model, nnx.Param, ...)
    return NNXForward(graphdef, train, input, call), params, model_state


# --- plain functions ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class StatelessForward:
    """The forward made by `stateless_forward`."""

    apply: Callable[..., Any]
    input: Input = None

    def __call__(self, params: Any, model_state: Any, rng: Any, batch: Any) -> tuple[Any, Any]:
        """See the head of this file; `model_state` passes through, `rng` is ignored."""
        del rng
        return self.apply(params, *select_inputs(batch, self.input)), model_state


def stateless_forward(apply: Callable[..., Any], input: Input = None) -> StatelessForward:
    """Makes a forward of a pure function.

    **Arguments:**

    - `apply`: ``apply(params, batch) -> outputs``, or ``apply(params, *inputs)`` when `input` is
      given.
    - `input`: what `apply` reads of the batch, see `select_inputs`; None for the whole batch.

    ```python
    forward = stateless_forward(lambda w, x: x @ w, input="image")
    ```
    """
    return StatelessForward(apply, input)


# --- shared -------------------------------------------------------------------------------------


def _like(new: Any, old: Any) -> Any:
    """`new` with the container types and dtypes of `old`; `ValueError` if the structure differs."""
    leaves, treedef = jax.tree.flatten(old)
    new_leaves, new_treedef = jax.tree.flatten(new)
    if new_treedef != treedef:
        raise ValueError(
            f"the model returned a state of another structure than it was given: {new_treedef} "
            f"against {treedef}. Either model_state isn't the one that its initialisation gave, or "
            "a collection that grows with every call (from `sow`, for instance) is part of it; "
            "leave that collection out."
        )
    return jax.tree.unflatten(treedef, map(_cast, new_leaves, leaves))


def _cast(new: Any, old: Any) -> Any:
    """`new` in the dtype of `old`: float64 batches, say, keep float32 statistics float32."""
    dtype = old.dtype if hasattr(old, "dtype") else jnp.asarray(old).dtype
    return new if new.dtype == dtype else new.astype(dtype)


def _materialise(x: Any) -> Any:
    return jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else jnp.asarray(x)
