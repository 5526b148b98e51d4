"""The kinds of label noise in the literature, all as "a share r of the examples is redrawn".

A kind is a *redraw matrix* Q, float64[C, C]: row c is the distribution of the new label of a
redrawn example of class c (it may contain c itself). With the rate r the transition is

    P = (1 - r) I + r Q .

`apply_noise` redraws each example with chance r independently (`exact="no"`), or exactly
floor(r N) examples of all (`"all"`, DivideMix), or floor(r n_c) of each class (`"class"`).
The papers and codes behind the definitions are named in `presets`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.noise.cifar_classes import CIFAR10_MISTAKES, CIFAR100_SUPERCLASS
from famus_jax.data.noise.transition import (
    NoisyLabels,
    checked_labels,
    checked_num_classes,
    checked_rate,
    checked_transition,
    draw_from_rows,
    summarize,
)

Exact = Literal["no", "all", "class"]


class NoiseSpec(NamedTuple):
    """A fully specified noise model.

    Attributes:
      name: for tables and messages.
      redraw: float64[C, C], Q above.
      rate: r in [0, 1], the chance or share of redrawn examples.
      exact: "no", "all" or "class", see the module.
    """

    name: str
    redraw: np.ndarray
    rate: float
    exact: Exact = "no"

    @property
    def transition(self) -> np.ndarray:
        """P = (1 - r) I + r Q, float64[C, C]."""
        return (1.0 - self.rate) * np.eye(len(self.redraw)) + self.rate * self.redraw


def uniform_redraw(num_classes: int, inclusive: bool = True) -> np.ndarray:
    """Any class (inclusive, the true one too), or any other class; float64[C, C]."""
    c = checked_num_classes(num_classes)
    if inclusive:
        return np.full((c, c), 1.0 / c)
    return (np.ones((c, c)) - np.eye(c)) / (c - 1)


def uniform_but_last_redraw(num_classes: int) -> np.ndarray:
    """Uniform over the classes 0 … C-2, the true one included: L2R's released UniformFlip."""
    c = checked_num_classes(num_classes)
    redraw = np.full((c, c), 1.0 / (c - 1))
    redraw[:, -1] = 0.0
    return redraw


