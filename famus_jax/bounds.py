"""What a number may be: written beside a field's type, and refused by the field's name.

    steps: Annotated[int, Bounds(1, 2**31 - 1)] = 1000

A field of a frozen dataclass so annotated is checked by `typed`, which also makes plain values (of a
config file, a command line, JSON) the field's type. Nothing is rounded: 3.5 is no count.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import types
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from famus_jax.one_of import one_of


class Bounds(NamedTuple):
    """The least and the most that a number may be; `above` and `below` leave the ends out.

    >>> str(Bounds(0, 1, below=True)), str(Bounds(1, 8))
    ('[0, 1)', '[1, 8]')
    """

    least: float
    most: float
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies within; NaN never does."""
        low = value > self.least if self.above else value >= self.least
        return low and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        left, right = "(" if self.above else "[", ")" if self.below else "]"
        return f"{left}{_number(self.least)}, {_number(self.most)}{right}"


# Step counters and positions are int32; the others end where nobody's experiment can lie.
Count = Annotated[int, Bounds(1, 2**31 - 1)]
CountOrNone = Annotated[int, Bounds(0, 2**31 - 1)]
BatchSize = Annotated[int, Bounds(1, 2**20)]
Units = Annotated[int, Bounds(1, 2**16)]
Seed = Annotated[int, Bounds(0, 2**31 - 1)]
LearningRate = Annotated[float, Bounds(0, 1e6, above=True)]
Momentum = Annotated[float, Bounds(0, 1, below=True)]
Share = Annotated[float, Bounds(0, 1)]
Positive = Annotated[float, Bounds(0, 1e6, above=True)]
NotNegative = Annotated[float, Bounds(0, 1e6)]


def whole(value: Any, bounds: Bounds, name: str) -> int:
    """`value` as an int within the bounds.

    Raises:
      ValueError: if it is none (True and 3.0 aren't), naming it.

    >>> whole(0, Bounds(1, 8), "--batch")
    Traceback (most recent call last):
    ValueError: --batch must be a whole number in [1, 8]; got 0
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Integral)
        or not bounds.holds(int(value))
    ):
        raise ValueError(f"{name} must be a whole number in {bounds}; got {_shown(value)}")
    return int(value)


def real(value: Any, bounds: Bounds, name: str) -> float:
    """`value` as a float within the bounds; NaN is in none.

    Raises:
      ValueError: naming it.
    """
    fine = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not fine or not bounds.holds(_float(value)):
        raise ValueError(f"{name} must lie in {bounds}; got {_shown(value)}")
    return float(value)


def typed(cls: type, values: Any, where: str) -> Any:
    """The dataclass `cls` with these values, each of its field's type and within its bounds.

    Args:
      cls: a dataclass; the annotations of its fields say what they may hold.
      values: a mapping of names to plain values; fields that are left out keep their defaults.
      where: the name of this part of a config, for messages; "" for the whole.

    Raises:
      ValueError: as `typed_values`; or for a field without default that is missing.
    """
    found = typed_values(cls, values, where)
    for field in dataclasses.fields(cls):
        if field.name not in found and field.default is field.default_factory:  # both are missing
            raise ValueError(f"{where or 'config'} needs {field.name!r}: add it")
    return cls(**found)


def typed_values(cls: type, values: Any, where: str) -> dict[str, Any]:
    """Values for some fields of the dataclass `cls`, each of its field's type and within its bounds.

    Raises:
      ValueError: for a name that `cls` has not, or a value that its field can't take; the message
        begins with the name.
    """
    if not isinstance(values, Mapping):
        raise ValueError(
            f"{where or 'config'} must be a section of names and values; got {_shown(values)}"
        )
    names = [field.name for field in dataclasses.fields(cls)]
    for name in values:
        one_of(name, names, where or "config")
    hints, dot = get_type_hints(cls, include_extras=True), f"{where}." if where else ""
    return {name: _typed(hints[name], value, f"{dot}{name}") for name, value in values.items()}


def plain(value: Any, name: str) -> Any:
    """A value of a field that may hold anything JSON can: text, finite numbers, lists, named values.

    Raises:
      ValueError: for anything else, NaN and infinity included.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, name)
    if isinstance(value, numbers.Integral):
        return whole(value, Bounds(-(2**63), 2**63 - 1), name)
    if isinstance(value, numbers.Real):
        if not math.isfinite(_float(value)):
            raise ValueError(f"{name} must be finite; got {_shown(value)}")
        return float(value)
    if isinstance(value, list | tuple):
        return tuple(plain(one, f"{name}[{i}]") for i, one in enumerate(value))
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{name}: its names must be text; got {_shown(key)}")
        return {key: plain(one, f"{name}.{key}") for key, one in value.items()}
    raise ValueError(
        f"{name} must be text, a number, a list or named values; got {_shown(value)} "
        f"({type(value).__name__})"
    )


def _typed(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind, bounds = arguments
        return (whole if kind is int else real)(value, bounds, name)
    if origin is Literal:
        one_of(value, arguments, name)
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _typed(arguments[0], value, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} must be a list; got {_shown(value)}")
        return tuple(_typed(arguments[0], one, f"{name}[{i}]") for i, one in enumerate(value))
    if hint is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False; got {_shown(value)}")
        return value
    if hint is str:
        return _text(value, name)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be named values, {{...}}; got {_shown(value)}")
        return plain(value, name)
    if dataclasses.is_dataclass(hint):
        return typed(hint, value, name)  # type: ignore[arg-type]
    return plain(value, name)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text; got {_shown(value)}")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise ValueError(f"{name} must be text without control characters; got {_shown(value)}")
    return str(value)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond all floats
        return math.inf


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
