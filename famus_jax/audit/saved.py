"""The network that an audit trains on mended labels, in the form that `famus predict` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from famus_jax.audit.items import Items
from famus_jax.audit.run import Audit
from famus_jax.predictor import Features, Images, Network, Predictor, save_predictor


def save(folder: Path, items: Items, found: Audit, made_from: Mapping[str, str]) -> list[Path]:
    """Saves the predictor of images, or of features that people brought, in `folder`."""
    inputs, variables = found.choice.inputs, jax.device_get(found.variables)
    shape = items.inputs.shape[1:]
    if items.kind == "images":
        takes = Images((shape[0], shape[1]), shape[2], inputs.mean, inputs.std)
    else:
        takes = Features(shape[0])
        variables = {**variables, "params": _unscaled(variables["params"], inputs)}
    params = variables["params"]
    state = {name: value for name, value in variables.items() if name != "params"}
    return save_predictor(
        folder,
        Predictor(
            network=Network(found.choice.name, found.choice.overrides),
            class_names=items.class_names,
            inputs=takes,
            members=((params, state),),
            made_from=made_from,
        ),
    )


def _unscaled(params: Mapping[str, Any], inputs: Any) -> dict[str, Any]:
    """The first layer takes features as they are: W x + b of scaled ones, rewritten."""
    name = "dense0" if "dense0" in params else "head"
    kernel, bias = (np.asarray(params[name][part], np.float64) for part in ("kernel", "bias"))
    kernel = kernel / np.asarray(inputs.std)[:, None]
    bias = bias - np.asarray(inputs.mean) @ kernel
    layer = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    return {**params, name: layer}
