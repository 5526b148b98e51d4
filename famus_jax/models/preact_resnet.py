"""PreAct-ResNet-18 in the flavour of DivideMix and FaMUS (32x32 images).

After He et al., *Identity Mappings in Deep Residual Networks*, ECCV 2016 (arXiv 1603.05027), with
the departures of the network published with DivideMix (Li et al., ICLR 2020): the shortcut, the
identity too, is taken *after* the block's first norm and ReLU; the stem has a norm and a ReLU;
there is no norm after the last block. (Without the stem's norm the network would have 11,171,146
parameters; the published count of 11,171,274 includes its 128.)
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax

from famus_jax.models import blocks, layers


class PreActResNet18(nn.Module):
    """Four stages of two pre-activation blocks, 64 to 512 channels.

    Input `[n, H, W, C]` floating point, output logits `[n, num_classes]`, float32 (wider if the
    parameters are). With RGB images it has 11,171,274 parameters for 10 classes, 11,217,444 for
    100. Everything starts from PyTorch's defaults: uniform within `1 / sqrt(fan_in)`.

    Attributes:
      num_classes: width of the output.
      norm: as in `norm_factory`.
      dtype: dtype of the computation, None for that of input and parameters.

    Raises:
      ValueError: input that isn't `[n, H, W, C]`.
      TypeError: integers.
    """

    num_classes: int
    norm: layers.Norm = "batch"
    dtype: Any = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[n, num_classes]` of `images` `[n, H, W, C]`."""
        layers.check_images(images, type(self).__name__)
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        x = layers.conv(
            64,
            3,
            name="stem",
            dtype=self.dtype,
            use_bias=layers.needs_bias(self.norm),
            kernel_init=layers.TORCH_DEFAULT,
        )(images)
        x = nn.relu(norm("stem_norm")(x))
        block = partial(
            blocks.PreActivation,
            norm=self.norm,
            dtype=self.dtype,
            kernel_init=layers.TORCH_DEFAULT,
            raw_identity=False,
        )
        x = blocks.stages(x, train, block, (2, 2, 2, 2), 64)
        return layers.head(layers.global_mean(x), self.num_classes, torch_bias=True)
