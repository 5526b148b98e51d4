"""A predictor's folder, and its probabilities against numbers worked by hand."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.forward import linen_init
from famus_jax.models import build_model
from famus_jax.predictor import (
    Features,
    Images,
    Network,
    Predictor,
    load_predictor,
    logits,
    predict,
    save_predictor,
)
from famus_jax.sealed import Damaged, read_sealed, write_sealed

NAMES = ("cat", "dog", "eel")
LINEAR = Network("mlp", {"hidden": ()})  # one dense layer: x W + b


def linear(weights, bias, member=None):
    """An affine network as a member."""
    params, state = member or linen_init(
        build_model("mlp", len(bias), hidden=()), jax.random.key(0), np.zeros((1, len(weights)))
    )
    leaves = {"kernel": np.asarray(weights, np.float32), "bias": np.asarray(bias, np.float32)}
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves[path[-1].key], params), state


def two_by_hand(**more):
    """Two affine networks on three features."""
    first = linear([[1, 0, 0], [0, 2, 0], [0, 0, 3]], [0, 0, 0])
    second = linear([[0, 1, 0], [1, 0, 0], [0, 0, 1]], [0.5, 0, -1])
    return Predictor(LINEAR, NAMES, Features(3), (first, second), {"x": "y"}, **more)


def by_hand(x, scale=1.0):
    a = x @ np.diag([1.0, 2, 3])
    b = x @ np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]) + [0.5, 0, -1]
    risen = np.exp(scale * (a + b) / 2)
    return risen / risen.sum(1, keepdims=True)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_probabilities_of_two_networks_are_those_of_their_mean_logits(tmp_path, scale):
    """In float64 by hand, after the way through the folder. Fails if probabilities are averaged (the
    evaluation averages logits), a member is lost, or the scale of the loss is."""
    x = np.random.default_rng(0).normal(size=(7, 3)) / 4
    save_predictor(tmp_path, two_by_hand(scale=scale))
    loaded = load_predictor(tmp_path)
    found = predict(loaded, x.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(x, scale), rtol=2e-5)
    assert loaded.class_names == NAMES
    assert loaded.made_from == {"x": "y"}


def test_images_are_normalized_per_channel(tmp_path):
    """Fails if mean and deviation are left out, swapped, or counted in units of 1 instead of 255."""
    takes = Images((1, 2), 2, (0.1, 0.2), (0.5, 0.25))
    member = linear(np.eye(4, 3), [0, 0, 0])
    save_predictor(tmp_path, Predictor(LINEAR, NAMES, takes, (member,)))
    image = np.array([[[[51, 102], [255, 0]]]], np.uint8)
    want = [(0.2 - 0.1) / 0.5, (0.4 - 0.2) / 0.25, (1 - 0.1) / 0.5]
    np.testing.assert_allclose(logits(load_predictor(tmp_path), image)[0], want, rtol=1e-5)


def test_batches_change_nothing():
    """Fails if the filling of the last batch comes out, or examples lose their order."""
    x = np.random.default_rng(1).normal(size=(11, 3)).astype(np.float32)
    whole = predict(two_by_hand(), x)
    np.testing.assert_allclose(predict(two_by_hand(), x, batch_size=4), whole, rtol=1e-6)
    assert predict(two_by_hand(), x[:0]).shape == (0, 3)


def test_the_state_and_the_dtype_come_back(tmp_path):
    """BatchNorm's running statistics of a network in bfloat16. Fails if they are left out, or if the
    network computes in float32 afterwards."""
    network = Network("cnn", {"widths": [4], "norm": "batch"}, "bfloat16")
    model = build_model(network.name, 3, **network.overrides)
    params, state = linen_init(model, jax.random.key(0), np.zeros((1, 8, 8, 3)))
    assert jax.tree.leaves(state)
    member = params, jax.tree.map(lambda x: x + 0.25, state)
    made = Predictor(network, NAMES, Images((8, 8), 3), (member,))
    save_predictor(tmp_path, made)
    images = np.random.default_rng(2).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    loaded = load_predictor(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, loaded.members, made.members)
    np.testing.assert_array_equal(logits(loaded, images), logits(made, images))
    other = made._replace(network=network._replace(dtype="float32"))
    assert not np.array_equal(logits(loaded, images), logits(other, images))


def test_equal_predictors_are_equal_bytes(tmp_path):
    """Fails if a time or an order gets into a file: then no killed run would end in the same bytes."""
    files = [save_predictor(tmp_path / name, two_by_hand()) for name in "ab"]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["arrays.npz", "predictor.json"]


@pytest.mark.parametrize("name", ["arrays.npz", "predictor.json"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_damage_is_noticed(tmp_path, name, how):
    save_predictor(tmp_path, two_by_hand())
    path, content = tmp_path / name, (tmp_path / name).read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[:-30])
    else:
        at = content.index(b"mlp") if name.endswith("json") else len(content) // 3
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    missing = how == "gone" and name == "predictor.json"
    with pytest.raises(FileNotFoundError if missing else Damaged, match=name):
        load_predictor(tmp_path)


def test_arrays_of_another_network_are_refused(tmp_path):
    """Before anything is written. Fails if a transposed matrix, a lost one or a NaN got into a file."""
    made, wide = two_by_hand(), linear(np.ones((4, 3)), [0, 0, 0])
    nan = linear(np.full((3, 3), np.nan), [0, 0, 0])
    for wrong, message in [
        (made._replace(members=(wide,)), "of another network"),
        (made._replace(members=()), "members is empty"),
        (made._replace(members=(nan,)), "not finite"),
        (made._replace(class_names=("a", "b")), "of another network"),
        (made._replace(class_names=("a", "b", "a")), "each once"),
        (made._replace(network=Network("mpl")), "Did you mean 'mlp'"),
        (made._replace(network=Network()), "give one of the two"),
        (made._replace(inputs=Images((1, 3), 1, (0.0,), (0.0,))), "must be positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            save_predictor(tmp_path / "new", wrong)
    assert not (tmp_path / "new").exists()


def test_another_format_or_network_is_named(tmp_path):
    save_predictor(tmp_path, two_by_hand())
    said = read_sealed(tmp_path / "predictor.json")
    write_sealed(tmp_path / "predictor.json", {**said, "format": 2})
    with pytest.raises(ValueError, match=r"has format 2, and this famus_jax reads 1"):
        load_predictor(tmp_path)
    network = {**said["network"], "overrides": {"hidden": [5]}}
    write_sealed(tmp_path / "predictor.json", {**said, "network": network})
    with pytest.raises(ValueError, match="of another network, or of another version's"):
        load_predictor(tmp_path)


class Own(nn.Module):
    """A module that famus_jax does not have."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(jnp.tanh(x))


