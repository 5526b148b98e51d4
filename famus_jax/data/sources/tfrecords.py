"""Reading image TFRecord files without TensorFlow.

For the controlled noisy web labels as 32x32 records and similar files. A TFRecord file is a chain
of (length: uint64, crc, data, crc); the data are a tf.train.Example, a small protobuf:

    Example.1 Features.1 {key.1, Feature.2 {bytes_list.1 | float_list.2 | int64_list.3}}.

The checksums are not verified (they need CRC32C, slow in Python); a file that is cut short is
refused.
"""

from __future__ import annotations

import functools
import io
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from famus_jax.data.sources.arrays import from_arrays
from famus_jax.data.sources.images import checked_size, decode, warn_of_frames
from famus_jax.data.types import Examples

Value = list[Any]  # of bytes, int or float


def records(path: str | os.PathLike) -> Iterator[bytes]:
    """The records of one TFRecord file.

    Raises:
      ValueError: the file ends within a record.
    """
    with open(path, "rb") as file:
        number = 0
        while head := file.read(12):
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
            left = os.fstat(file.fileno()).st_size - file.tell()
            if len(head) < 12 or length + 4 > left:
                raise ValueError(
                    f"{path} ends within record {number}: it is cut short, or no TFRecord file "
                    "(compressed ones must be unpacked first)"
                )
            yield file.read(length)
            file.read(4)
            number += 1


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    # (field number, wire type, payload) of one protobuf message
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if size is None:
            if wire != 2:
                raise ValueError(f"protobuf wire type {wire} in a tf.train.Example")
            size, at = _varint(data, at)
        if at + size > len(data):
            raise ValueError("a field reaches beyond its message")
        yield number, wire, data[at : at + size]
        at += size


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _feature(data: memoryview) -> Value:
    for kind, _, items in _fields(data):
        values: list = []
        for _, wire, item in _fields(items):
            if kind == 1:
                values.append(bytes(item))
            elif kind == 2:
                values += np.frombuffer(item, "<f4").tolist()
            elif wire == 0:
                values.append(_signed(item))
            else:
                at = 0
                while at < len(item):
                    value, at = _varint(item, at)
                    values.append(_signed(value))
        return values
    return []


def parse_example(record: bytes) -> dict[str, Value]:
    """The features of a serialized tf.train.Example: name -> list of bytes, ints or floats.

    Raises:
      ValueError: the bytes are no such message.
    """
    out: dict[str, Value] = {}
    try:
        for _, _, features in _fields(memoryview(record)):
            for _, _, entry in _fields(features):
                parts = {number: payload for number, _, payload in _fields(entry)}
                out[bytes(parts[1]).decode("utf-8")] = _feature(parts[2]) if 2 in parts else []
    except (ValueError, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"a record is no tf.train.Example: {error}") from error
    return out


def read_tfrecords(
    paths: Sequence[str | os.PathLike],
    *,
    image_key: str = "image/encoded",
    label_key: str = "image/class/label",
    id_key: str | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
    num_classes: int | None = None,
    name: str | None = None,
) -> Examples:
    """Images and labels of TFRecord files, in the order of files and records.

    Args:
      paths: the files.
      image_key: feature with one encoded image (PNG, JPEG, …).
      label_key: feature with one whole number.
      id_key: feature with a unique name; None names by record, "row_0000017".
      size: fit images to this height and width; None keeps their common one.
      channels: 3 or 1.
      num_classes: C; by default the highest label + 1.
      name: for messages; the first file's name by default.

    Raises:
      FileNotFoundError: a missing file.
      ValueError: damaged files, a missing feature (the present ones are listed), several sizes.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError("no TFRecord files given: paths is empty")
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"no TFRecord file at {file.absolute()}")
    pair = checked_size(size)
    images, labels, ids = [], [], []
    frames: list[str] = []  # the records whose image has several
    wanted = [image_key, label_key] + ([id_key] if id_key else [])
    for file in files:
        for number, record in enumerate(records(file)):
            example = parse_example(record)
            for key in wanted:
                if len(example.get(key, [])) != 1:
                    raise ValueError(
                        f"{file}, record {number}: feature {key!r} has "
                        f"{len(example.get(key, []))} values, expected 1; the record has "
                        f"{sorted(example)}"
                    )
            try:
                place = f"{file.name}, record {number}"
                note = functools.partial(frames.append, place)
                image = decode(io.BytesIO(example[image_key][0]), pair, channels, note)
            except Exception as error:  # Pillow raises many kinds for damaged images
                raise ValueError(
                    f"{file}, record {number}: the image can't be read "
                    f"({type(error).__name__}: {error})"
                ) from error
            if images and image.shape != images[0].shape:
                raise ValueError(
                    f"{file}, record {number}: image is {image.shape}, the first is "
                    f"{images[0].shape}; give size=..."
                )
            images.append(image)
            labels.append(example[label_key][0])
            if id_key:
                ids.append(example[id_key][0].decode("utf-8", "backslashreplace"))
    if not images:
        raise ValueError(f"{files[0]} and the others hold no records")
    warn_of_frames(frames, len(images), stacklevel=2)
    return from_arrays(
        np.stack(images),
        np.asarray(labels),
        np.asarray(ids, dtype=np.str_) if id_key else None,
        name=name or files[0].name,
        num_classes=num_classes,
    )
