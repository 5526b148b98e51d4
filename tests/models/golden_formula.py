"""Weights and images by formula, so that the golden files need not store them.

Names and shapes are PyTorch's (``"stage1_block0.conv1.weight"``, ``[out, in, height, width]``);
numpy alone, so that the PyTorch script and the tests share the very same numbers.
"""

import math
import zlib

import numpy as np


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float64 numbers in [-1, 1), scattered by a 32-bit mixing of (crc32 of the name, index)."""
    x = np.arange(math.prod(shape), dtype=np.uint32)
    x = x * np.uint32(0x9E3779B1) + np.uint32(zlib.crc32(name.encode()))
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    x = x ^ (x >> np.uint32(16))
    return (x.astype(np.float64) / 2.0**31 - 1.0).reshape(shape)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor called `name`: kernels of Kaiming's scale, the others near their usual start.

    Float64 holding float32 numbers, so that a loader that rounds to float32 loses nothing.
    """
    u, last = uniform(name, shape), name.rsplit(".", 1)[-1]
    if last == "weight" and len(shape) > 1:
        values = u * math.sqrt(6.0 / math.prod(shape[1:]))
    elif last in ("weight", "running_var"):
        values = 1.0 + 0.4 * u
    elif last in ("bias", "running_mean"):
        values = 0.2 * u
    else:
        raise ValueError(f"no formula for {name!r}")
    return values.astype(np.float32).astype(np.float64)


def images(shape: tuple[int, ...]) -> np.ndarray:
    """Images [n, H, W, C]."""
    return 2.0 * uniform("images", shape)


def digest(name: str, values: np.ndarray) -> float:
    """One number that depends on every entry of `values` and on their order."""
    return float(np.sum(uniform(name + " digest", values.shape) * values))


def torchvision_resnet50() -> dict[str, np.ndarray]:
    """All tensors of torchvision's ResNet-50 by name, written out independently of our loader."""
    shapes = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048), "fc.bias": (1000,)}
    norms = {"bn1": 64}
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        planes = 64 << stage
        for block in range(blocks):
            p = f"layer{stage + 1}.{block}."
            shapes[p + "conv1.weight"] = (planes, channels, 1, 1)
            shapes[p + "conv2.weight"] = (planes, planes, 3, 3)
            shapes[p + "conv3.weight"] = (4 * planes, planes, 1, 1)
            norms |= {p + "bn1": planes, p + "bn2": planes, p + "bn3": 4 * planes}
            if block == 0:
                shapes[p + "downsample.0.weight"] = (4 * planes, channels, 1, 1)
                norms[p + "downsample.1"] = 4 * planes
            channels = 4 * planes
    for norm, width in norms.items():
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{leaf}"] = (width,)
    return {name: tensor(name, shape) for name, shape in shapes.items()}
