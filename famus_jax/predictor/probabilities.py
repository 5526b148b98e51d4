"""From images, features or texts to probabilities: p = softmax(s · mean over networks of logits)."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.data.batches.pixels import Normalizer, make_normalizer, normalized, to_float
from famus_jax.data.hashed_texts import hashed_texts
from famus_jax.differentiate.linearize import Forward
from famus_jax.forward import compute_in, linen_forward
from famus_jax.models import build_model
from famus_jax.models.image_features import image_features
from famus_jax.predictor.types import Images, Network, Predictor, PretrainedImages, Texts

BATCH = 256


def module_of(network: Network, num_classes: int) -> Any:
    """The Linen module.

    Raises:
      ValueError, TypeError: what `build_model` raises.
    """
    if network.module is not None:
        return network.module
    return build_model(network.name, num_classes, **network.overrides)


def predict(predictor: Predictor, inputs: Any, *, batch_size: int | None = None) -> np.ndarray:
    """The probability of each class.

    Args:
      predictor: see `load_predictor`.
      inputs: uint8 [N, H, W, channels], of the predictor's size; or floats [N, D], features; or N
        texts.
      batch_size: see `logits`.

    Returns:
      float32 [N, C]; every row's sum is 1.

    Raises:
      ValueError: inputs of another kind or shape.
      ModuleNotFoundError: the pretrained network, or scikit-learn for texts, is not installed.

    Example: see `load_predictor`.

    >>> import flax.linen as nn
    >>> from famus_jax.predictor import Features, Network
    >>> params = {"kernel": np.eye(2, dtype=np.float32), "bias": np.zeros(2, np.float32)}
    >>> classes, takes = ("cat", "dog"), Features(2)
    >>> network = Predictor(Network(module=nn.Dense(2)), classes, takes, members=((params, {}),))
    >>> [f"{p:.0%}" for p in predict(network, np.array([[3.0, 1.0]], np.float32))[0]]
    ['88%', '12%']
    """
    return softmax(logits(predictor, inputs, batch_size=batch_size))


def softmax(scores: np.ndarray) -> np.ndarray:
    """exp(s) over its sum along the last axis, of float32 [N, C]."""
    risen = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return risen / risen.sum(axis=-1, keepdims=True)


def logits(predictor: Predictor, inputs: Any, *, batch_size: int | None = None) -> np.ndarray:
    """What `predict` takes the softmax of.

    Args:
      predictor, inputs: see `predict`.
      batch_size: how many examples are computed at a time; the last batch is filled up. None takes
        256, or the power of two that holds all of them. A program is compiled for each size, once.

    Returns:
      float32 [N, C]; the highest is the class that the network decides for.

    >>> import flax.linen as nn
    >>> from famus_jax.predictor import Features, Network
    >>> params = {"kernel": np.eye(2, dtype=np.float32), "bias": np.zeros(2, np.float32)}
    >>> classes, takes = ("cat", "dog"), Features(2)
    >>> network = Predictor(Network(module=nn.Dense(2)), classes, takes, members=((params, {}),))
    >>> logits(network, np.array([[3.0, 1.0]], np.float32)).tolist()
    [[3.0, 1.0]]
    """
    array = _checked(predictor, inputs)
    size = batch_size or min(BATCH, 1 << max(len(array) - 1, 0).bit_length())
    forward = _forward(predictor)
    normalizer = None
    if isinstance(predictor.inputs, Images):
        pair = (predictor.inputs.mean, predictor.inputs.std)
        normalizer = make_normalizer(pair, (1, *predictor.inputs.shape))
    parts = []
    for start in range(0, len(array), size):
        part = _seen(predictor, array[start : start + size])
        full = np.concatenate([part, np.repeat(part[:1], size - len(part), 0)])
        # Two programs, as in training: one would round otherwise.
        found = _mean_logits(forward, predictor.members, _finished(full, normalizer))
        parts.append(np.asarray(found, np.float32)[: len(part)] * np.float32(predictor.scale))
    width = len(predictor.class_names)
    every = np.concatenate([np.zeros((0, width), np.float32), *_wide(parts, width)])
    if not np.isfinite(every).all():
        row = int(np.flatnonzero(~np.isfinite(every).all(axis=1))[0])
        raise ValueError(f"the network gives example {row} numbers that are not finite")
    return every


def _wide(parts: list[np.ndarray], width: int) -> list[np.ndarray]:
    for part in parts:
        if part.shape[1:] != (width,):
            raise ValueError(
                f"the network returns {list(part.shape[1:])} numbers for an example, and there are "
                f"{width} class names: give one for each"
            )
    return parts


def _checked(predictor: Predictor, inputs: Any) -> np.ndarray:
    takes = predictor.inputs
    if isinstance(takes, Texts):
        return _texts(inputs)
    array = np.asarray(inputs)
    images = isinstance(takes, Images | PretrainedImages)
    right = array.dtype == np.uint8 if images else array.dtype.kind == "f"
    if not right or array.shape[1:] != takes.shape or not array.ndim:
        kind = "uint8 images" if images else "float features"
        shape = ", ".join(map(str, ("N", *takes.shape)))
        raise ValueError(
            f"the network takes {kind} [{shape}], not {array.dtype} {list(array.shape)}"
        )
    if images:
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(narrow).all(axis=1))
    if bad.size:
        raise ValueError(f"features of row {bad[0]} are not finite ({bad.size} such rows)")
    return narrow


def _texts(inputs: Any) -> np.ndarray:
    """Object [N]."""
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    odd = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if isinstance(inputs, str) or odd is not None:
        what = "one text" if odd is None else f"{type(texts[odd]).__name__} at position {odd}"
        raise ValueError(f"the network takes a list of texts, not {what}")
    found = np.empty(len(texts), object)
    found[:] = texts
    return found


def _seen(predictor: Predictor, part: np.ndarray) -> np.ndarray:
    """What the network itself sees of some examples."""
    takes = predictor.inputs
    if isinstance(takes, Texts):
        return hashed_texts(part, takes.buckets).toarray()
    if isinstance(takes, PretrainedImages):
        return image_features(part, size=takes.pixels)
    return part


def _forward(predictor: Predictor) -> Forward:
    network = predictor.network
    made = linen_forward(module_of(network, len(predictor.class_names)), train=False)
    narrow = network.dtype != "float32"
    return compute_in(made, jnp.dtype(network.dtype)) if narrow else made


@jax.jit
def _finished(inputs: jax.Array, normalizer: Normalizer | None) -> jax.Array:
    return normalized(to_float(inputs), normalizer)


@functools.partial(jax.jit, static_argnames="forward")
def _mean_logits(forward: Forward, members: Any, inputs: jax.Array) -> jax.Array:
    every = [forward(*member, None, {"image": inputs})[0] for member in members]  # type: ignore[arg-type]
    return sum(every[1:], start=every[0]) / len(every)
