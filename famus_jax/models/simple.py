"""Two networks for quick experiments: a multilayer perceptron and a small convolutional network."""

from typing import Any

import flax.linen as nn
import jax

from famus_jax.models import layers


class MLP(nn.Module):
    """Dense layers with ReLU between; the input is flattened.

    Input `[n, ...]` floating point, output logits `[n, num_classes]`, float32 (wider if the
    parameters are). Each hidden layer is dense, norm, ReLU; weights start Kaiming normal (fan in),
    biases at 0.

    >>> import jax, jax.numpy as jnp
    >>> model, images = MLP(10, hidden=(64,)), jnp.zeros((2, 8, 8, 1))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images).shape
    (2, 10)

    Attributes:
      num_classes: width of the output.
      hidden: widths of the hidden layers.
      norm: as in `norm_factory`; `"none"` by default.
      dropout: share of each hidden layer's outputs that is left out in training (rng "dropout").
      dtype: dtype of the computation, None for that of input and parameters.
      cosine_head: logits are cosines in [-1, 1], for losses that scale them (LDAM).

    Raises:
      TypeError: integer input.
    """

    num_classes: int
    hidden: tuple[int, ...] = (256, 256)
    norm: layers.Norm = "none"
    dtype: Any = None
    cosine_head: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[n, num_classes]` of `inputs` `[n, ...]`."""
        layers.check_floating(inputs, type(self).__name__)
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        x = inputs.reshape(inputs.shape[0], -1)
        for i, width in enumerate(self.hidden):
            x = nn.Dense(
                width,
                use_bias=layers.needs_bias(self.norm),
                dtype=self.dtype,
                kernel_init=layers.KAIMING_FAN_IN,
                name=f"dense{i}",
            )(x)
            x = nn.relu(norm(f"norm{i}")(x))
            if self.dropout:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return layers.head(x, self.num_classes, cosine=self.cosine_head)


class SmallCNN(nn.Module):
    """3x3 convolutions, each followed by norm and ReLU, a mean over positions, a dense layer.

    For small images (8x8 digits, 28x28 MNIST, 32x32 CIFAR). The first convolution keeps the
    resolution, each later one halves it. Input `[n, H, W, C]` floating point, output logits
    `[n, num_classes]`, float32 (wider if the parameters are).

    Attributes:
      num_classes: width of the output.
      widths: channels of each convolution; its length is the depth.
      norm: as in `norm_factory`.
      dtype: dtype of the computation, None for that of input and parameters.
      cosine_head: logits are cosines in [-1, 1], for losses that scale them (LDAM).

    Raises:
      ValueError: input that isn't `[n, H, W, C]`.
      TypeError: integers.
    """

    num_classes: int
    widths: tuple[int, ...] = (32, 64, 128)
    norm: layers.Norm = "batch"
    dtype: Any = None
    cosine_head: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Logits `[n, num_classes]` of `images` `[n, H, W, C]`."""
        layers.check_images(images, type(self).__name__)
        norm = layers.norm_factory(self.norm, train=train, dtype=self.dtype)
        x = images
        for i, width in enumerate(self.widths):
            x = layers.conv(
                width,
                3,
                strides=1 if i == 0 else 2,
                use_bias=layers.needs_bias(self.norm),
                dtype=self.dtype,
                name=f"conv{i}",
            )(x)
            x = nn.relu(norm(f"norm{i}")(x))
        return layers.head(layers.global_mean(x), self.num_classes, cosine=self.cosine_head)