def map_redraw(targets: Sequence[int] | np.ndarray) -> np.ndarray:
    """Class c always becomes `targets[c]`; float64[C, C].

    >>> map_redraw([0, 0]).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    c = checked_num_classes(len(targets))
    return np.eye(c)[checked_labels(np.asarray(targets), c)]


def next_redraw(num_classes: int) -> np.ndarray:
    """Pair flip: c becomes c + 1 mod C."""
    return map_redraw(np.roll(np.arange(checked_num_classes(num_classes)), -1))


def background_redraw(num_classes: int, target: int) -> np.ndarray:
    """Everything becomes class `target` (L2R's BackgroundFlip; the target class stays)."""
    return map_redraw([target] * checked_num_classes(num_classes))


def flip_to_some_redraw(num_classes: int, how_many: int, matrix_seed: int = 1) -> np.ndarray:
    """Class c becomes one of `how_many` fixed other classes, drawn once per class.

    MW-Net's "flip" (1) and "flip2" (2). The targets come from numpy's frozen legacy generator with
    `matrix_seed` (1 in the paper's code), class by class, as there.
    """
    c = checked_num_classes(num_classes)
    if how_many not in (1, 2) or how_many >= c:
        raise ValueError(
            f"how_many = {how_many} target classes; choose 1 or 2, below num_classes = {c}"
        )
    legacy = np.random.RandomState(hashing.checked_seed(matrix_seed))
    redraw = np.zeros((c, c))
    for own in range(c):
        others = np.delete(np.arange(c), own)
        targets = legacy.choice(others) if how_many == 1 else legacy.choice(others, 2, False)
        redraw[own, targets] = 1.0 / how_many
    return redraw


def asymmetric_cifar10_redraw(variant: str = "dividemix") -> np.ndarray:
    """Mistakes between look-alikes of CIFAR-10, float64[10, 10].

    Args:
      variant: "dividemix" (truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog; also
        Patrini et al. 2017) or "cmwnet" (the same, but dogs stay dogs).

    Half of the classes have no mistake, so the share of wrong labels is r/2 (0.4 r for "cmwnet").
    """
    if variant not in CIFAR10_MISTAKES:
        raise ValueError(f"variant = {variant!r}; choose one of {sorted(CIFAR10_MISTAKES)}")
    return map_redraw(CIFAR10_MISTAKES[variant])


def _checked_superclass(superclass: Sequence[int] | np.ndarray) -> np.ndarray:
    groups = np.asarray(superclass)
    if groups.ndim != 1 or groups.dtype.kind not in "iu":
        raise ValueError(f"superclass must be integers [C], got {groups.dtype} {groups.shape}")
    return groups


def superclass_next_redraw(
    superclass: Sequence[int] | np.ndarray = CIFAR100_SUPERCLASS,
) -> np.ndarray:
    """Each class becomes the next of its superclass, in a circle (CIFAR-100 asymmetric).

    Args:
      superclass: int[C], the superclass of each class; CIFAR-100's by default.
    """
    groups = _checked_superclass(superclass)
    targets = np.arange(len(groups))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        targets[members] = np.roll(members, -1)
    return map_redraw(targets)


def hierarchical_redraw(
    superclass: Sequence[int] | np.ndarray = CIFAR100_SUPERCLASS,
) -> np.ndarray:
    """Each class becomes any *other* class of its superclass (MW-Net's "hierarchical").

    A class that is alone in its superclass keeps its labels.
    """
    groups = _checked_superclass(superclass)
    same = (groups[:, None] == groups[None, :]).astype(np.float64) - np.eye(len(groups))
    alone = same.sum(axis=1) == 0
    same[alone, alone] = 1.0
    return same / same.sum(axis=1, keepdims=True)


def random_class(num_classes: int, seed: int) -> int:
    """A class drawn from `seed`, the same for ever (for `background_redraw`)."""
    word = hashlib.blake2b(f"class\x00{hashing.checked_seed(seed)}".encode(), digest_size=8)
    return int.from_bytes(word.digest(), "little") % checked_num_classes(num_classes)


def spec_from_transition(transition: np.ndarray, name: str = "matrix") -> NoiseSpec:
    """Any transition matrix as a `NoiseSpec` (rate 1: everything is redrawn from its row)."""
    return NoiseSpec(name, checked_transition(transition), 1.0, "no")


def _count(rate: float, total: int) -> int:
    # floor(rate * total) of the decimal number that was written: 0.3 of 10 is 3, 0.29 of 100 is 29.
    return int(Fraction(str(rate)) * total)


def apply_noise(
    spec: NoiseSpec,
    labels: np.ndarray | Sequence[int],
    ids: Sequence[str] | np.ndarray,
    seed: int,
) -> NoisyLabels:
    """Corrupt labels as `spec` says, by stable hashes of (seed, id).

    Args:
      spec: the noise.
      labels: clean labels, integers [N] in [0, C).
      ids: N unique strings.
      seed: int.

    Returns:
      `NoisyLabels`. Independent of the order of the examples. With `exact="no"` also of which
      other examples there are; an exact count needs the whole set: corrupt it before sharding.

    Raises:
      ValueError: rate outside [0, 1], labels out of range, ids missing or repeated, unknown
        `exact`.
    """
    rate = checked_rate(spec.rate)
    redraw = checked_transition(spec.redraw)
    num_classes = len(redraw)
    clean = checked_labels(labels, num_classes)
    names = hashing.checked_ids(ids, len(clean))
    u = hashing.uniform(seed, "label_noise", names)
    if spec.exact == "no":
        noisy = draw_from_rows(spec.transition, clean, u)
        return summarize(noisy, clean, names, num_classes)
    order = hashing.hash_order(seed, "label_noise_selection", names)
    if spec.exact == "all":
        chosen = order[: _count(rate, len(clean))]
    elif spec.exact == "class":
        parts = [order[clean[order] == c] for c in range(num_classes)]
        chosen = np.concatenate([part[: _count(rate, len(part))] for part in parts])
    else:
        raise ValueError(f"exact = {spec.exact!r}; choose 'no', 'all' or 'class'")
    noisy = clean.copy()
    noisy[chosen] = draw_from_rows(redraw, clean[chosen], u[chosen])
    return summarize(noisy, clean, names, num_classes)
