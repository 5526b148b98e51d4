"""The residual blocks of the four residual networks, and how they are stacked in stages.

    PreActivation   norm, ReLU, conv, twice                    WideResNet, PreActResNet18
    Basic           conv, norm, ReLU, twice                    CifarResNet, ResNet34
    Bottleneck      1x1, 3x3, 1x1 to four times the channels   ResNet50

A block is called as `block(x, train)` with `x` [n, H, W, C] and returns its sum with the shortcut.
Its layers are named `conv1`, `norm1`, ..., and `shortcut` where the shortcut has weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from famus_jax.models import layers


def stages(
    x: jax.Array,
    train: bool,
    block: Callable[..., nn.Module],
    blocks: Sequence[int],
    features: int,
) -> jax.Array:
    """`blocks[s]` blocks in stage s = 0, 1, ..., with `features * 2**s` channels.

    The first block of every stage but the first halves the resolution. Call it in a compact method:
    the blocks become its layers, `stage1_block0` and so on.
    """
    for stage, count in enumerate(blocks):
        for i in range(count):
            x = block(
                features=features * 2**stage,
                strides=2 if stage > 0 and i == 0 else 1,
                name=f"stage{stage + 1}_block{i}",
            )(x, train)
    return x


class PreActivation(nn.Module):
    """Norm, ReLU, conv, norm, ReLU, dropout, conv, added to the shortcut.

    Where the block changes the shape, the shortcut is a 1x1 convolution of what the first ReLU gives.

    Attributes:
      features: channels of the result.
      strides: of the first convolution.
      norm, dtype: as the networks have them.
      kernel_init: of every convolution.
      raw_identity: whether a shortcut that keeps the shape takes `x` itself (else the first ReLU's
        result).
      dropout: rate of dropping in training, in [0, 1).
    """

    features: int
    strides: int
    norm: layers.Norm
    dtype: Any
    kernel_init: layers.Initializer
    raw_identity: bool = True
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """See the class."""
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        y = nn.relu(norm("norm1")(x))
        if self.strides != 1 or x.shape[-1] != self.features:
            shortcut = _conv(self, self.features, 1, self.strides, "shortcut")(y)
        else:
            shortcut = x if self.raw_identity else y
        y = _conv(self, self.features, 3, self.strides, "conv1")(y)
        y = nn.relu(norm("norm2")(y))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        return shortcut + _conv(self, self.features, 3, 1, "conv2")(y)


class Basic(nn.Module):
    """Conv, norm, ReLU, conv, norm, added to the shortcut, ReLU.

    The shortcut has no weights (option A): it takes every second pixel where the block halves the
    resolution, and pads new channels with zeros, half of them in front and half behind.

    Attributes:
      features, strides, norm, dtype, kernel_init: as in `PreActivation`.
      projects: whether a shortcut that changes the shape is a 1x1 convolution and a norm instead
        (option B).
    """

    features: int
    strides: int
    norm: layers.Norm
    dtype: Any
    kernel_init: layers.Initializer
    projects: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """See the class."""
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        y = nn.relu(norm("norm1")(_conv(self, self.features, 3, self.strides, "conv1")(x)))
        y = norm("norm2")(_conv(self, self.features, 3, 1, "conv2")(y))
        extra = self.features - x.shape[-1]
        if self.projects and (self.strides != 1 or extra):
            x = norm("shortcut_norm")(_conv(self, self.features, 1, self.strides, "shortcut")(x))
        elif self.strides != 1 or extra:
            x = x[:, :: self.strides, :: self.strides]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (extra // 2, extra - extra // 2)))
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1 to four times `features`; norms after each, ReLU after the sum.

    Attributes:
      features, strides, norm, dtype, kernel_init: as in `PreActivation`.
    """

    features: int
    strides: int
    norm: layers.Norm
    dtype: Any
    kernel_init: layers.Initializer

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """See the class."""
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        wide = 4 * self.features
        y = nn.relu(norm("norm1")(_conv(self, self.features, 1, 1, "conv1")(x)))
        y = nn.relu(norm("norm2")(_conv(self, self.features, 3, self.strides, "conv2")(y)))
        y = norm("norm3")(_conv(self, wide, 1, 1, "conv3")(y))
        if self.strides != 1 or x.shape[-1] != wide:
            x = norm("shortcut_norm")(_conv(self, wide, 1, self.strides, "shortcut")(x))
        return nn.relu(x + y)


def _conv(
    block: PreActivation | Basic | Bottleneck, features: int, kernel: int, strides: int, name: str
) -> nn.Conv:
    return layers.conv(
        features,
        kernel,
        strides,
        name=name,
        dtype=block.dtype,
        use_bias=layers.needs_bias(block.norm),
        kernel_init=block.kernel_init,
    )
