"""The network that an audit trains on mended labels, in the form that `famus predict` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from famus_jax.audit.items import Items
from famus_jax.audit.run import Audit
from famus_jax.audit.text_classifier import TextClassifier
from famus_jax.predictor import (
    Features,
    Images,
    Network,
    Predictor,
    PretrainedImages,
    Texts,
    save_predictor,
)


def save(
    folder: Path,
    items: Items,
    found: Audit,
    made_from: Mapping[str, str],
    *,
    features: np.ndarray | None = None,
    texts: TextClassifier | None = None,
) -> list[Path]:
    """Saves the predictor in `folder`.

    Args:
      folder: for its two files.
      items: what was audited.
      found: the audit, with a final network unless the items are texts.
      made_from: see `Predictor`.
      features: of images, that the pretrained network made; None: the network saw the images.
      texts: the classifier, where the items are texts.

    Raises:
      ValueError: texts without a classifier, or no final network.
    """
    if items.kind == "texts":
        if texts is None:
            raise ValueError("the items are texts: give their classifier, texts=")
        network = Network("mlp", {"hidden": ()})
        params = {"head": {"kernel": texts.kernel, "bias": texts.bias}}
        return _save(folder, items, network, Texts(texts.buckets), params, {}, made_from)
    if found.variables is None:
        raise ValueError("this audit trained no final network")
    inputs, variables = found.choice.inputs, jax.device_get(found.variables)
    shape = items.inputs.shape[1:]
    params = variables["params"]
    if items.kind == "images" and features is None:
        takes = Images((shape[0], shape[1]), shape[2], inputs.mean, inputs.std)
    else:
        params = _unscaled(params, inputs)
        takes = Features(shape[0])
        if features is not None:
            from famus_jax.models.image_features import SIZE

            takes = PretrainedImages((shape[0], shape[1]), shape[2], SIZE, features.shape[1])
    state = {name: value for name, value in variables.items() if name != "params"}
    network = Network(found.choice.name, found.choice.overrides)
    return _save(folder, items, network, takes, params, state, made_from)


def _save(
    folder: Path,
    items: Items,
    network: Network,
    takes: Any,
    params: Any,
    state: Any,
    made_from: Mapping[str, str],
) -> list[Path]:
    return save_predictor(
        folder,
        Predictor(
            network=network,
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
