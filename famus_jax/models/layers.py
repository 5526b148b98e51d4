"""Pieces that every network shares: initializers, norms, the head, the input check.

The networks follow PyTorch originals, so this file also holds the conversion between the two
libraries:

* **BatchNorm.** PyTorch's `momentum=0.1` is the share of the *new* statistic, flax's `momentum`
  the share of the *old* one: 0.1 there is 0.9 here. `epsilon` is the same number. One difference
  stays: PyTorch stores the unbiased batch variance (`n / (n - 1)`) in its running variance, flax
  the biased one; what normalizes a training batch is the biased one in both.
* **Padding.** A strided 3x3 convolution pads one pixel on every side, as PyTorch's `padding=1`
  does. (`"SAME"` pads on the right only when the stride is 2, another network.)
* **Initializers.** `kaiming_normal_` and the default of `nn.Conv2d` and `nn.Linear`
  (uniform within `1 / sqrt(fan_in)`, weights and bias), written as variance scaling.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

Norm = str | Callable[..., Callable[[jax.Array], jax.Array]]
Initializer = Callable[..., jax.Array]
NORMS = ("batch", "group", "layer", "none")

KAIMING_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
KAIMING_FAN_IN = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
TORCH_DEFAULT = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")

PAD_ONE: Any = ((1, 1), (1, 1))  # for flax's pooling, whose annotation says str


def check_images(images: jax.Array, network: str) -> None:
    """Raises unless `images` is a floating-point array `[n, H, W, C]`.

    Raises:
      ValueError: another rank.
      TypeError: integers (bytes that nobody scaled).
    """
    if images.ndim != 4:
        raise ValueError(
            f"{network} takes images [n, H, W, C], got an array of shape {images.shape}; add the "
            "missing axis, for instance `images[..., None]` for gray images."
        )
    check_floating(images, network)


def check_floating(inputs: jax.Array, network: str) -> None:
    """Raises `TypeError` unless `inputs` is floating point."""
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(
            f"{network} takes floating-point input, got {inputs.dtype}; scale it first, for "
            "instance `images.astype(jnp.float32) / 255`."
        )


def norm_factory(
    norm: Norm, *, train: bool, dtype: Any = None, epsilon: float = 1e-5, momentum: float = 0.9
) -> Callable[[str], Callable[[jax.Array], jax.Array]]:
    """Turns the argument `norm` of a network into a function from a layer's name to the layer.

    Args:
      norm: one of

          * `"batch"`: BatchNorm over n, H, W; batch statistics if `train`, else running ones;
          * `"group"`: GroupNorm, at most 32 groups of at least four channels;
          * `"layer"`: LayerNorm over the channels of each position;
          * `"none"`: the identity; the convolutions then have a bias, see `needs_bias`;
          * a callable `norm(train=bool, dtype=dtype, name=str) -> layer`, for instance a
            BatchNorm with an `axis_name`.
      train: whether BatchNorm uses the batch's own statistics.
      dtype: dtype of the computation; None promotes input and parameters.
      epsilon, momentum: flax's meaning, see the head of this file; `"batch"` uses both,
        `"group"` and `"layer"` `epsilon` alone, a callable neither.

    Raises:
      ValueError: an unknown name.
    """
    if callable(norm):
        return lambda name: norm(train=train, dtype=dtype, name=name)
    if norm == "batch":
        return lambda name: nn.BatchNorm(
            use_running_average=not train,
            momentum=momentum,
            epsilon=epsilon,
            dtype=dtype,
            name=name,
        )
    if norm == "group":
        return lambda name: (
            lambda x: nn.GroupNorm(
                num_groups=_num_groups(x.shape[-1]), epsilon=epsilon, dtype=dtype, name=name
            )(x)
        )
    if norm == "layer":
        return lambda name: nn.LayerNorm(epsilon=epsilon, dtype=dtype, name=name)
    if norm == "none":
        return lambda name: lambda x: x
    raise ValueError(
        f"unknown norm {norm!r}; pass one of {', '.join(map(repr, NORMS))}, or a callable "
        "norm(train=bool, dtype=dtype, name=str) -> layer."
    )


def needs_bias(norm: Norm) -> bool:
    """Whether a convolution followed by `norm` needs a bias of its own."""
    return isinstance(norm, str) and norm == "none"


def conv(
    features: int,
    kernel: int | tuple[int, int],
    strides: int = 1,
    *,
    name: str,
    dtype: Any = None,
    use_bias: bool = False,
    kernel_init: Initializer = KAIMING_FAN_OUT,
    padding: int | str | Sequence[tuple[int, int]] | None = None,
    groups: int = 1,
) -> nn.Conv:
    """A convolution with PyTorch's symmetric padding; `(kernel - 1) // 2` unless given.

    A bias, where there is one, starts at 0. `groups` splits the channels; as many groups as channels
    make it depthwise.
    """
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    if padding is None:
        padding = [((k - 1) // 2, (k - 1) // 2) for k in size]
    elif isinstance(padding, int):
        padding = [(padding, padding)] * 2
    return nn.Conv(
        features,
        size,
        strides=(strides, strides),
        padding=padding,
        feature_group_count=groups,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=kernel_init,
        name=name,
    )


def head(
    features: jax.Array,
    num_classes: int,
    *,
    name: str = "head",
    kernel_init: Initializer = TORCH_DEFAULT,
    torch_bias: bool = False,
    cosine: bool = False,
) -> jax.Array:
    """The last dense layer, `[n, d] -> [n, num_classes]`, in float32 or wider.

    Half-precision features are widened first, so that logits and losses are float32 whatever the
    dtype of the network. `torch_bias` draws the bias as PyTorch does, else it starts at 0. With
    `cosine` there is none, and the logits are cosines, see `CosineDense`.

    Raises:
      ValueError: `num_classes` isn't a positive whole number.
    """
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"num_classes must be a positive whole number, got {num_classes!r}.")
    features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    if cosine:
        return CosineDense(num_classes, use_bias=False, kernel_init=kernel_init, name=name)(
            features
        )
    bias_init = _uniform(features.shape[-1]) if torch_bias else nn.initializers.zeros
    return nn.Dense(num_classes, kernel_init=kernel_init, bias_init=bias_init, name=name)(features)


class CosineDense(nn.Dense):
    """A dense layer of cosines: features `[n, d]` and the kernel's columns over their lengths.

    The logits lie in [-1, 1]; losses such as LDAM (Cao et al., NeurIPS 2019) scale them.
    """

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Cosines `[n, features]`."""
        shape = (inputs.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        inputs, kernel = promote_dtype(inputs, kernel, dtype=self.dtype)
        return _unit(inputs, axis=1) @ _unit(kernel, axis=0)


def _unit(x: jax.Array, axis: int) -> jax.Array:
    """Over its length along an axis; 0, with slope 0, where that is 0."""
    square = (x**2).sum(axis, keepdims=True)
    some = square > 0
    return jnp.where(some, x * jax.lax.rsqrt(jnp.where(some, square, 1)), 0)


def global_mean(x: jax.Array) -> jax.Array:
    """Mean over height and width, `[n, H, W, C] -> [n, C]`, summed in float32 or wider."""
    return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))


def _uniform(fan_in: int) -> Initializer:
    """PyTorch's default for biases: uniform within `1 / sqrt(fan_in)`."""
    bound = 1.0 / math.sqrt(fan_in)

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def _num_groups(channels: int) -> int:
    """The largest of 32, 16, …, 1 that divides `channels` into groups of at least four."""
    groups = math.gcd(32, channels)
    while groups > 1 and channels // groups < 4:
        groups //= 2
    return groups
