"""flax NNX modules as forward passes."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.forward.inputs import Input, like, select_inputs
from famus_jax.forward.mode import MODE_NAMES, explains_mode, mode_keywords

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
        """See `famus_jax.forward` and `nnx_forward`."""
        from flax import nnx

        # copy=True: without it the merged module shares variables with the caller's state, and
        # training would overwrite it (with tracers, inside a transformation).
        state = _without_variables(model_state)
        mixed = _with_own_keys(state, rng) if self.train else state
        model = nnx.merge(self.graphdef, params, mixed, copy=True)
        if not self.train:
            _evaluate(model)
        outputs = self._call(model, select_inputs(batch, self.input))
        new_state = nnx.split(model, nnx.Param, ...)[2]
        if not self.train:
            _warn_if_it_trained(new_state, state)
            return outputs, model_state
        new_state = like(_without_variables(new_state), state)
        if rng is not None:  # the next step mixes its own rng into the keys of this one
            new_state = jax.tree.map(
                lambda new, old: old if _is_key(old) else new, new_state, state
            )
        return outputs, jax.tree.unflatten(
            jax.tree.structure(model_state), jax.tree.leaves(new_state)
        )

    def _call(self, model: Any, inputs: tuple) -> Any:
        """The outputs, the mode passed where it is an argument."""
        function, args = model, inputs
        if self.call is not None:
            function, args = self.call, (model, *inputs)
        named = function if self.call is not None else model.__call__
        keywords = mode_keywords(named, self.train, len(args))
        with explains_mode(
            keywords,
            "call=lambda model, x, train: model(x, ...), or call=lambda model, x: model(x)",
        ):
            return function(*args, **keywords)


def _evaluate(model: Any) -> None:
    """Puts every module inside in evaluation mode, whatever it calls the attribute that says so."""
    from flax import nnx

    model.eval()
    for _, module in nnx.iter_modules(model):
        for name in MODE_NAMES.keys() & vars(module).keys():
            if isinstance(getattr(module, name), bool):
                setattr(module, name, not MODE_NAMES[name])


def _without_variables(state: PyTree) -> PyTree:
    """A state of bare JAX arrays (numpy's, of a checkpoint, NNX would try to write into)."""
    from flax import nnx

    def value(x: Any) -> jax.Array:
        return jnp.asarray(jax.tree.leaves(x)[0])  # a variable is a node with one leaf

    return jax.tree.map(value, state, is_leaf=lambda x: isinstance(x, nnx.Variable))


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key)


def _with_own_keys(state: PyTree, rng: Any) -> PyTree:
    """`state` with `rng` mixed into its random streams: each forward pass draws its own numbers."""
    if rng is None:
        return state
    words = jnp.ravel(jax.random.key_data(rng))

    def mix(key: jax.Array) -> jax.Array:
        for word in words:
            key = jax.random.fold_in(key, word)
        return key

    def mix_all(keys: jax.Array) -> jax.Array:
        """Of one stream, or of many that are stacked."""
        return jax.vmap(mix)(keys.reshape(-1)).reshape(keys.shape)

    return jax.tree.map(lambda x: mix_all(x) if _is_key(x) else x, state)


def _warn_if_it_trained(new_state: PyTree, state: PyTree) -> None:
    """Warns if running statistics moved or random numbers were drawn in evaluation mode."""
    from flax import nnx

    old = dict(jax.tree_util.tree_leaves_with_path(state))
    new = jax.tree_util.tree_leaves_with_path(
        new_state, is_leaf=lambda x: isinstance(x, nnx.Variable)
    )
    for path, variable in new:
        if not isinstance(variable, nnx.BatchStat | nnx.RngCount):
            continue
        if jax.tree.leaves(variable)[0] is not old.get(path):
            moved = isinstance(variable, nnx.BatchStat)
            what = "moves running statistics" if moved else "draws random numbers"
            warnings.warn(
                f"in evaluation mode the network still {what} ({jax.tree_util.keystr(path)}): if it "
                "takes its mode by an argument of another name, pass nnx_forward(model, call=lambda "
                "model, x, train: model(x, <its name>=train))",
                stacklevel=4,
            )
            return


def nnx_forward(
    model: Any,
    *,
    train: bool = True,
    input: Input = "image",
    call: Callable[..., Any] | None = None,
) -> tuple[NNXForward, PyTree, PyTree]:
    """Splits a flax NNX module into a forward pass, its parameters and its other state.

    In training, every module inside is in the mode that you left it in: NNX makes them in training
    mode, and what you put in evaluation mode before this call stays there (a pretrained BatchNorm
    that keeps its statistics: `model.norm.eval()`). After `model.eval()` on the whole call
    `model.train()` first. In evaluation all modules are in evaluation mode.

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
      model: an `nnx.Module`; it is left as it is. Mode arguments of its `__call__` are found by name,
        as in `linen_forward`.
      train: training or evaluation.
      input: what the module reads of the batch, see `select_inputs`.
      call: `call(model, *inputs) -> outputs` in place of `model(*inputs)`; if it has a mode argument,
        `call(model, *inputs, train)`, it gets the mode.

    Returns:
      `(forward, params, model_state)`. `params` is the `nnx.State` of all `nnx.Param` variables,
      `model_state` that of all others: running statistics *and random streams*. A forward pass in
      training mixes its `rng` into the streams' keys, so that passes with different `rng` draw
      different numbers; the state that it returns has the keys as they were and advanced counts. With
      rng None it draws from the streams as they are. It takes, and returns, a state of bare arrays as
      well (`nnx.as_pure`, which `nnx.Optimizer` hands on).

      It raises `ValueError` if the module would return a state of another structure than it was
      given, or hands the mode on to something that takes none; in evaluation it warns if the
      network still moves running statistics or draws random numbers.
    """
    from flax import nnx

    graphdef, *states = nnx.split(model, nnx.Param, ...)
    # The module's own variables would change with it, when trained values are written back.
    params, model_state = jax.tree.map(lambda x: x, states)
    return NNXForward(graphdef, train, input, call), params, model_state
