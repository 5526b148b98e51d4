"""What a compiled program sends between devices, read off its text."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

PHASES = ("virtual_step", "meta_gradient", "actual_step")
"""Named scopes of a step of ours (`famus_jax.core.stages`); all else is "rest"."""
_BYTES = {"pred": 1}
_DTYPES = r"(?:f|bf|s|u|pred|c)\d*(?:e\dm\d\w*)?"
_SHAPE = re.compile(rf"\b({_DTYPES})\[([\d,]*)\]")
_COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_NAME = re.compile(r'op_name="([^"]*)"')


class Collective(NamedTuple):
    """One collective of a compiled program.

    Attributes:
      kind: `"all-reduce"`, `"all-gather"`, ...
      size: how many numbers each device gets.
      bytes: what they take.
      phase: the stage of a step that asks for it, of `PHASES`, or `"rest"`.
    """

    kind: str
    size: int
    bytes: int = 0
    phase: str = "rest"


def collectives(text: str) -> list[Collective]:
    """The collectives in the text of a compiled program, in its order.

    A collective that is started and awaited (`-start`, `-done`) counts once, by what it brings.

    >>> line = 'x = f32[8,4]{1,0} all-reduce(y), metadata={op_name="jit(f)/meta_gradient/dot"}'
    >>> collectives(line)
    [Collective(kind='all-reduce', size=32, bytes=128, phase='meta_gradient')]
    """
    found = []
    for line in text.splitlines():
        if match := _COLLECTIVE.search(line):
            shapes = _brought(line, match[2], _SHAPE.findall(match[1]))
            sizes = [_size(dims) for _, dims in shapes]
            taken = sum(size * _width(kind) for size, (kind, _) in zip(sizes, shapes))
            found.append(Collective(match[2], sum(sizes), taken, _phase(line)))
    return found


def _brought(line: str, kind: str, shapes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of the results of a collective that is started: not its operands, which come first in some."""
    if f"{kind}-start(" not in line or len(shapes) < 2:
        return shapes
    if kind == "collective-permute":
        return shapes[1:2]  # operand, result, and two words of its own
    return shapes[len(shapes) // 2 :] if kind == "all-gather" else shapes


def _size(dims: str) -> int:
    return math.prod(int(d) for d in dims.split(",") if d)


def _width(dtype: str) -> int:
    """Bytes of a number: of `f32`, 4."""
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else _BYTES[dtype]


def _phase(line: str) -> str:
    name = _NAME.search(line)
    inside = [phase for phase in PHASES if name and phase in name[1]]
    return inside[-1] if inside else "rest"
