"""The loader of ResNet-50 weights, on files made here (format written out by hand)."""

import json
import pickle
import re
import struct
import sys

import golden_formula as formula
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.models import build_model
from famus_jax.models.pretrained import load_resnet50_safetensors, resnet50_from_torchvision


@pytest.fixture(scope="module")
def tensors():
    float32 = {k: v.astype(np.float32) for k, v in formula.torchvision_resnet50().items()}
    return float32 | {"bn1.num_batches_tracked": np.asarray(7, np.int64)}


def write_safetensors(path, tensors):
    """The format: length of the header (u64), header (JSON), bytes of the tensors."""
    names = {"float32": "F32", "float16": "F16", "int64": "I64"}
    header, offset = {}, 0
    for name, value in tensors.items():
        end = offset + value.nbytes
        dtype = names[str(value.dtype)]
        header[name] = {"dtype": dtype, "shape": value.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file.write(np.ascontiguousarray(value).tobytes())


def test_file_gives_the_variables_of_the_network(tmp_path, tensors):
    pytest.importorskip("safetensors")
    path = tmp_path / "resnet50.safetensors"
    write_safetensors(path, tensors)
    params, state = load_resnet50_safetensors(path)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    expected = jax.eval_shape(build_model("resnet_50", 1000).init, jax.random.key(0), image)
    found = jax.eval_shape(lambda: {"params": params, **state})
    assert found == dict(expected)
    # Spot checks, transposed by hand: a 3x3 kernel, a shortcut, the head, statistics.
    np.testing.assert_array_equal(
        params["stage3_block4"]["conv2"]["kernel"][2, 0, 5, 9],
        tensors["layer3.4.conv2.weight"][9, 5, 2, 0],
    )
    np.testing.assert_array_equal(
        params["stage2_block0"]["shortcut"]["kernel"][0, 0],
        tensors["layer2.0.downsample.0.weight"][..., 0, 0].T,
    )
    np.testing.assert_array_equal(params["head"]["kernel"], tensors["fc.weight"].T)
    np.testing.assert_array_equal(
        state["batch_stats"]["stage4_block0"]["shortcut_norm"]["var"],
        tensors["layer4.0.downsample.1.running_var"],
    )


def test_half_precision_file_gives_float32(tmp_path, tensors):
    pytest.importorskip("safetensors")
    path = tmp_path / "half.safetensors"
    half = {k: v.astype(np.float16) for k, v in tensors.items() if v.dtype == np.float32}
    write_safetensors(path, half)
    params, state = load_resnet50_safetensors(path, head=False)
    assert "head" not in params
    assert {x.dtype for x in jax.tree.leaves((params, state))} == {jnp.dtype("float32")}
    np.testing.assert_array_equal(
        params["stem"]["kernel"], half["conv1.weight"].transpose(2, 3, 1, 0).astype(np.float32)
    )


def test_trunk_without_head_fits_other_classes(tensors):
    trunk = {k: v for k, v in tensors.items() if not k.startswith("fc.")}
    with pytest.raises(ValueError, match=r"no tensor 'fc.weight'; pass head=False"):
        resnet50_from_torchvision(trunk)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    fresh = jax.eval_shape(build_model("resnet_50", 14).init, jax.random.key(0), image)
    for given in (trunk, tensors):
        params, _ = resnet50_from_torchvision(given, head=False)
        assert set(fresh["params"]) - set(params) == {"head"}


def test_wrong_tensors_are_named(tensors):
    less = {k: v for k, v in tensors.items() if k != "layer1.0.bn2.bias"}
    with pytest.raises(ValueError, match=r"1 missing \['params/stage1_block0/norm2/bias'\]"):
        resnet50_from_torchvision(less)
    extra = ["layer5.0.conv1.weight", "fc.gamma", "layer1.0.conv1.gamma", "x"]
    with pytest.raises(ValueError, match=re.escape(f"0 missing [], 4 unknown {extra}.")):
        resnet50_from_torchvision(tensors | dict.fromkeys(extra, np.zeros(3)))
    wrong = tensors | {"layer1.0.conv2.weight": np.zeros((64, 64, 1, 1))}
    with pytest.raises(ValueError, match=r"'layer1.0.conv2.weight' has shape \(64, 64, 1, 1\)"):
        resnet50_from_torchvision(wrong)


def test_pickles_are_refused_unread(tmp_path):
    pytest.importorskip("safetensors")

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the file was unpickled",))

    path = tmp_path / "resnet50.pth"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"isn't a safetensors file.*unpickling can execute"):
        load_resnet50_safetensors(path)
    with pytest.raises(FileNotFoundError, match=r"pass a \.safetensors file"):
        load_resnet50_safetensors(tmp_path / "none.safetensors")


def test_missing_package_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match="pip install safetensors"):
        load_resnet50_safetensors(tmp_path / "any.safetensors")
