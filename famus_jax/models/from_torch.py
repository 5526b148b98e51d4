"""Tensors by a PyTorch network's names -> the variables of the same network here.

What every network shares: leaves have other names (`weight` is `scale` or `kernel`, `running_mean` is
`mean` in the collection `batch_stats`), and kernels other axes ([out, in, h, w] -> [h, w, in, out],
[out, in] -> [in, out]; a depthwise kernel [c, 1, h, w] -> [h, w, 1, c] by the same rule). Names of
layers are up to the network.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Path = tuple[str, ...]  # of a variable: collection, modules, leaf

_LEAVES = {"bias": "bias", "running_mean": "mean", "running_var": "var"}
_AXES = {4: (2, 3, 1, 0), 2: (1, 0)}


def split_name(name: str, ndim: int) -> tuple[str, str, str]:
    """A tensor's layer in PyTorch's naming, and its collection and leaf here; leaf "" if unknown.

    >>> split_name("layer1.0.bn1.running_var", 1), split_name("fc.weight", 2)
    (('layer1.0.bn1', 'batch_stats', 'var'), ('fc', 'params', 'kernel'))
    """
    layer, _, leaf = name.rpartition(".")
    leaf = _LEAVES.get(leaf, ("scale" if ndim == 1 else "kernel") if leaf == "weight" else "")
    return layer, "batch_stats" if leaf in ("mean", "var") else "params", leaf


def from_torch(
    tensors: Mapping[str, Any],
    translate: Callable[[str, int], Path],
    wanted: Mapping[Path, tuple[int, ...]],
    network: str,
) -> dict[str, Any]:
    """The variables of a network, from tensors by another library's names.

    Args:
      tensors: arrays by name; `num_batches_tracked` entries are ignored.
      translate: (name, number of axes) -> path of the variable, `()` where there is none.
      wanted: shape of every variable by path, see `shapes_of`.
      network: whose tensors they are, for messages.

    Returns:
      variables, float32: `{"params": ..., "batch_stats": ...}`.

    Raises:
      ValueError: names the tensors that are missing, unknown or of another shape.
    """
    missing = dict(wanted)
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    unknown = []
    for name, value in tensors.items():
        if name.endswith("num_batches_tracked"):
            continue
        array = np.asarray(value)
        path = translate(name, array.ndim)
        if path not in missing:
            unknown.append(name)
            continue
        array = array.transpose(_AXES.get(array.ndim, tuple(range(array.ndim))))
        shape = missing.pop(path)
        if array.shape != shape:
            raise ValueError(
                f"tensor {name!r} has shape {np.shape(value)}, which gives {array.shape} here, but "
                f"{network} has {shape}; is the file of another network?"
            )
        node = variables
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = jnp.asarray(np.asarray(array, np.float32))
    if unknown or missing:
        names = ["/".join(path) for path in missing]
        raise ValueError(
            f"the tensors aren't those of {network}: {len(names)} missing {names[:5]}, "
            f"{len(unknown)} unknown {unknown[:5]}."
        )
    return variables


def shapes_of(network: nn.Module, size: int) -> dict[Path, tuple[int, ...]]:
    """Shapes of a network's variables for RGB images by path, without allocating them."""
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    leaves, _ = jax.tree_util.tree_flatten_with_path(dict(variables))
    return {tuple(entry.key for entry in path): leaf.shape for path, leaf in leaves}