def test_a_module_of_ones_own_is_brought_again(tmp_path):
    member = linen_init(Own(), jax.random.key(0), np.zeros((1, 3), np.float32))
    made = Predictor(Network(module=Own()), NAMES, Features(3), (member,))
    save_predictor(tmp_path, made)
    assert "pickle" not in json.dumps(read_sealed(tmp_path / "predictor.json"))
    with pytest.raises(ValueError, match=r"module of one's own, Own: give it"):
        load_predictor(tmp_path)
    x = np.ones((2, 3), np.float32)
    kernel, bias = (np.asarray(member[0]["Dense_0"][k], np.float64) for k in ("kernel", "bias"))
    found = logits(load_predictor(tmp_path, module=Own()), x)
    np.testing.assert_allclose(found, np.tanh(x) @ kernel + bias, rtol=1e-5)


@pytest.mark.parametrize(
    "inputs",
    [
        np.zeros((2, 4), np.float32),
        np.zeros((2, 3), np.int32),
        np.zeros((2, 1, 3, 1), np.uint8),
        np.zeros(3, np.float32),
        np.array([[0, np.nan, 0]]),
        np.array([[0, 1e300, 0]]),
    ],
    ids=["wide", "integers", "images", "one", "nan", "infinite as float32"],
)
def test_other_inputs_are_refused(inputs):
    with pytest.raises(ValueError, match=r"takes float features \[N, 3\], not|not finite"):
        predict(two_by_hand(), inputs)
