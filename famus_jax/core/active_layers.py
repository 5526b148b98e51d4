"""Which layers keep their share of the meta gradient: the interface, and the fixed sets.

Symbols: L = the number of layers, r_l = the factor on layer l's share of the meta gradient (0 where it
is dropped).

A compiled *program* can hear a fixed set of layers. A kind whose choice never changes has one
program; one that draws anew for every meta update has several, and each draw names the program that
covers it. Random kinds are in `random_layers`, learned gates in `famus_jax.gates`; a kind of your own
is a frozen dataclass with a `label` and the methods below that it needs.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.layers.partition import Layers, Part

PyTree = Any
Programs = tuple[tuple[int, ...], ...]


def is_whole(value: Any, least: int) -> bool:
    """Whether it is a whole number of at least `least`; True is none."""
    return not isinstance(value, bool) and isinstance(value, int) and value >= least


def is_number(value: Any) -> bool:
    """Whether it is a finite number; True is none."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e300


class Draw(NamedTuple):
    """The layers in force for one meta update.

    Attributes:
      factors: r, float32 [L].
      program: which of the programs covers them, int32 scalar.
      carry: whatever the kind wants to find again when the draw is used; a pytree of arrays.
    """

    factors: jax.Array
    program: jax.Array
    carry: PyTree = ()


class Seen(NamedTuple):
    """What a step knows when it draws, and when it learns.

    Attributes:
      layers: the network's layers.
      costs: what a step costs with each program, in plain steps; None where batch sizes are unknown.
      step_size: α.
      gradient: the virtual gradient (the actual one, where the virtual step moves no or not all
        layers), a tree like the parameters; None before the first step.
      slopes: ∂L_c/∂r_l, float32 [L]; 0 where it was not computed, None before it is known.
      added: the θ-gradient that came of `added_direction`; None if there is none.
    """

    layers: Layers
    costs: tuple[float, ...] | None
    step_size: jax.Array | float = 1.0
    gradient: PyTree = None
    slopes: jax.Array | None = None
    added: PyTree = None


class ActiveLayers:
    """The interface: a hashable value that says which layers are active.

    Attributes:
      label: a short name for tables and files; two different values never share one.
      drawn: the layers are drawn anew for every meta update. Then `draw` is called; otherwise there
        is one program, and all its layers count fully.
      ahead: for drawn kinds, how many meta updates before its use a draw is made. It waits in the
        state, so that the host knows the program before it dispatches the step: 2 keeps it from
        waiting for the device, 0 draws in the step itself.
      layers_by: what a layer is, where the user gives none; see `find_layers`.
      reads_virtual_gradient: `draw` looks at the virtual gradient of the same step (`ahead = 0`).
      reads_slopes: `learn` looks at `Seen.slopes`.
      reports: the names of the diagnostics that `learn` returns, float32 scalars.
    """

    label: str
    drawn: bool = False
    ahead: int = 0
    layers_by: str = "module"
    reads_virtual_gradient: bool = False
    reads_slopes: bool = False
    reports: tuple[str, ...] = ()

    def programs(self, layers: Layers) -> Programs:
        """The layers that each compiled program can hear, ascending; the most layers first.

        Raises:
          ValueError: if the kind does not fit the network.
        """
        raise NotImplementedError

    def check(self, seen: Seen) -> None:
        """Raises `ValueError` for choices that can't work with these layers and costs."""

    def init(self, key: jax.Array, params: PyTree, seen: Seen) -> PyTree:
        """What the kind carries from step to step."""
        del key, params, seen
        return ()

    def draw(self, state: PyTree, key: jax.Array, update: jax.Array, seen: Seen) -> Draw:
        """The layers in force at the meta update numbered `update`."""
        raise NotImplementedError

    def added_direction(
        self, v: Part, gradient: Part | None, active: tuple[int, ...], seen: Seen
    ) -> tuple[Part, tuple[int, ...]] | None:
        """A further direction in the space of gradients that θ is to follow, and its layers.

        Args:
          v: ∂L_val/∂ŵ of the layers `active`.
          gradient: their virtual gradient; None where the virtual step does not move.
          active: see above.
          seen: layers, costs and α.
        """
        del v, gradient, active, seen
        return None

    def learn(
        self, state: PyTree, draw: Draw | None, seen: Seen
    ) -> tuple[PyTree, dict[str, jax.Array]]:
        """The kind's own update after a meta update, and its diagnostics (see `reports`).

        `draw` is the one in force; None for kinds that are not drawn.
        """
        del draw, seen
        return state, {}

    def program_probabilities(self, layers: Layers) -> tuple[float, ...] | None:
        """How often each program is called for; None if nothing is known of it beforehand."""
        return None if len(self.programs(layers)) > 1 else (1.0,)


@dataclasses.dataclass(frozen=True)
class AllLayers(ActiveLayers):
    """Every layer: the exact one-step meta gradient."""

    label = "all_layers"

    def programs(self, layers: Layers) -> Programs:
        """See `ActiveLayers`."""
        return (layers.all,)


@dataclasses.dataclass(frozen=True)
class LastLayers(ActiveLayers):
    """The k layers nearest the outputs."""

    k: int

    def __post_init__(self):
        if not is_whole(self.k, 0):  # 0 is refused with the layers that there are
            raise ValueError(f"last_layers({self.k!r}) needs a whole number of layers, at least 1")

    @property
    def label(self) -> str:  # type: ignore[override]
        """See `ActiveLayers`."""
        return f"last_layers_{self.k}"

    def programs(self, layers: Layers) -> Programs:
        """See `ActiveLayers`. Raises `ValueError` unless 1 <= k <= L."""
        if not 1 <= self.k <= len(layers):
            raise ValueError(
                f"last_layers({self.k}) needs k between 1 and {len(layers)}, the number of layers of "
                f"this network: {list(layers.names)}"
            )
        return (layers.all[len(layers) - self.k :],)


@dataclasses.dataclass(frozen=True)
class NamedLayers(ActiveLayers):
    """A fixed set, by the names of layers or of the modules they are in (paper, Table 4)."""

    names: tuple[str, ...]

    @property
    def label(self) -> str:  # type: ignore[override]
        """See `ActiveLayers`."""
        return "named_layers_" + "+".join(name.replace("+", "++") for name in self.names)

    def programs(self, layers: Layers) -> Programs:
        """See `ActiveLayers`. Raises `ValueError` for an unknown name or none at all."""
        if not self.names:
            raise ValueError(f"named_layers() names none; choose from {list(layers.names)}")
        return (layers.find(self.names),)


def even_starts(lowest: int, top: int, count: int) -> tuple[int, ...]:
    """`count` layers from `lowest` to `top`, both among them, evenly spaced; fewer if there are not
    so many."""
    count = min(count, top - lowest + 1)
    if count < 2:
        return (lowest,)
    return tuple(lowest + round(i * (top - lowest) / (count - 1)) for i in range(count))


def programs_from(starts: tuple[int, ...], layers: Layers) -> Programs:
    """A program for each start: that layer and all above it."""
    return tuple(layers.all[start:] for start in starts)


def covering_program(starts: tuple[int, ...], factors: jax.Array) -> jax.Array:
    """The highest start that lies below no open layer; an index into `starts`, int32."""
    lowest = jnp.where(factors.any(), jnp.argmax(factors != 0), factors.shape[0])
    return (jnp.asarray(starts) <= lowest).sum().astype(jnp.int32) - 1
