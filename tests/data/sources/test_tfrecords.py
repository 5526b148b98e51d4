"""TFRecord files, against messages put together byte by byte and by the protobuf library."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from famus_jax.data.sources.tfrecords import parse_example, read_tfrecords, records

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)


def field(number, payload):
    """A length-delimited protobuf field (payloads under 16,384 bytes)."""
    size = len(payload)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return bytes([number << 3 | 2]) + length + payload


def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def example(**features):
    entries = b""
    for key, value in features.items():
        if isinstance(value, bytes):
            feature = field(1, field(1, value))
        elif isinstance(value, float):
            feature = field(2, field(1, struct.pack("<f", value)))
        else:
            feature = field(3, field(1, varint(value)))
        entries += field(1, field(1, key.encode()) + field(2, feature))
    return field(1, entries)


def framed(*messages):
    return b"".join(struct.pack("<Q", len(m)) + b"crc1" + m + b"crc2" for m in messages)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def save(path, labels=(1, 0, 1)):
    messages = [
        example(image=png(p), label=y, name=f"n{i}".encode())
        for i, (p, y) in enumerate(zip(PIXELS, labels, strict=True))
    ]
    path.write_bytes(framed(*messages))
    return path


KEYS = {"image_key": "image", "label_key": "label"}


def test_images_labels_and_ids(tmp_path):
    path = save(tmp_path / "a.tfrecord")
    found = read_tfrecords([path], id_key="name", **KEYS)
    np.testing.assert_array_equal(found.images, PIXELS)
    assert found.labels.tolist() == [1, 0, 1]
    assert found.ids.tolist() == ["n0", "n1", "n2"]
    two = read_tfrecords([path, save(tmp_path / "b.tfrecord")], size=8, **KEYS)
    assert two.images.shape == (6, 8, 8, 3)
    assert two.ids[5] == "row_0000005"


def test_the_wire_format_by_protobuf():
    # The generated classes of tfds are an independent writer: packed ints, negatives, long values.
    proto = pytest.importorskip("tensorflow_datasets.proto.tf_example_generated_pb2")
    message = proto.Example()
    message.features.feature["ints"].int64_list.value.extend([0, -1, 300, 2**62])
    message.features.feature["floats"].float_list.value.extend([0.5, -2.0])
    message.features.feature["bytes"].bytes_list.value.extend([b"", b"x" * 70_000])
    message.features.feature["nothing"].int64_list.value.extend([])
    assert parse_example(message.SerializeToString()) == {
        "ints": [0, -1, 300, 2**62],
        "floats": [0.5, -2.0],
        "bytes": [b"", b"x" * 70_000],
        "nothing": [],
    }


def test_unpacked_numbers():
    unpacked = field(3, b"\x08" + varint(5) + b"\x08" + varint(-7))
    message = field(1, field(1, field(1, b"k") + field(2, unpacked)))
    assert parse_example(message) == {"k": [5, -7]}


def test_damaged_files(tmp_path):
    whole = save(tmp_path / "a.tfrecord").read_bytes()
    for cut in (len(whole) - 1, len(whole) - 30, 5):
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="ends within record"):
            list(records(tmp_path / "cut"))
    (tmp_path / "cut").write_bytes(framed(b"\xff\xff\xff"))
    with pytest.raises(ValueError, match=r"no tf\.train\.Example"):
        read_tfrecords([tmp_path / "cut"])


def test_bad_input_is_named(tmp_path):
    path = save(tmp_path / "a.tfrecord")
    with pytest.raises(
        ValueError, match=r"'image/encoded' has 0 values.*\['image', 'label', 'name'\]"
    ):
        read_tfrecords([path])
    with pytest.raises(FileNotFoundError, match="no TFRecord file at"):
        read_tfrecords([tmp_path / "b"])
    with pytest.raises(ValueError, match="paths is empty"):
        read_tfrecords([])
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="hold no records"):
        read_tfrecords([tmp_path / "empty"])
