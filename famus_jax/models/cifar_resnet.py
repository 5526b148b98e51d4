"""ResNet-20, -32, … for 32x32 images, with parameter-free shortcuts.

He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016 (arXiv 1512.03385), §4.2,
option A: where a stage halves the resolution, the shortcut takes every second pixel and pads the
channels with zeros, half of them in front and half behind, as in the PyTorch networks used with
MW-Net and LDAM.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax

from famus_jax.models import blocks, layers


class CifarResNet(nn.Module):
    """Three stages of `(depth - 2) / 6` basic blocks with 16, 32 and 64 channels.

    Input `[n, H, W, C]` floating point, output logits `[n, num_classes]`, float32 (wider if the
    parameters are). ResNet-32 has 464,154 parameters for RGB images and 10 classes. All weights
    start Kaiming normal (fan in), the head's too; the head's bias from PyTorch's default.

    Attributes:
      num_classes: width of the output.
      depth: number of layers, `6 k + 2`.
      norm: as in `norm_factory`.
      dtype: dtype of the computation, None for that of input and parameters.
      cosine_head: logits are cosines in [-1, 1], for losses that scale them (LDAM).

    Raises:
      ValueError: a depth that isn't `6 k + 2` or input that isn't `[n, H, W, C]`.
      TypeError: integer input.
    """

    num_classes: int
    depth: int = 32
    norm: layers.Norm = "batch"
    dtype: Any = None
    cosine_head: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[n, num_classes]` of `images` `[n, H, W, C]`."""
        layers.check_images(images, type(self).__name__)
        per_stage, rest = divmod(self.depth - 2, 6)
        if rest or per_stage < 1:
            raise ValueError(
                f"CifarResNet needs depth = 6 k + 2 (8, 14, 20, 32, 44, 56, …), got {self.depth}."
            )
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        x = layers.conv(
            16,
            3,
            name="stem",
            dtype=self.dtype,
            use_bias=layers.needs_bias(self.norm),
            kernel_init=layers.KAIMING_FAN_IN,
        )(images)
        x = nn.relu(norm("stem_norm")(x))
        block = partial(
            blocks.Basic,
            norm=self.norm,
            dtype=self.dtype,
            kernel_init=layers.KAIMING_FAN_IN,
        )
        x = blocks.stages(x, train, block, (per_stage,) * 3, 16)
        return layers.head(
            layers.global_mean(x),
            self.num_classes,
            kernel_init=layers.KAIMING_FAN_IN,
            torch_bias=True,
            cosine=self.cosine_head,
        )
