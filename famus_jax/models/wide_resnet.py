"""WideResNet for 32x32 images.

Zagoruyko & Komodakis, *Wide Residual Networks*, BMVC 2016 (arXiv 1605.07146), in the PyTorch form
that MW-Net, L2R, MLC and FaMUS experiments use: pre-activation, final norm and ReLU, 1x1
convolution shortcuts without norm, dropout between the two convolutions of a block.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax

from famus_jax.models import blocks, layers


class WideResNet(nn.Module):
    """WideResNet-`depth`-`width`: three stages of `(depth - 4) / 6` blocks.

    Input `[n, H, W, C]` floating point, output logits `[n, num_classes]`, float32 (wider if the
    parameters are). Stages have 16, 32 and 64 times `width` channels; the second and the third
    halve the resolution. A block whose input already has its shape adds the *raw* input; the others
    project the activated input. With 10 classes and RGB images, 28-10 has 36,479,194 parameters
    and 40-2 has 2,243,546. Convolutions start Kaiming normal (fan out), the head's bias at 0.

    Attributes:
      depth: number of layers, `6 k + 4`.
      width: widening factor.
      num_classes: width of the output.
      dropout: rate of dropping in training, in [0, 1); needs the random stream `"dropout"`.
      norm: as in `norm_factory`.
      dtype: dtype of the computation, None for that of input and parameters.

    Raises:
      ValueError: a depth that isn't `6 k + 4`, a rate outside [0, 1), or input that isn't
        `[n, H, W, C]`.
      TypeError: integer input.
    """

    depth: int
    width: int
    num_classes: int
    dropout: float = 0.0
    norm: layers.Norm = "batch"
    dtype: Any = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[n, num_classes]` of `images` `[n, H, W, C]`."""
        layers.check_images(images, type(self).__name__)
        per_stage, rest = divmod(self.depth - 4, 6)
        if rest or per_stage < 1:
            raise ValueError(
                f"WideResNet needs depth = 6 k + 4 (10, 16, 22, 28, 40, …), got {self.depth}."
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is a rate in [0, 1), got {self.dropout}.")
        x = layers.conv(
            16, 3, name="stem", dtype=self.dtype, use_bias=layers.needs_bias(self.norm)
        )(images)
        block = partial(
            blocks.PreActivation,
            norm=self.norm,
            dtype=self.dtype,
            kernel_init=layers.KAIMING_FAN_OUT,
            dropout=self.dropout,
        )
        x = blocks.stages(x, train, block, (per_stage,) * 3, 16 * self.width)
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        x = nn.relu(norm("norm")(x))
        return layers.head(layers.global_mean(x), self.num_classes)
