"""Layers as values: parts, rules of the user's own, errors."""

import jax
import jax.numpy as jnp
import pytest

from famus_jax import Layers, layers_by

PARAMS = {
    "c": jnp.ones((2, 3)),
    "a": {"w": jnp.zeros((3, 3)), "b": jnp.full((3,), 2.0)},
    "b": jnp.ones(4),
}
TREE = {"c": 0, "a": {"w": 1, "b": 1}, "b": 2}


def test_both_ways_to_say_it_agree():
    """A pytree of ints and a function of the path; fails if either follows another leaf order."""
    by_path = layers_by(PARAMS, lambda path: {"c": 0, "a": 1, "b": 2}[path.split("/")[0]])
    by_tree = layers_by(PARAMS, TREE)
    assert by_path == by_tree
    assert hash(by_path) == hash(by_tree)
    assert by_tree.as_tree() == TREE
    assert by_tree.names == ("c", "a", "b")


def test_with_path_recipe():
    """`tree_map_with_path`, as method and README recommend it."""
    tree = jax.tree_util.tree_map_with_path(
        lambda path, _: {"c": 0, "a": 1, "b": 1}[path[0].key], PARAMS
    )
    assert layers_by(PARAMS, tree, names=["low", "high"]).names == ("low", "high")


@pytest.mark.parametrize("active", [(), (0,), (1,), (0, 2), (0, 1, 2)], ids=str)
def test_part_and_place(active):
    """Fails if a part is placed into other leaves than it was taken from."""
    layers = layers_by(PARAMS, TREE)
    doubled = jax.tree.map(lambda x: 10 * x, PARAMS)
    placed = layers.place(layers.part(doubled, active), PARAMS, active)
    expected = jax.tree.map(lambda x, g: 10 * x if g in active else x, PARAMS, TREE)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), placed, expected))
    assert layers.part_index(active) == tuple(g for g in jax.tree.leaves(TREE) if g in active)


def test_share_above():
    """Fails if the group itself is left out of its share."""
    layers = layers_by(PARAMS, TREE, costs=[0.5, 0.3, 0.2])
    assert [layers.share_above(i) for i in range(4)] == pytest.approx([1.0, 0.5, 0.2, 0.0])


def test_describe_counts_parameters():
    lines = layers_by(PARAMS, TREE, costs=[0.5, 0.3, 0.2]).describe(PARAMS).splitlines()
    assert [line.split() for line in lines] == [
        ["0", "c", "6", "50.00%"],
        ["1", "a", "12", "30.00%"],
        ["2", "b", "4", "20.00%"],
    ]


def test_equal_names_are_numbered():
    params = {"a": {"x": jnp.ones(1), "y": jnp.ones(1)}}
    assert layers_by(params, {"a": {"x": 0, "y": 1}}).names == ("a/x", "a/y")
    params = {"p": jnp.ones(1), "q": jnp.ones(1), "r": jnp.ones(1), "s": jnp.ones(1)}
    assert layers_by(params, {"p": 0, "q": 0, "r": 1, "s": 1}).names == ("params", "params#2")


def test_errors_name_value_and_fix():
    layers = layers_by(PARAMS, TREE)
    with pytest.raises(
        ValueError, match=r"no layer is named 'haed'.*the layers are \['c', 'a', 'b'\]"
    ):
        layers.find(["haed"])
    with pytest.raises(
        ValueError, match=r"another structure; find them anew with famus_jax.find_layers"
    ):
        layers.part({"c": PARAMS["c"]}, (0,))
    with pytest.raises(ValueError, match="shaped like the parameters"):
        layers_by(PARAMS, {"c": 0})
    with pytest.raises(
        ValueError, match=r"every layer 0..2 needs at least one parameter.*\[0, 2\]"
    ):
        layers_by(PARAMS, {"c": 0, "a": {"w": 2, "b": 2}, "b": 2})
    with pytest.raises(ValueError, match="given twice: \\['x'\\]"):
        layers_by(PARAMS, TREE, names=["x", "x", "y"])
    with pytest.raises(ValueError, match="3 shares that sum to 1"):
        layers_by(PARAMS, TREE, costs=[0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="4 leaves"):
        Layers(("a",), (0,), jax.tree.structure(PARAMS), (1.0,))
