"""Label noise by the name of a paper: what its released code does, with the share to expect.

`published_noise("dividemix", "symmetric", 10, 0.5)` is a `NoiseSpec` for `apply_noise`. What is
reproduced is the *distribution*; the random draws are ours (keyed by example id), because the
published ones depend on array order, library versions and, partly, on no seed at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from famus_jax.data.noise import kinds
from famus_jax.data.noise.kinds import Exact, NoiseSpec
from famus_jax.data.noise.transition import checked_num_classes, checked_rate


class Preset(NamedTuple):
    """One kind of noise of one paper.

    Attributes:
      redraw: num_classes -> Q, float64[C, C].
      expected: (rate, num_classes) -> expected share of wrong labels on balanced classes, from the
        published formula (written independently of `redraw`).
      note: what is particular.
      exact: "no", "all" or "class".
      num_classes: the only number of classes it is defined for, or None.
    """

    redraw: Callable[[int], np.ndarray]
    expected: Callable[[float, int], float]
    note: str
    exact: Exact = "no"
    num_classes: int | None = None


def _inclusive(r: float, c: int) -> float:
    return r * (1 - 1 / c)


def _whole(r: float, c: int) -> float:
    del c
    return r


PRESETS: dict[str, dict[str, Preset]] = {
    "mwnet": {
        "symmetric": Preset(
            redraw=kinds.uniform_redraw,
            expected=_inclusive,
            note="'unif': the true class may be drawn",
        ),
        "flip": Preset(
            redraw=lambda c: kinds.flip_to_some_redraw(c, 1, 1),
            expected=_whole,
            note="one class, seed 1",
        ),
        "flip2": Preset(
            redraw=lambda c: kinds.flip_to_some_redraw(c, 2, 1),
            expected=_whole,
            note="two classes, seed 1",
        ),
        "hierarchical": Preset(
            redraw=lambda c: kinds.hierarchical_redraw(),
            num_classes=100,
            expected=_whole,
            note="CIFAR-100: other fine classes",
        ),
    },
    "dividemix": {
        "symmetric": Preset(
            redraw=kinds.uniform_redraw,
            exact="all",
            expected=_inclusive,
            note="exactly floor(r N) redrawn",
        ),
        "asymmetric": Preset(
            redraw=lambda c: kinds.asymmetric_cifar10_redraw("dividemix"),
            exact="all",
            num_classes=10,
            expected=lambda r, c: 0.5 * r,
            note="CIFAR-10 look-alikes, cat <-> dog; exactly floor(r N) examples chosen",
        ),
    },
    "l2r": {
        "uniform_flip": Preset(
            redraw=kinds.uniform_but_last_redraw,
            expected=_inclusive,
            note="the true class may be drawn, the last class never is",
        ),
        "background_flip": Preset(
            redraw=lambda c: kinds.background_redraw(c, kinds.random_class(c, 0)),
            expected=_inclusive,
            note="all go to one class (ours is drawn with seed 0)",
        ),
    },
    "mlc": {
        "symmetric": Preset(
            redraw=lambda c: kinds.uniform_redraw(c, inclusive=False),
            expected=_whole,
            note="Wang et al. 2020, noise_type 2: never the true class",
        ),
        "symmetric_inclusive": Preset(
            redraw=kinds.uniform_redraw,
            exact="class",
            expected=_inclusive,
            note="Wang et al. 2020, Uniform_noise.py: per class; their even spread over targets is "
            "random here",
        ),
    },
    "clid_mu": {
        "symmetric": Preset(
            redraw=lambda c: kinds.uniform_redraw(c, inclusive=False),
            expected=_whole,
            note="TopoFilter's build_uniform_P: never the true class",
        ),
        "asymmetric": Preset(
            redraw=lambda c: kinds.asymmetric_cifar10_redraw("dividemix"),
            num_classes=10,
            expected=lambda r, c: 0.5 * r,
            note="CIFAR-10 look-alikes",
        ),
    },
}


def find_preset(paper: str, kind: str, num_classes: int) -> Preset:
    """The preset, or a `ValueError` that lists the papers, their kinds, or the class count."""
    if paper not in PRESETS:
        raise ValueError(f"no noise preset for paper {paper!r}; choose one of {sorted(PRESETS)}")
    if kind not in PRESETS[paper]:
        raise ValueError(f"{paper!r} has no noise {kind!r}; choose one of {sorted(PRESETS[paper])}")
    preset = PRESETS[paper][kind]
    classes = checked_num_classes(num_classes)
    if preset.num_classes not in (None, classes):
        raise ValueError(
            f"{paper}/{kind} is defined for {preset.num_classes} classes, not for {classes}"
        )
    return preset


def published_noise(paper: str, kind: str, num_classes: int, rate: float) -> NoiseSpec:
    """The noise of a paper.

    Args:
      paper: "mwnet", "dividemix", "l2r", "mlc" (Wang et al., CVPR 2020) or "clid_mu".
      kind: see `PRESETS`.
      num_classes: C.
      rate: r as the paper writes it, in [0, 1].

    Raises:
      ValueError: unknown paper or kind, wrong number of classes, rate outside [0, 1].
    """
    preset = find_preset(paper, kind, num_classes)
    return NoiseSpec(
        f"{paper}/{kind}", preset.redraw(int(num_classes)), checked_rate(rate), preset.exact
    )


def published_rate(paper: str, kind: str, num_classes: int, rate: float) -> float:
    """The share of wrong labels that `published_noise` gives on balanced classes."""
    return find_preset(paper, kind, num_classes).expected(checked_rate(rate), int(num_classes))


KINDS = {
    "symmetric": lambda c: kinds.uniform_redraw(c),
    "symmetric_exclusive": lambda c: kinds.uniform_redraw(c, inclusive=False),
    "pair_flip": kinds.next_redraw,
    "flip_to_one": lambda c: kinds.flip_to_some_redraw(c, 1),
    "flip_to_two": lambda c: kinds.flip_to_some_redraw(c, 2),
    "asymmetric_cifar10": lambda c: kinds.asymmetric_cifar10_redraw(),
    "superclass_next": lambda c: kinds.superclass_next_redraw(),
    "hierarchical": lambda c: kinds.hierarchical_redraw(),
}


def named_noise(kind: str, num_classes: int, rate: float, exact: Exact = "no") -> NoiseSpec:
    """The noise of a name: one of `KINDS`, or "paper/kind" of `PRESETS`.

    Raises:
      ValueError: an unknown name, or a kind for another number of classes.
    """
    if "/" in kind:
        if exact != "no":
            raise ValueError(f"{kind!r} fixes its own counts; leave exact = {exact!r} away")
        paper, _, own = kind.partition("/")
        return published_noise(paper, own, num_classes, rate)
    if kind not in KINDS:
        raise ValueError(f"no label noise {kind!r}; choose one of {', '.join(all_names())}")
    redraw = KINDS[kind](num_classes)
    if len(redraw) != num_classes:
        raise ValueError(f"noise {kind!r} has {len(redraw)} classes, the data have {num_classes}")
    return NoiseSpec(kind, redraw, rate, exact)


def all_names() -> list[str]:
    """Every name that `named_noise` knows."""
    return [*KINDS, *(f"{paper}/{kind}" for paper, some in PRESETS.items() for kind in some)]
