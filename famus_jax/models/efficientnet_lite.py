"""EfficientNet-Lite0: a small network for ImageNet that is cheap on a CPU.

Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, ICML 2019
(arXiv 1905.11946), in the "lite" variant that Google published in 2020 for devices: no
squeeze-and-excitation, and ReLU6 in the place of swish.

Layers are padded as TensorFlow does (`"SAME"`): where a stride of 2 needs an odd number of pixels
of padding, the extra one is at the bottom and on the right. BatchNorm has epsilon 1e-3 and keeps 0.99
of the old statistics.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from famus_jax.models import layers

EPSILON = 1e-3


class Stage(NamedTuple):
    """Blocks in a row, of which the first has the stride.

    Attributes:
      blocks: how many.
      kernel: width of the depthwise convolution.
      strides: of the first block's depthwise convolution.
      expand: how many times wider a block is inside; 1 leaves the first convolution out.
      features: channels of the result.
    """

    blocks: int
    kernel: int
    strides: int
    expand: int
    features: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM, TOP = 32, 1280  # channels of the first convolution and of the pooled features


class EfficientNetLite0(nn.Module):
    """A strided 3x3 stem, sixteen inverted bottlenecks, a 1x1 convolution to 1280 channels.

    Input `[n, H, W, C]` floating point (224x224 in the literature; anything from 32 up works),
    output logits `[n, num_classes]`, float32 (wider if the parameters are). It has 4,652,008
    parameters for RGB images and 1000 classes. Convolutions start Kaiming normal (fan out), the
    head from PyTorch's defaults.

    Attributes:
      num_classes: width of the output.
      dropout: rate of dropping the pooled features in training, in [0, 1); needs the random stream
        `"dropout"`. (The published training has 0.2, and drops whole blocks too, which isn't here.)
      norm: as in `norm_factory`.
      dtype: dtype of the computation, None for that of input and parameters.
      stages: the bottlenecks; their layers are named `block0`, `block1`, ... through all stages.

    Raises:
      ValueError: input that isn't `[n, H, W, C]`, or a rate outside [0, 1).
      TypeError: integers.
    """

    num_classes: int
    dropout: float = 0.0
    norm: layers.Norm = "batch"
    dtype: Any = None
    stages: tuple[Stage, ...] = STAGES

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[n, num_classes]` of `images` `[n, H, W, C]`."""
        layers.check_images(images, type(self).__name__)
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is a rate in [0, 1), got {self.dropout}.")
        shared: dict[str, Any] = {"norm": self.norm, "dtype": self.dtype}
        x = _unit(self, images, train, "stem", STEM, 3, 2)
        i = 0
        for stage in self.stages:
            for j in range(stage.blocks):
                strides = stage.strides if j == 0 else 1
                x = InvertedBottleneck(
                    stage.features, stage.kernel, strides, stage.expand, name=f"block{i}", **shared
                )(x, train)
                i += 1
        x = layers.global_mean(_unit(self, x, train, "top", TOP, 1))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return layers.head(x, self.num_classes, torch_bias=True)


class InvertedBottleneck(nn.Module):
    """1x1 to `expand` times the channels, depthwise, 1x1 to `features`; ReLU6 after the first two.

    The input is added where the block changes neither resolution nor channels.

    Attributes:
      features, kernel, strides, expand: as in `Stage`.
      norm, dtype: as the networks have them.
    """

    features: int
    kernel: int
    strides: int
    expand: int
    norm: layers.Norm
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[n, H, W, C]` -> `[n, H, W, features]`, H and W halved by a stride of 2."""
        wide = x.shape[-1] * self.expand
        y = x
        if self.expand != 1:
            y = _unit(self, y, train, "expand", wide, 1)
        y = _unit(self, y, train, "depthwise", wide, self.kernel, self.strides, groups=wide)
        y = _unit(self, y, train, "project", self.features, 1, relu=False)
        return x + y if x.shape == y.shape else y


def _unit(
    module: EfficientNetLite0 | InvertedBottleneck,
    x: jax.Array,
    train: bool,
    name: str,
    features: int,
    kernel: int,
    strides: int = 1,
    *,
    groups: int = 1,
    relu: bool = True,
) -> jax.Array:
    """Convolution, norm, and ReLU6 unless `relu` is False; layers `name` and `name_norm`."""
    norm = layers.norm_factory(
        module.norm, train=train, dtype=module.dtype, epsilon=EPSILON, momentum=0.99
    )
    x = layers.conv(
        features,
        kernel,
        strides,
        name=name,
        dtype=module.dtype,
        use_bias=layers.needs_bias(module.norm),
        padding="SAME",
        groups=groups,
    )(x)
    x = norm(f"{name}_norm")(x)
    return jnp.clip(x, 0, 6) if relu else x
