"""ResNet-50 and ResNet-34 for large images, in torchvision's layout; ResNet-34 for small ones too.

He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016 (arXiv 1512.03385), with the
stride on the 3x3 convolution of a bottleneck ("v1.5") as torchvision has it. Stages and layers are
named so that `pretrained` can translate torchvision's names one by one.
"""

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax

from famus_jax.models import blocks, layers
from famus_jax.one_of import one_of


class ResNet50(nn.Module):
    """Four stages of 3, 4, 6 and 3 bottlenecks after a 7x7 stem and a maximum over 3x3.

    Input `[n, H, W, C]` floating point (224x224 in the literature; anything from 32 up works),
    output logits `[n, num_classes]`, float32 (wider if the parameters are). It has 25,557,032
    parameters for RGB images and 1000 classes. Convolutions start Kaiming normal (fan out), the
    head from PyTorch's defaults.

    Attributes:
      num_classes: width of the output.
      norm: as in `norm_factory`.
      dtype: dtype of the computation, None for that of input and parameters.
      blocks: bottlenecks in each stage; (3, 4, 23, 3) is ResNet-101.

    Raises:
      ValueError: input that isn't `[n, H, W, C]`.
      TypeError: integers.
    """

    num_classes: int
    norm: layers.Norm = "batch"
    dtype: Any = None
    blocks: tuple[int, ...] = (3, 4, 6, 3)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[n, num_classes]` of `images` `[n, H, W, C]`."""
        return _logits(self, images, train, blocks.Bottleneck)


class ResNet34(nn.Module):
    """The same with basic blocks; shortcuts that change the shape are 1x1 convolutions.

    It has 21,797,672 parameters for RGB images and 1000 classes.

    Attributes:
      num_classes, norm, dtype, blocks: as in `ResNet50`; (2, 2, 2, 2) blocks are ResNet-18.
      stem: "imagenet", 7x7 and a maximum over 3x3, both with stride 2; or "cifar", 3x3 alone, as in
        common code for small images.

    Raises:
      ValueError, TypeError: as `ResNet50`; another stem.
    """

    num_classes: int
    norm: layers.Norm = "batch"
    dtype: Any = None
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    stem: Literal["imagenet", "cifar"] = "imagenet"

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[n, num_classes]` of `images` `[n, H, W, C]`."""
        return _logits(self, images, train, partial(blocks.Basic, projects=True), self.stem)


def _logits(net: ResNet50 | ResNet34, images, train: bool, block, stem: str = "imagenet"):
    """The network's body; call it in its compact method."""
    layers.check_images(images, type(net).__name__)
    one_of(stem, ("imagenet", "cifar"), f"{type(net).__name__}: stem")
    norm = layers.norm_factory(net.norm, train=train, dtype=net.dtype)
    bias, small = layers.needs_bias(net.norm), stem == "cifar"
    size, strides = (3, 1) if small else (7, 2)
    x = layers.conv(64, size, strides, name="stem", dtype=net.dtype, use_bias=bias)(images)
    x = nn.relu(norm("stem_norm")(x))
    if not small:
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=layers.PAD_ONE)
    make = partial(block, norm=net.norm, dtype=net.dtype, kernel_init=layers.KAIMING_FAN_OUT)
    x = blocks.stages(x, train, make, net.blocks, 64)
    return layers.head(layers.global_mean(x), net.num_classes, torch_bias=True)
