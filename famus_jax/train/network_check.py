"""A network that a config describes: whether it can be built, and held in memory, before it is."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from famus_jax.differentiate.linearize import Forward
from famus_jax.train.schema import ModelConfig


def check_network(
    model: ModelConfig, init: Callable[[jax.Array], Any], forward: Forward, shape: tuple[int, ...]
) -> None:
    """Traces the network's init and a training pass, which computes nothing.

    Args:
      model: what the config says of it.
      init: `key -> (params, model_state)`.
      forward: in training: what init leaves out, dropout say, may be what can't be.
      shape: of one example.

    Raises:
      ValueError: if it can't be built for such examples, or has more parameters than there is memory:
        XLA would end the process.
    """
    described = f"model {model.name!r} with model.overrides = {model.overrides}"
    try:
        params, model_state = jax.eval_shape(init, jax.random.key(0))
        batch = {"image": jax.ShapeDtypeStruct((2, *shape), np.float32)}
        jax.eval_shape(forward, params, model_state, jax.random.key(0), batch)
    except Exception as error:  # of flax or jax, of any type
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{described} can't be built for examples {list(shape)}: {why}") from error
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(params))
    if size > (memory := _memory()):
        raise ValueError(
            f"{described} has {size / 2**30:.3g} GiB of parameters, and there are {memory / 2**30:.3g} "
            "GiB of memory: take a smaller network"
        )


def _memory() -> float:
    """Bytes of all devices here, or of this machine if that is more or they don't tell."""
    told = [device.memory_stats() or {} for device in jax.local_devices()]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(machine, sum(one.get("bytes_limit", 0) for one in told))
