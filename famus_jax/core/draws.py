"""Which groups are active, drawn anew for every meta update, from a key alone.

Symbols: L = the number of layer groups, r_l = the factor on group l's share of the meta gradient
(0 where it is closed), cut = the lowest group that a compiled variant differentiates, D = the depth
drawn, q_D = its probability.

A draw that knows no gradient can be made before the step is dispatched, and as many ahead as one
likes: the host then picks the compiled variant without waiting for the device.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.core.groups import LayerGroups


class GroupDraw(NamedTuple):
    """The groups in force for one meta update.

    Attributes:
      factors: r, float32 [L].
      branch: which of the cuts serves them, int32 scalar.
    """

    factors: jax.Array
    branch: jax.Array


def even_cuts(lowest: int, top: int, count: int) -> tuple[int, ...]:
    """`count` cuts from `lowest` to `top`, both among them, evenly spaced; fewer if there are not
    so many groups."""
    count = min(count, top - lowest + 1)
    if count < 2:
        return (lowest,)
    return tuple(lowest + round(i * (top - lowest) / (count - 1)) for i in range(count))


def branch_for(cuts: tuple[int, ...], factors: jax.Array, num_groups: int) -> jax.Array:
    """The highest cut that lies below no open group; an index into `cuts`."""
    lowest = jnp.where(factors.any(), jnp.argmax(factors != 0), num_groups)
    return (jnp.asarray(cuts) <= lowest).sum().astype(jnp.int32) - 1


@dataclasses.dataclass(frozen=True)
class RandomGroups:
    """s groups, drawn uniformly without replacement (paper, Table 4).

    Attributes:
      s: how many.
      unbiased: multiply their shares by L / s, so that the mean over draws is the exact gradient.
      max_variants: at most so many compiled variants; a draw rounds down to the nearest cut.
    """

    s: int
    unbiased: bool = False
    max_variants: int = 6

    @property
    def label(self) -> str:
        """A short name for tables."""
        return f"famus_random{self.s}" + ("_unbiased" if self.unbiased else "")

    def cuts(self, groups: LayerGroups) -> tuple[int, ...]:
        """The lowest group of every compiled variant. Raises `ValueError` unless 1 <= s <= L."""
        if not 1 <= self.s <= len(groups):
            raise ValueError(
                f"random_groups({self.s}) needs s between 1 and {len(groups)}, the number of layer "
                f"groups of this network: {list(groups.names)}"
            )
        if self.max_variants < 1:
            raise ValueError(f"max_variants must be at least 1; got {self.max_variants}")
        return even_cuts(0, len(groups) - self.s, self.max_variants)

    def draw(self, key: jax.Array, groups: LayerGroups) -> GroupDraw:
        """A draw from `key`."""
        rank = jax.random.permutation(key, len(groups))
        factors = jnp.where(rank < self.s, len(groups) / self.s if self.unbiased else 1.0, 0.0)
        factors = factors.astype(jnp.float32)
        return GroupDraw(factors, branch_for(self.cuts(groups), factors, len(groups)))

    def cut_probabilities(self, groups: LayerGroups) -> tuple[float, ...]:
        """How often each of `cuts` is called for."""
        total = math.comb(len(groups), self.s)
        at_least = [math.comb(len(groups) - cut, self.s) / total for cut in self.cuts(groups)]
        return tuple(a - b for a, b in zip(at_least, [*at_least[1:], 0.0]))


@dataclasses.dataclass(frozen=True)
class RandomDepth:
    """All groups at or above a random depth D, each divided by its chance to be among them.

    The mean over D of r_l = 1{D ≤ l} / P(D ≤ l) is 1 for every group, so that with a full look-ahead
    the estimate has the exact gradient as its mean; the price is that of the depth drawn. (With an
    active-only look-ahead the closed groups' stillness leaves a bias of order α.)

    Attributes:
      probabilities: q, one per depth, deepest first; positive, summing to 1.
      lowest: the lowest group of every depth, by name, bottom to top. None: from the bottom group
        to the head, evenly spaced.
    """

    probabilities: tuple[float, ...]
    lowest: tuple[str, ...] | None = None

    def __post_init__(self):
        q = self.probabilities
        if len(q) < 1 or min(q) <= 0 or not math.isclose(sum(q), 1, rel_tol=1e-6):
            raise ValueError(
                f"random_depth needs positive probabilities that sum to 1, deepest first; got {q}"
            )
        if self.lowest is not None and len(self.lowest) != len(q):
            raise ValueError(
                f"random_depth has {len(q)} probabilities, but lowest names {len(self.lowest)} groups"
            )

    @property
    def label(self) -> str:
        """A short name for tables."""
        return "random_depth_" + "_".join(f"{p:g}" for p in self.probabilities)

    def cuts(self, groups: LayerGroups) -> tuple[int, ...]:
        """The lowest group of every depth, ascending.

        Raises:
          ValueError: if the depths do not fit the network, or the deepest leaves groups out (their
            share would be lost, and the estimate biased).
        """
        if self.lowest is None:
            cuts = even_cuts(0, len(groups) - 1, len(self.probabilities))
        else:
            cuts = tuple(groups.find([name])[0] for name in self.lowest)
        if len(cuts) != len(self.probabilities) or sorted(set(cuts)) != list(cuts):
            raise ValueError(
                f"random_depth with {len(self.probabilities)} depths needs as many different groups, "
                f"bottom to top; it has the groups {list(cuts)} of {list(groups.names)}"
            )
        if cuts[0] != 0:
            raise ValueError(
                f"random_depth must reach the bottom group {groups.names[0]!r} sometimes, or the "
                f"groups below {groups.names[cuts[0]]!r} would never be heard: let `lowest` start there"
            )
        return cuts

    def draw(self, key: jax.Array, groups: LayerGroups) -> GroupDraw:
        """A draw from `key`."""
        branch = jax.random.choice(
            key, len(self.probabilities), p=jnp.asarray(self.probabilities, jnp.float32)
        ).astype(jnp.int32)
        return self.at(branch, groups)

    def at(self, branch: jax.Array | int, groups: LayerGroups) -> GroupDraw:
        """The draw in which depth `branch` came up."""
        cuts = self.cuts(groups)
        reached = [sum(self.probabilities[: sum(c <= i for c in cuts)]) for i in groups.all]
        is_open = jnp.arange(len(groups)) >= jnp.asarray(cuts)[branch]
        factors = jnp.where(is_open, 1 / jnp.asarray(reached, jnp.float32), 0.0)
        return GroupDraw(factors, jnp.asarray(branch, jnp.int32))

    def cut_probabilities(self, groups: LayerGroups) -> tuple[float, ...]:
        """How often each of `cuts` is called for."""
        self.cuts(groups)
        return self.probabilities
