"""WideResNet for 32x32 images.

Zagoruyko & Komodakis, *Wide Residual Networks*, BMVC 2016 (arXiv 1605.07146), in the PyTorch form
that MW-Net, L2R, MLC and FaMUS experiments use: pre-activation, final norm and ReLU, 1x1
convolution shortcuts without norm, dropout between the two convolutions of a block.
"""

from typing import Any

import flax.linen as nn
import jax

from famus_jax.models import _layers as layers


class WideResNet(nn.Module):
    """WideResNet-`depth`-`width`: three stages of ``(depth - 4) / 6`` blocks.

    Input ``[n, H, W, C]`` floating point, output logits ``[n, num_classes]``, float32 (wider if the
    parameters are). Stages have 16, 32 and 64 times `width` channels; the second and the third
    halve the resolution. A block whose input already has its shape adds the *raw* input; the others
    project the activated input. With 10 classes and RGB images, 28-10 has 36,479,194 parameters
    and 40-2 has 2,243,546. Convolutions start Kaiming normal (fan out), the head's bias at 0.

    **Attributes:**

    - `depth`: number of layers, ``6 k + 4``.
    - `width`: widening factor.
    - `num_classes`: width of the output.
    - `dropout`: rate of dropping in training, in [0, 1); needs the random stream ``"dropout"``.
    - `norm`: as in `norm_factory`.
    - `dtype`: dtype of the computation, None for that of input and parameters.

    **Raises:** `ValueError` for a depth that isn't ``6 k + 4``, a rate outside [0, 1), or input
    that isn't ``[n, H, W, C]``; `TypeError` for integer input.
    """

    depth: int
    width: int
    num_classes: int
    dropout: float = 0.0
    norm: layers.Norm = "batch"
    dtype: Any = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Logits ``[n, num_classes]`` of `images` ``[n, H, W, C]``."""
        layers.check_images(images, type(self).__name__)
        blocks, rest = divmod(self.depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(
                f"WideResNet needs depth = 6 k + 4 (10, 16, 22, 28, 40, …), got {self.depth}."
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is a rate in [0, 1), got {self.dropout}.")
        x = layers.conv(
            16, 3, name="stem", dtype=self.dtype, use_bias=layers.needs_bias(self.norm)
        )(images)
        for stage in range(3):
            for i in range(blocks):
                x = _Block(
                    features=16 * 2**stage * self.width,
                    strides=2 if stage > 0 and i == 0 else 1,
                    dropout=self.dropout,
                    norm=self.norm,
                    dtype=self.dtype,
                    name=f"stage{stage + 1}_block{i}",
                )(x, train)
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        x = nn.relu(norm("norm")(x))
        return layers.head(layers.global_mean(x), self.num_classes)


class _Block(nn.Module):
    """Norm, ReLU, conv, norm, ReLU, dropout, conv, added to the shortcut."""

    features: int
    strides: int
    dropout: float
    norm: layers.Norm
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        use_bias = layers.needs_bias(self.norm)

        def conv(kernel: int, strides: int, name: str) -> nn.Conv:
            return layers.conv(
                self.features, kernel, strides, name=name, dtype=self.dtype, use_bias=use_bias
            )

        y = nn.relu(norm("norm1")(x))
        shortcut = x if x.shape[-1] == self.features else conv(1, self.strides, "shortcut")(y)
        y = conv(3, self.strides, "conv1")(y)
        y = nn.relu(norm("norm2")(y))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        y = conv(3, 1, "conv2")(y)
        return shortcut + y
