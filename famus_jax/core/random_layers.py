"""Layers drawn anew for every meta update, from a key alone.

Symbols: L = the number of layers, r_l = the factor on layer l's share of the meta gradient, D = the
depth drawn, q_D = its probability, "start" = the lowest layer that a program can hear.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.active_layers import (
    ActiveLayers,
    Draw,
    Programs,
    Seen,
    covering_program,
    even_starts,
    is_number,
    is_whole,
    programs_from,
)
from famus_jax.layers.partition import Layers

PyTree = Any


@dataclasses.dataclass(frozen=True)
class RandomLayers(ActiveLayers):
    """s layers, drawn uniformly without replacement (paper, Table 4).

    Attributes:
      s: how many.
      unbiased: multiply their shares by L / s, so that the mean over draws is the exact gradient.
      max_programs: at most so many compiled programs; a draw rounds down to the nearest start.
    """

    s: int
    unbiased: bool = False
    max_programs: int = 6
    drawn = True
    ahead = 2

    def __post_init__(self):
        for name, value in (("s", self.s), ("max_programs", self.max_programs)):
            if not is_whole(value, 0):  # 0 is refused with the layers that there are
                raise ValueError(f"random_layers: {name} must be a whole number; got {value!r}")

    @property
    def label(self) -> str:  # type: ignore[override]
        """See `ActiveLayers`."""
        programs = f"_programs{self.max_programs}" if self.max_programs != 6 else ""
        return f"random_layers_{self.s}" + ("_unbiased" if self.unbiased else "") + programs

    def starts(self, layers: Layers) -> tuple[int, ...]:
        """The lowest layer of every program. Raises `ValueError` unless 1 <= s <= L."""
        if not 1 <= self.s <= len(layers):
            raise ValueError(
                f"random_layers({self.s}) needs s between 1 and {len(layers)}, the number of layers "
                f"of this network: {list(layers.names)}"
            )
        if self.max_programs < 1:
            raise ValueError(f"max_programs must be at least 1; got {self.max_programs}")
        return even_starts(0, len(layers) - self.s, self.max_programs)

    def programs(self, layers: Layers) -> Programs:
        """See `ActiveLayers`."""
        return programs_from(self.starts(layers), layers)

    def draw(self, state: PyTree, key: jax.Array, update: jax.Array, seen: Seen) -> Draw:
        """See `ActiveLayers`."""
        del state, update
        count = len(seen.layers)
        rank = jax.random.permutation(key, count)
        factors = jnp.where(rank < self.s, count / self.s if self.unbiased else 1.0, 0.0)
        factors = factors.astype(jnp.float32)
        return Draw(factors, covering_program(self.starts(seen.layers), factors))

    def program_probabilities(self, layers: Layers) -> tuple[float, ...]:
        """See `ActiveLayers`."""
        total = math.comb(len(layers), self.s)
        at_least = [math.comb(len(layers) - i, self.s) / total for i in self.starts(layers)]
        return tuple(a - b for a, b in zip(at_least, [*at_least[1:], 0.0]))


@dataclasses.dataclass(frozen=True)
class RandomDepth(ActiveLayers):
    """All layers at or above a random depth D, each divided by its chance to be among them.

    The mean over D of r_l = 1{D ≤ l} / P(D ≤ l) is 1 for every layer, so that with a virtual step of
    all layers the estimate has the exact gradient as its mean; the price is that of the depth drawn.
    (With a virtual step of the active layers alone, the others' stillness leaves a bias of order α.)

    Attributes:
      probabilities: q, one per depth, deepest first; positive, summing to 1.
      lowest: the lowest layer of every depth, by name, bottom to top. None: from the bottom layer
        to the head, evenly spaced.

    Raises:
      ValueError: for probabilities that are not positive or do not sum to 1, or another number of
        names.
    """

    probabilities: tuple[float, ...]
    lowest: tuple[str, ...] | None = None
    drawn = True
    ahead = 2

    def __post_init__(self):
        q = self.probabilities
        positive = q and all(is_number(one) and one > 0 for one in q)
        if not positive or not math.isclose(sum(q), 1, rel_tol=1e-6):
            raise ValueError(
                f"random_depth needs positive probabilities that sum to 1, deepest first; got {q}"
            )
        if self.lowest is not None and len(self.lowest) != len(q):
            raise ValueError(
                f"random_depth has {len(q)} probabilities, but lowest names {len(self.lowest)} layers"
            )

    @property
    def label(self) -> str:  # type: ignore[override]
        """See `ActiveLayers`."""
        names = () if self.lowest is None else ("from", *self.lowest)
        return "_".join(["random_depth", *map(repr, self.probabilities), *names])

    def starts(self, layers: Layers) -> tuple[int, ...]:
        """The lowest layer of every depth, ascending.

        Raises:
          ValueError: if the depths do not fit the network, or the deepest leaves layers out (their
            share would be lost, and the estimate biased).
        """
        if self.lowest is None:
            starts = even_starts(0, len(layers) - 1, len(self.probabilities))
        else:
            starts = tuple(layers.find([name])[0] for name in self.lowest)
        if len(starts) != len(self.probabilities) or sorted(set(starts)) != list(starts):
            raise ValueError(
                f"random_depth with {len(self.probabilities)} depths needs as many different layers, "
                f"bottom to top; it has the layers {list(starts)} of {list(layers.names)}"
            )
        if starts[0] != 0:
            raise ValueError(
                f"random_depth must reach the bottom layer {layers.names[0]!r} sometimes, or the "
                f"layers below {layers.names[starts[0]]!r} would never be heard: let `lowest` start "
                "there"
            )
        return starts

    def programs(self, layers: Layers) -> Programs:
        """See `ActiveLayers`."""
        return programs_from(self.starts(layers), layers)

    def draw(self, state: PyTree, key: jax.Array, update: jax.Array, seen: Seen) -> Draw:
        """See `ActiveLayers`."""
        del state, update
        q = jnp.asarray(self.probabilities, jnp.float32)
        depth = jax.random.choice(key, len(self.probabilities), p=q).astype(jnp.int32)
        return self.at(depth, seen.layers)

    def at(self, depth: jax.Array | int, layers: Layers) -> Draw:
        """The draw in which this depth, an index into `probabilities`, came up."""
        starts = self.starts(layers)
        reached = [sum(self.probabilities[: sum(c <= i for c in starts)]) for i in layers.all]
        is_open = jnp.arange(len(layers)) >= jnp.asarray(starts)[depth]
        factors = jnp.where(is_open, 1 / jnp.asarray(reached, jnp.float32), 0.0)
        return Draw(factors, jnp.asarray(depth, jnp.int32))

    def program_probabilities(self, layers: Layers) -> tuple[float, ...]:
        """See `ActiveLayers`."""
        self.starts(layers)
        return self.probabilities
