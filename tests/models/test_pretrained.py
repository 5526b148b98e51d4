"""The loader of ResNet-50 weights, on files made here (format written out by hand)."""

import json
import pickle
import re
import struct
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.models import build_model
from famus_jax.models.pretrained import (
    load_resnet50_safetensors,
    load_trunk,
    resnet50_from_torchvision,
    with_trunk,
)
from tests.models import golden_formula as formula


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


def test_trunk_in_a_fresh_network(tmp_path, tensors):
    """Everything but the head is the file's, and a copy of it. Fails if two networks share buffers."""
    pytest.importorskip("safetensors")
    path = tmp_path / "resnet50.safetensors"
    write_safetensors(path, tensors)
    trunk = load_trunk(path)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    spec = jax.eval_shape(build_model("resnet_50", 14).init, jax.random.key(0), image)
    sevens = jax.tree.map(lambda x: jnp.full(x.shape, 7.0, x.dtype), dict(spec))
    params, state = sevens["params"], {"batch_stats": sevens["batch_stats"]}
    one, other = (with_trunk((params, state), trunk) for _ in range(2))
    jax.tree.map(lambda x: x.delete(), {k: v for k, v in one[0].items() if k != "head"})
    assert jax.tree.structure(other) == jax.tree.structure((params, state))
    assert all((leaf == 7).all() for leaf in jax.tree.leaves(other[0]["head"]))
    kernel = tensors["conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(other[0]["stem"]["kernel"], kernel)
    assert not any((leaf == 7).all() for leaf in jax.tree.leaves(other[1]))


@pytest.mark.parametrize(
    ("channels", "overrides", "words"),
    [
        (
            1,
            {},
            r"stem/kernel has shape \(7, 7, 3, 64\) in the file and \(7, 7, 1, 64\) in the net",
        ),
        (3, {"norm": "layer"}, r"stage1_block0/norm1/mean has shape \(64,\) in the file and none"),
        (
            3,
            {"blocks": (3, 4, 6, 4)},
            r"stage4_block3/norm1/mean has shape none in the file and \(512,\)",
        ),
    ],
)
def test_another_network_than_the_files(tensors, channels, overrides, words):
    trunk = resnet50_from_torchvision(tensors, head=False)
    image = jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
    model = build_model("resnet_50", 5, **overrides)
    fresh = dict(jax.eval_shape(model.init, jax.random.key(0), image))
    with pytest.raises(ValueError, match=words):
        with_trunk((fresh["params"], {k: fresh[k] for k in fresh if k != "params"}), trunk)


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
