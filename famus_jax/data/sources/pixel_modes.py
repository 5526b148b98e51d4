"""What a file's pixels mean: any of Pillow's modes to 8 bits, upright, nothing hidden."""

from __future__ import annotations

from typing import Any

import numpy as np

_ORIENTATION = 0x0112  # of EXIF, and of TIFF itself
_SUBFILE_TYPE = 254  # of TIFF; its first bit marks a smaller copy
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # of TIFF


def upright(image: Any) -> Any:
    """A Pillow image, loaded, turned and mirrored as its EXIF orientation says."""
    from PIL import Image

    image.load()  # a TIFF turns itself then
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata: viewers show the pixels as they lie
        return image
    turn = Image.Transpose
    turns = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    if orientation not in turns:
        return image
    turned = image.transpose(turns[orientation])
    turned.format = image.format
    return turned


def may_have_frames(image: Any) -> bool:
    """Whether to ask `several_frames`, which opens the file anew: it costs nothing."""
    if image.format == "GIF":  # which would read the whole file to say so
        return True
    # A camera's JPEG may hold previews.
    return image.format in ("TIFF", "WEBP", "PNG") and getattr(image, "is_animated", False)


def several_frames(file: Any) -> bool:
    """Whether an image file holds further frames or pages beside the first.

    A smaller copy of the first page, as some programs put behind it, is none; nor is damage.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.seek(1)
            tags: Any = getattr(image, "tag_v2", {})
            return not tags.get(_SUBFILE_TYPE, 0) & 1
    except Exception:  # mostly EOFError: there is no second one
        return False


def in_eight_bits(image: Any, mode: str) -> Any:
    """A Pillow image in `mode` "RGB" or "L".

    Raises:
      ValueError: floats or 32-bit integers; named with the mode and the way out.
    """
    from PIL import Image

    # PNG and PPM hold 16 bits at most; Pillow gives some of them as 32-bit integers.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        image = Image.fromarray(_eight_bits_of(image))
    elif image.mode in ("I", "F"):
        kind = "floats" if image.mode == "F" else "32-bit integers"
        raise ValueError(
            f"the pixels are {kind} (mode {image.mode!r}), whose black and white are not known; save "
            "them as 8 or 16 bits"
        )
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        color = image.convert("RGBA")  # dropping the alpha would show what nobody sees
        white = Image.new("RGBA", color.size, "white")
        image = Image.alpha_composite(white, color)
    return image.convert(mode)


def _eight_bits_of(image: Any) -> np.ndarray:
    """16-bit gray, black to white, as uint8: v / 257, rounded."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    white = 2**bits - 1
    values = np.minimum(np.asarray(image).astype(np.int32), white)
    values = (255 * values + white // 2) // white
    if tags.get(_PHOTOMETRIC) == 0:  # 0 is white there; Pillow turns only 8 bits around
        values = 255 - values
    return values.astype(np.uint8)
