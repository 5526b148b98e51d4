"""ImageNet weights for ResNet-50, from tensors in torchvision's naming.

`load_trunk` reads all but the last layer, and `with_trunk` puts it into a fresh network's variables.

Only safetensors files are read: they hold numbers and nothing that could be executed. (A `.pth`
file is a pickle; convert it once, where you trust it, with `safetensors.torch.save_file`.)

| torchvision | here |
|---|---|
| `conv1`, `bn1` | `stem`, `stem_norm` |
| `layer{s}.{b}.conv{i}`, `.bn{i}` | `stage{s}_block{b}` / `conv{i}`, `norm{i}` |
| `layer{s}.{b}.downsample.0`, `.1` | `stage{s}_block{b}` / `shortcut`, `shortcut_norm` |
| `fc` | `head` |
| `weight` [out, in, h, w] or [out, in] | `kernel` [h, w, in, out] or [in, out] |
| `weight` [c] | `scale` [c] |
| `running_mean`, `running_var` | `mean`, `var` in the collection `batch_stats` |

torchvision's weights expect RGB images scaled to [0, 1], less the mean (0.485, 0.456, 0.406) and
divided by (0.229, 0.224, 0.225).
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.models.from_torch import from_torch, shapes_of, split_name
from famus_jax.models.resnet import ResNet50

# Names of `MODELS` whose weights can be read.
PRETRAINED = ("resnet_50",)

Variables = tuple[dict[str, Any], dict[str, Any]]  # (params, model_state)


def load_trunk(path: str | os.PathLike[str]) -> Variables:
    """All of a file's ResNet-50 but its head, as numpy arrays; see `load_resnet50_safetensors`."""
    return jax.device_get(load_resnet50_safetensors(path, head=False))


def with_trunk(fresh: Variables, trunk: Variables) -> Variables:
    """A fresh network with a trunk from a file: only the head stays as it was drawn.

    Args:
      fresh: (params, model_state) of `build_model("resnet_50", classes)`.
      trunk: what `load_trunk` gives. It is copied, so that donating the result leaves it whole.

    Raises:
      ValueError: the network is not the one of the file; names the first variable that differs.
    """
    here, there = ({**_shapes(v[0]), **_shapes(v[1])} for v in (fresh, trunk))
    here = {path: shape for path, shape in here.items() if not path.startswith("head/")}
    for path in sorted(here.keys() | there.keys()):
        if here.get(path) != there.get(path):
            raise ValueError(
                f"{path} has shape {there.get(path, 'none')} in the file and "
                f"{here.get(path, 'none')} in the network. The weights are of ResNet-50 with "
                "BatchNorm for RGB images: leave `blocks` and `norm` as they are, and give images "
                "with 3 channels."
            )
    copied = jax.tree.map(jnp.array, trunk)
    return {**fresh[0], **copied[0]}, {**fresh[1], **copied[1]}


def load_resnet50_safetensors(
    path: str | os.PathLike[str], *, head: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the weights of a ResNet-50 from a safetensors file in torchvision's naming.

    Args:
      path: the file.
      head: whether the last dense layer is wanted. For another set of classes pass False and put
        the trunk into a fresh network's parameters: `params = {**params, **trunk}`.

    Returns:
      `(params, model_state)` for `build_model("resnet_50", classes)`, float32;
      `model_state` is `{"batch_stats": ...}`.

    Raises:
      ImportError: `safetensors` isn't installed.
      FileNotFoundError: there is no such file.
      ValueError: the file isn't safetensors, or as `resnet50_from_torchvision`.
    """
    try:
        from safetensors import SafetensorError  # pyright: ignore[reportMissingImports]
        from safetensors.flax import load_file  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "reading pretrained weights needs the package safetensors: pip install safetensors"
        ) from error
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {os.fspath(path)!r}; pass a .safetensors file.")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{os.fspath(path)!r} isn't a safetensors file ({error}). A PyTorch .pth file has to "
            "be converted first, with safetensors.torch.save_file; it isn't read here because "
            "unpickling can execute code."
        ) from error
    return resnet50_from_torchvision(tensors, head=head)


def resnet50_from_torchvision(
    tensors: Mapping[str, Any], *, head: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Translates tensors by torchvision's names into the variables of our `ResNet50`.

    Args:
      tensors: arrays by name; `num_batches_tracked` entries are ignored.
      head: whether `fc` is wanted, see `load_resnet50_safetensors`.

    Returns:
      `(params, model_state)`, float32.

    Raises:
      ValueError: names the tensors that are missing, unknown, or of another shape than
        ResNet-50's.
    """
    wanted = shapes_of(ResNet50(_num_classes(tensors) if head else 1), 64)
    if not head:
        wanted = {path: shape for path, shape in wanted.items() if path[1] != "head"}
        tensors = {name: value for name, value in tensors.items() if not name.startswith("fc.")}
    variables = from_torch(tensors, _translate, wanted, "torchvision's ResNet-50")
    return variables["params"], {"batch_stats": variables["batch_stats"]}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(entry.key for entry in path): np.shape(leaf) for path, leaf in leaves}


def _translate(name: str, ndim: int) -> tuple[str, ...]:
    """Path of the torchvision tensor `name` among our variables; `()` if it has none."""
    layer, collection, leaf = split_name(name, ndim)
    if layer in (top := {"conv1": "stem", "bn1": "stem_norm", "fc": "head"}):
        return (collection, top[layer], leaf)
    match = re.fullmatch(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|downsample\.([01]))", layer)
    if match is None or not leaf:
        return ()
    stage, block, kind, index, downsample = match.groups()
    if downsample is not None:
        module = ("shortcut", "shortcut_norm")[int(downsample)]
    else:
        module = {"conv": "conv", "bn": "norm"}[kind] + index
    return (collection, f"stage{stage}_block{block}", module, leaf)


def _num_classes(tensors: Mapping[str, Any]) -> int:
    if "fc.weight" not in tensors:
        raise ValueError("there is no tensor 'fc.weight'; pass head=False to do without it.")
    return int(np.shape(tensors["fc.weight"])[0])
