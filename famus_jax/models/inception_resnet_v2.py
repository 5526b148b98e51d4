"""Inception-ResNet-v2, without the auxiliary head.

Szegedy et al., *Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning*,
AAAI 2017 (arXiv 1602.07261), in the variant published with TensorFlow-Slim and its PyTorch ports
(Mixed_5b as in Inception-v3's blocks, residual scales 0.17, 0.10, 0.20), which is what the 55.8
million parameters quoted everywhere belong to.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from famus_jax.models import layers


class _Unit(NamedTuple):
    """One convolution of a branch: channels, kernel (height, width), stride, padded or not."""

    features: int
    kernel: int | tuple[int, int]
    strides: int = 1
    pad: bool = True


# Branches of the blocks, bottom to top. "Reduction" blocks halve the resolution, unpadded.
_MIXED_5B = (
    (_Unit(96, 1),),
    (_Unit(48, 1), _Unit(64, 5)),
    (_Unit(64, 1), _Unit(96, 3), _Unit(96, 3)),
)
_BLOCK_35 = (
    (_Unit(32, 1),),
    (_Unit(32, 1), _Unit(32, 3)),
    (_Unit(32, 1), _Unit(48, 3), _Unit(64, 3)),
)
_MIXED_6A = (
    (_Unit(384, 3, 2, pad=False),),
    (_Unit(256, 1), _Unit(256, 3), _Unit(384, 3, 2, pad=False)),
)
_BLOCK_17 = ((_Unit(192, 1),), (_Unit(128, 1), _Unit(160, (1, 7)), _Unit(192, (7, 1))))
_MIXED_7A = (
    (_Unit(256, 1), _Unit(384, 3, 2, pad=False)),
    (_Unit(256, 1), _Unit(288, 3, 2, pad=False)),
    (_Unit(256, 1), _Unit(288, 3), _Unit(320, 3, 2, pad=False)),
)
_BLOCK_8 = ((_Unit(192, 1),), (_Unit(192, 1), _Unit(224, (1, 3)), _Unit(256, (3, 1))))


class InceptionResNetV2(nn.Module):
    """A stem, then 10, 20 and 10 residual inception blocks at three resolutions.

    Input `[n, H, W, C]` floating point, at least 75x75 (299x299 in the literature), output logits
    `[n, num_classes]`, float32 (wider if the parameters are). It has 55,843,464 parameters for
    RGB images and 1000 classes. Norms have epsilon 1e-3; weights start from PyTorch's defaults,
    biases of the blocks' last convolutions at 0.

    Attributes:
      num_classes: width of the output.
      dropout: rate of dropping the pooled features in training, in [0, 1); needs the random
        stream `"dropout"`. (The paper has 0.2, the ports 0.)
      norm: as in `norm_factory`.
      dtype: dtype of the computation, None for that of input and parameters.
      repeats: number of blocks at each resolution; the last one of all has scale 1 and no ReLU.

    Raises:
      ValueError: input that isn't `[n, H, W, C]` or too small, or a rate outside [0, 1).
      TypeError: integer input.
    """

    num_classes: int
    dropout: float = 0.0
    norm: layers.Norm = "batch"
    dtype: Any = None
    repeats: tuple[int, int, int] = (10, 20, 10)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[n, num_classes]` of `images` `[n, H, W, C]`."""
        layers.check_images(images, type(self).__name__)
        if min(images.shape[1:3]) < 75:
            raise ValueError(
                f"InceptionResNetV2 takes images of at least 75x75, got {images.shape[1:3]}; "
                "resize them."
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is a rate in [0, 1), got {self.dropout}.")
        shared: dict[str, Any] = {"norm": self.norm, "dtype": self.dtype, "train": train}
        stem = (_Unit(32, 3, 2, pad=False), _Unit(32, 3, pad=False), _Unit(64, 3))
        x = _Branch(stem, name="stem_a", **shared)(images)
        x = nn.max_pool(x, (3, 3), strides=(2, 2))
        x = _Branch((_Unit(80, 1), _Unit(192, 3, pad=False)), name="stem_b", **shared)(x)
        x = nn.max_pool(x, (3, 3), strides=(2, 2))
        pooled = nn.avg_pool(x, (3, 3), padding=layers.PAD_ONE, count_include_pad=False)
        pooled = _Branch((_Unit(64, 1),), name="mixed_5b_pool", **shared)(pooled)
        x = jnp.concatenate([_Branches(_MIXED_5B, name="mixed_5b", **shared)(x), pooled], -1)
        for i in range(self.repeats[0]):
            x = _Residual(_BLOCK_35, 0.17, name=f"block35_{i}", **shared)(x)
        x = _reduce(_MIXED_6A, x, name="mixed_6a", **shared)
        for i in range(self.repeats[1]):
            x = _Residual(_BLOCK_17, 0.10, name=f"block17_{i}", **shared)(x)
        x = _reduce(_MIXED_7A, x, name="mixed_7a", **shared)
        for i in range(self.repeats[2]):
            last = i == self.repeats[2] - 1
            scale = 1.0 if last else 0.20
            x = _Residual(_BLOCK_8, scale, relu=not last, name=f"block8_{i}", **shared)(x)
        x = _Branch((_Unit(1536, 1),), name="top", **shared)(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(layers.global_mean(x))
        return layers.head(x, self.num_classes, torch_bias=True)


class _Branch(nn.Module):
    """Units in a row, each convolution, norm, ReLU."""

    units: Sequence[_Unit]
    norm: layers.Norm
    dtype: Any
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm = layers.norm_factory(self.norm, train=self.train, dtype=self.dtype, epsilon=1e-3)
        for i, unit in enumerate(self.units):
            x = layers.conv(
                unit.features,
                unit.kernel,
                unit.strides,
                name=f"conv{i}",
                dtype=self.dtype,
                use_bias=layers.needs_bias(self.norm),
                kernel_init=layers.TORCH_DEFAULT,
                padding=None if unit.pad else 0,
            )(x)
            x = nn.relu(norm(f"norm{i}")(x))
        return x


class _Branches(nn.Module):
    """Branches side by side, their channels concatenated."""

    branches: Sequence[Sequence[_Unit]]
    norm: layers.Norm
    dtype: Any
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        outputs = [
            _Branch(units, self.norm, self.dtype, self.train, name=f"branch{i}")(x)
            for i, units in enumerate(self.branches)
        ]
        return jnp.concatenate(outputs, -1)


class _Residual(nn.Module):
    """x + scale · (1x1 convolution with bias of the branches), then ReLU unless told otherwise."""

    branches: Sequence[Sequence[_Unit]]
    scale: float
    norm: layers.Norm
    dtype: Any
    train: bool
    relu: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = _Branches(self.branches, self.norm, self.dtype, self.train, name="branches")(x)
        y = layers.conv(
            x.shape[-1],
            1,
            name="project",
            dtype=self.dtype,
            use_bias=True,
            kernel_init=layers.TORCH_DEFAULT,
        )(y)
        x = x + self.scale * y
        return nn.relu(x) if self.relu else x


def _reduce(branches: Sequence[Sequence[_Unit]], x: jax.Array, **keywords: Any) -> jax.Array:
    """A reduction block: strided branches beside a maximum over 3x3 with stride 2."""
    pooled = nn.max_pool(x, (3, 3), strides=(2, 2))
    return jnp.concatenate([_Branches(branches, **keywords)(x), pooled], -1)
