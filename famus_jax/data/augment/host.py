"""Crops on the host, for streamed images of many sizes; randomness comes in as numbers.

A transform is called as `transform(image, numbers) -> image` with uint8[H, W, C] and float64[16]
in [0, 1) (`streaming.host_numbers`), so that it is a function of (seed, step, row).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from famus_jax.data.augment.checks import check_part
from famus_jax.data.sources.images import required_size


def _resize_box(
    image: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]
) -> np.ndarray:
    from PIL import Image

    gray = image.shape[-1] == 1
    picture = Image.fromarray(image[..., 0] if gray else image)
    scaled = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
    return np.asarray(scaled, np.uint8).reshape(*size, image.shape[-1])


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """torchvision's crop: up to five tries for a part that fits, then the middle.

    Attributes:
      size: height and width of the result.
      scale: (least, most) share of the area.
      ratio: (least, most) width over height.
    """

    size: int | tuple[int, int] = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self):
        required_size(self.size)
        check_part(self.scale, self.ratio)

    def box(self, height: int, width: int, numbers: np.ndarray) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the part, in whole pixels."""
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for attempt in range(5):
            a, b, c = (float(v) for v in numbers[3 * attempt : 3 * attempt + 3])
            area = height * width * (self.scale[0] + a * (self.scale[1] - self.scale[0]))
            ratio = math.exp(low + b * (high - low))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                places = (height - h + 1) * (width - w + 1)
                top, left = divmod(int(c * places), width - w + 1)
                return left, top, left + w, top + h
        w = min(width, round(height * self.ratio[1]))
        h = min(height, round(width / self.ratio[0]))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h

    def __call__(self, image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Crop and scale: see the class."""
        height, width, _ = image.shape
        return _resize_box(image, self.box(height, width, numbers), required_size(self.size))


@dataclasses.dataclass(frozen=True)
class ResizeCrop:
    """Scale the shorter side to `resize`, then cut `crop` pixels: at random, or the middle.

    The preparation of DivideMix and FaMUS for WebVision (320, 299) and Clothing1M (256, 224).
    """

    resize: int = 256
    crop: int = 224
    random: bool = True

    def __post_init__(self):
        if not 1 <= self.crop <= self.resize:
            raise ValueError(f"crop = {self.crop!r} must be in [1, resize = {self.resize!r}]")

    def __call__(self, image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Scale and cut: see the class."""
        height, width, _ = image.shape
        scale = self.resize / min(height, width)
        h, w = max(self.resize, round(height * scale)), max(self.resize, round(width * scale))
        scaled = _resize_box(image, (0, 0, width, height), (h, w))
        a, b = (float(numbers[0]), float(numbers[1])) if self.random else (0.5, 0.5)
        top, left = int(a * (h - self.crop + 1)), int(b * (w - self.crop + 1))
        return scaled[top : top + self.crop, left : left + self.crop]
