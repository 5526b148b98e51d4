"""One forward pass at w with its derivative: outputs, J v and Jᵀ c.

Symbols: f = the network's outputs, J = ∂f/∂w, v = a direction in parameter space (a pytree, or a
part of one), c = a cotangent shaped like f. Everything FaMUS needs beyond a plain step is one J v
on the active layers.

Ways to differentiate are functions of one type, `Differentiate`: `linearize` (one forward pass, its
residuals shared by all products: running `jax.vjp` and `jax.jvp` separately would pay for the forward
pass twice, 2.33 instead of 2.00 plain steps) and `finite_difference` (J v as a difference of outputs).
`micro_batched(how, count)` and `on_all_devices(how, axis)` make another one of either.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.layers.find import Forward
from famus_jax.layers.jaxprs import inner_programs
from famus_jax.layers.partition import Layers, Part, PyTree


@dataclasses.dataclass(frozen=True)
class Linearized:
    """A forward pass at w and its derivative J there.

    Attributes:
      f: the floating-point leaves of the network's outputs, a list. Only they carry derivatives.
      rest: the outputs without them; see `split_outputs`.
      batch: the examples that f is about: where the forward pass ran on one device's share of the
        batch, those of all devices.
      model_state: the new model state (BatchNorm statistics and the like).
      jvp: `(v, active) -> J v` for a direction v (a part) that is zero outside the layers `active`;
        shaped like `f`. Costs what the network costs above the lowest active layer.
      vjp: `c -> Jᵀ c`, a tree shaped like the parameters.
      vjp_part: `(c, active) -> ` the layers `active` of Jᵀ c, without the backward pass below the
        lowest of them.
      shifted: `(v, active) -> (f(w + ε v), f(w − ε v), ε)`, where `jvp` is a finite difference.
    """

    f: list[jax.Array]
    rest: PyTree
    batch: PyTree
    model_state: PyTree
    jvp: Callable[[Part, Sequence[int]], list[jax.Array]]
    vjp: Callable[[list[jax.Array]], PyTree]
    vjp_part: Callable[[list[jax.Array], Sequence[int]], Part]
    shifted: Callable[[Part, Sequence[int]], tuple[list, list, jax.Array]] | None = None

    @property
    def outputs(self) -> PyTree:
        """The network's outputs at w."""
        return self.outputs_at(self.f)

    def outputs_at(self, f: list[jax.Array]) -> PyTree:
        """The outputs with other numbers in them."""
        return join_outputs(f, self.rest)


Differentiate = Callable[[Forward, PyTree, PyTree, jax.Array, PyTree, Layers], Linearized]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Taken:
    """Stands for a leaf that `split_outputs` took out."""


def split_outputs(outputs: PyTree) -> tuple[list[jax.Array], PyTree]:
    """The floating-point leaves of a network's outputs, and the outputs without them.

    Example:
      >>> import jax.numpy as jnp
      >>> f, rest = split_outputs({"logits": jnp.ones((2, 3)), "count": jnp.array(2)})
      >>> [x.shape for x in f], join_outputs(f, rest)["logits"].shape
      ([(2, 3)], (2, 3))
    """
    leaves, treedef = jax.tree.flatten(outputs)
    taken = [jnp.issubdtype(jnp.result_type(x), jnp.inexact) for x in leaves]
    f = [jnp.asarray(x) for x, take in zip(leaves, taken) if take]
    rest = [_Taken() if take else x for x, take in zip(leaves, taken)]
    return f, jax.tree.unflatten(treedef, rest)


def join_outputs(f: list[jax.Array], rest: PyTree) -> PyTree:
    """The inverse of `split_outputs`."""
    values = iter(f)

    def is_taken(x: Any) -> bool:
        return isinstance(x, _Taken)

    return jax.tree.map(lambda x: next(values) if is_taken(x) else x, rest, is_leaf=is_taken)


def function_of_params(
    forward: Forward, model_state: PyTree, rng: jax.Array, batch: PyTree
) -> Callable[[PyTree], tuple[list[jax.Array], tuple[PyTree, PyTree]]]:
    """`params -> (f, (rest, new_model_state))`, what JAX's transformations want (`has_aux=True`)."""

    def function(params: PyTree) -> tuple[list[jax.Array], tuple[PyTree, PyTree]]:
        outputs, new_state = forward(params, model_state, rng, batch)
        f, rest = split_outputs(outputs)
        return f, (rest, new_state)

    return function


