"""What a saved predictor is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

PyTree = Any
Member = tuple[PyTree, PyTree]
"""A network's parameters and model state, nested dicts of arrays."""


class Network(NamedTuple):
    """What the arrays are of.

    Attributes:
      name: what `famus_jax.models.build_model` knows; "" for a module of your own.
      overrides: its other arguments, as JSON has them.
      dtype: what it computes in, `"float32"` or `"bfloat16"`.
      module: a Linen module of your own, which returns logits [N, C]. It is code, so it is not saved:
        `load_predictor` must be given it again.
    """

    name: str = ""
    overrides: Mapping[str, Any] = MappingProxyType({})
    dtype: str = "float32"
    module: Any = None


class Images(NamedTuple):
    """The network takes images: fitted to `size`, in [0, 1], then (x - mean) / std.

    Attributes:
      size: (height, width) in pixels; other images are scaled to cover it, and the middle is cut out.
      channels: 3 (color) or 1 (gray) for image files; arrays may have any number.
      mean, std: a number per channel, or one for all.
    """

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (*self.size, self.channels)


class Features(NamedTuple):
    """The network takes features, D numbers for each example, as they are.

    Attributes:
      dimension: D.
    """

    dimension: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (self.dimension,)


class PretrainedImages(NamedTuple):
    """Images whose features a network trained on ImageNet makes, which stays as it is.

    That is EfficientNet-Lite0 of the extra `features`; it is not saved with the predictor.

    Attributes:
      size: (height, width) in pixels that the images have before; others are fitted as for `Images`.
      channels: 3 (color) or 1 (gray).
      pixels: height and width to which that network then scales them.
      dimension: D, how many features it makes.
    """

    size: tuple[int, int]
    channels: int
    pixels: int
    dimension: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (*self.size, self.channels)


class Texts(NamedTuple):
    """The network takes counts of hashed words and parts of words (`hashed_texts`).

    Attributes:
      buckets: B; there are as many for words as for parts of words.
    """

    buckets: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example: it is a text."""
        return ()


Inputs = Images | Features | PretrainedImages | Texts


def network_shape(inputs: Inputs) -> tuple[int, ...]:
    """The shape of what the network itself sees of one example."""
    if isinstance(inputs, PretrainedImages):
        return (inputs.dimension,)
    return (2 * inputs.buckets,) if isinstance(inputs, Texts) else inputs.shape


class Predictor(NamedTuple):
    """A trained network, or several that decide together, with all that predicting needs.

    Attributes:
      network: what the arrays are of.
      class_names: C names; class c is `class_names[c]`.
      inputs: what it takes.
      members: the networks' parameters and model states, one or more. Their logits are averaged, as
        where they are evaluated.
      made_from: hashes of what it was made from, by name.
      scale: what the logits are multiplied by before the softmax, as in the training loss; above 1
        where they are cosines (LDAM).
      backbone: what made the features; "" for images, or if nothing is known of it.
    """

    network: Network
    class_names: tuple[str, ...]
    inputs: Inputs
    members: tuple[Member, ...]
    made_from: Mapping[str, str] = MappingProxyType({})
    scale: float = 1.0
    backbone: str = ""
