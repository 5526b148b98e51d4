"""Training or evaluation: how a network is told, found by the name of an argument."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

# Names under which networks take the mode, and the value that means training.
MODE_NAMES = {
    "train": True,
    "training": True,
    "is_training": True,
    "is_train": True,
    "update_stats": True,
    "deterministic": False,
    "use_running_average": False,
    "inference": False,
    "eval": False,
}


def mode_keywords(function: Callable[..., Any], train: bool, given: int) -> dict[str, bool]:
    """The keyword arguments that put `function` in training or evaluation mode.

    >>> mode_keywords(lambda x, deterministic=True: x, train=True, given=1)
    {'deterministic': False}

    Args:
      function: what will be called. All mode arguments that it names are set. One that names none but
        has `**kwargs` is taken to hand on `train`.
      train: training or evaluation.
      given: how many positional arguments it will get; what they fill is not set again.
    """
    parameters = inspect.signature(function).parameters.values()
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, _EITHER)]
    open_names = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, _EITHER)}
    open_names -= set(positional[:given])
    named = [name for name in MODE_NAMES if name in open_names]
    hands_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if hands_on and not set(positional[:given]) & set(MODE_NAMES) and not named:
        # flax's `Sequential` hands its keyword arguments to the first of its layers only.
        is_sequential = getattr(function, "__qualname__", "") == "Sequential.__call__"
        named = [] if is_sequential else ["train"]
    return {name: train is MODE_NAMES[name] for name in named}


_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD


@contextlib.contextmanager
def explains_mode(keywords: dict[str, bool], remedy: str) -> Iterator[None]:
    """Says what to do where a network hands the mode to something that does not take it.

    Raises:
      ValueError: in place of that `TypeError`.
    """
    try:
        yield
    except TypeError as error:
        if not any(f"unexpected keyword argument '{name}'" in str(error) for name in keywords):
            raise
        raise ValueError(
            f"the network was told its mode by {keywords} and hands that on to something that has no "
            f"such argument ({error}): say how the mode reaches it, {remedy}"
        ) from error