def linearize(
    forward: Forward,
    params: PyTree,
    model_state: PyTree,
    rng: jax.Array,
    batch: PyTree,
    layers: Layers,
) -> Linearized:
    """Runs `forward` once and keeps its derivative with respect to the parameters.

    Args:
      forward: `(params, model_state, rng, batch) -> (outputs, new_model_state)`.
      params: w; floating-point leaves.
      model_state: whatever the network carries from step to step, `()` for nothing.
      rng: a key for dropout and the like.
      batch: a pytree with leading size n.
      layers: the layers of `params`.

    Raises:
      ValueError: if an operation of the network has no forward-mode rule (also from `jvp` and
        `vjp_part`, where JAX finds out).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from famus_jax.layers.partition import layers_by
      >>> def forward(params, model_state, rng, batch):
      ...     return batch @ params["w"], model_state
      >>> params, batch = {"w": jnp.ones((3, 1))}, jnp.arange(6.0).reshape(2, 3)
      >>> at_w = linearize(forward, params, (), None, batch, layers_by(params, {"w": 0}))
      >>> at_w.jvp((jnp.ones((3, 1)),), (0,))[0][:, 0].tolist()
      [3.0, 12.0]
    """
    differentiable = function_of_params(forward, model_state, rng, batch)
    with _needs_forward_mode(differentiable, params):
        f, jvp, (rest, new_state) = jax.linearize(differentiable, params, has_aux=True)
    zeros = jax.tree.map(jnp.zeros_like, params)

    def restricted(active: Sequence[int]) -> Callable[[Part], list[jax.Array]]:
        """J on a part. The zeros enter as constants of a `jvp`, so that JAX knows them to be zero
        and drops what they feed, instead of multiplying by them."""
        origin = layers.part(zeros, active)

        def linear(part: Part) -> list[jax.Array]:
            return jvp(layers.place(part, zeros, active))

        def pushed(v: Part) -> list[jax.Array]:
            with _needs_forward_mode(differentiable, params):  # JAX may see it only here
                return jax.jvp(linear, (origin,), (tuple(v),))[1]

        return pushed

    def vjp(c: list[jax.Array]) -> PyTree:
        return jax.linear_transpose(jvp, params)(c)[0]

    def vjp_part(c: list[jax.Array], active: Sequence[int]) -> Part:
        if tuple(active) == layers.all:
            return layers.part(vjp(c), active)
        return jax.linear_transpose(restricted(active), layers.part(params, active))(c)[0]

    return Linearized(
        f=f,
        rest=rest,
        batch=batch,
        model_state=new_state,
        jvp=lambda v, active: restricted(active)(v),
        vjp=vjp,
        vjp_part=vjp_part,
    )


@contextlib.contextmanager
def _needs_forward_mode(function: Callable[[PyTree], Any], params: PyTree) -> Iterator[None]:
    """Says which operation of `function` has a reverse rule only, and what to do.

    Raises:
      ValueError: in place of JAX's error that forward mode is missing.
    """
    try:
        yield
    except (TypeError, NotImplementedError) as error:
        if not any(word in str(error) for word in ("custom_vjp", "ifferentiation rule")):
            raise
        names = sorted(set(_reverse_only(jax.make_jaxpr(function)(params))))
        what = f"calls {', '.join(names)} (jax.custom_vjp)" if names else "has an operation"
        raise ValueError(
            f"forward {what} with a reverse rule only, so that J v can't be taken in forward mode: "
            'use all_layers(route="finite_difference"), or second_order() if that rule is not the '
            "function's derivative (rounding that is passed straight through). JAX says: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _reverse_only(program: Any) -> Iterator[str]:
    """The functions with a `jax.custom_vjp` that a program calls: name and place."""
    for eqn in getattr(program, "jaxpr", program).eqns:
        if eqn.primitive.name.startswith("custom_vjp"):
            inner = next(inner_programs(eqn))
            info = getattr(getattr(inner, "jaxpr", inner), "debug_info", None)
            yield getattr(info, "func_src_info", "a function")
        else:
            for inner in inner_programs(eqn):
                yield from _reverse_only(inner)
