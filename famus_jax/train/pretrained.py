"""Networks that start from a file of weights: `model.pretrained` of a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from famus_jax.files import expanded
from famus_jax.models.pretrained import PRETRAINED, Variables, load_trunk, with_trunk
from famus_jax.train.schema import ModelConfig

Init = Callable[[jax.Array], tuple[Any, Any]]


def check_pretrained(model: ModelConfig) -> None:
    """Raises `ValueError` for a network whose weights can't be read, or a file that isn't there."""
    if not model.pretrained:
        return
    if model.name not in PRETRAINED:
        raise ValueError(
            f"model.pretrained = {model.pretrained!r}: weights can be read for "
            f"{', '.join(PRETRAINED)} only, and model.name is {model.name!r}; leave model.pretrained "
            "empty, or change the network"
        )
    if not expanded(model.pretrained).is_file():
        raise ValueError(
            f"model.pretrained: there is no file {model.pretrained!r}; give the path of a "
            ".safetensors file, or leave it empty"
        )


def read_pretrained(model: ModelConfig) -> Variables | None:
    """The weights that `model.pretrained` names; None where it is empty.

    Raises:
      ValueError: the file is not safetensors, or of another network.
      ImportError: the package `safetensors` is missing.
    """
    if not model.pretrained:
        return None
    try:
        return load_trunk(expanded(model.pretrained))
    except ValueError as error:
        raise ValueError(f"model.pretrained: {error}") from error


def from_trunk(init: Init, trunk: Variables | None) -> Init:
    """`init`, but with all that the file holds in the place of what it draws.

    The weights stay outside of the compiled `init`, where they would be constants of a program.

    Raises:
      ValueError: the network is not the one of the file.
    """
    if trunk is None:
        return init

    def started(key: jax.Array) -> tuple[Any, Any]:
        return with_trunk(init(key), trunk)

    try:
        jax.eval_shape(started, jax.random.key(0))
    except ValueError as error:
        raise ValueError(f"model.pretrained: {error}") from error
    return started
