"""ResNet-50 for large images, in torchvision's layout.

He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016 (arXiv 1512.03385), with the
stride on the 3x3 convolution of a bottleneck ("v1.5") as torchvision has it. Stages and layers are
named so that `pretrained` can translate torchvision's names one by one.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax

from famus_jax.models import blocks, layers


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
        layers.check_images(images, type(self).__name__)
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        x = layers.conv(
            64, 7, 2, name="stem", dtype=self.dtype, use_bias=layers.needs_bias(self.norm)
        )(images)
        x = nn.relu(norm("stem_norm")(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=layers.PAD_ONE)
        block = partial(
            blocks.Bottleneck,
            norm=self.norm,
            dtype=self.dtype,
            kernel_init=layers.KAIMING_FAN_OUT,
        )
        x = blocks.stages(x, train, block, self.blocks, 64)
        return layers.head(layers.global_mean(x), self.num_classes, torch_bias=True)
