"""What is no batch is named by its path, in all three uses alike, and nothing of that is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import famus_jax as famus
from famus_jax.core.batches import check_values, leading_size

KEY = jax.random.key(0)
X, LABEL = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1], np.int32)
GOOD = {"x": X, "label": LABEL}
PARAMS = {"w": jnp.zeros((3, 2))}
FORWARD = famus.stateless_forward(lambda p, x: x @ p["w"], input="x")
PROBLEM = famus.problem(FORWARD, famus.l2r())


def by_reweighter(batch, meta_batch):
    weigh = famus.reweighter(PROBLEM, step_size=0.1)
    state = weigh.init(KEY, PARAMS, (), GOOD, GOOD)
    return weigh.update(state, PARAMS, (), batch, meta_batch)


def by_transformation(batch, meta_batch):
    tx = famus.reweight(PROBLEM, step_size=0.1, key=KEY)
    return tx.update(PARAMS, tx.init(PARAMS), PARAMS, batch=batch, meta_batch=meta_batch)


def by_step(batch, meta_batch):
    train = famus.train_step(PROBLEM, optax.sgd(0.1), step_size=0.1)
    return train(train.init(KEY, PARAMS, (), GOOD, GOOD), batch, meta_batch)


def deleted():
    x = jnp.array(X)
    x.delete()
    return x


WRONG = {
    "text": ({**GOOD, "x": np.array(list("abcd"))}, r"entry 'x' .*ndarray of dtype <U1.*asarray"),
    "objects": ({**GOOD, "x": np.array([None] * 4)}, r"entry 'x' .*dtype object and shape \[4\]"),
    "a string": ({**GOOD, "id": "a7"}, r"entry 'id' .*a str, 'a7', which is no array"),
    "in a dict": ({"x": X, "label": LABEL, "more": {"when": object()}}, r"entry 'more/when'"),
    "dates": ({**GOOD, "day": np.zeros(4, "M8[D]")}, r"entry 'day' .*datetime64\[D\]"),
    "masked": ({**GOOD, "x": np.ma.array(X, mask=X > 0)}, r"entry 'x' .*masked array.*filled"),
    "list": ({**GOOD, "label": [0, 1, 0, 1]}, r"entry 'label' .*list of 4 entries.*asarray"),
    "lists": ({**GOOD, "x": X.tolist()}, r"entry 'x' .*list of 4 entries.*asarray"),
    "large": ({**GOOD, "seed": 10**40}, r"entry 'seed' .*does not fit into int"),
    "keys": ({**GOOD, 1: X}, r"keys that can't be sorted, \['x', 'label', 1\]: let all be strings"),
    "deleted": (lambda: {**GOOD, "x": deleted()}, r"entry 'x' .*deleted or donated"),
    "shape": ({**GOOD, "x": jax.ShapeDtypeStruct((4, 3), "f4")}, r"entry 'x' .*but a shape"),
    "whole": ("abc", r"the whole of the .* batch is a str, 'abc'"),
    "empty": ({"x": X[:0], "label": LABEL[:0]}, r"leading size 0"),
    "uneven": ({**GOOD, "label": LABEL[:3]}, r"share their leading size; got .*'label': 3"),
    "numbers": ([[1, 2], [3]], r"no array with a leading batch axis; it is a list, \[\[1, 2"),
    "none": ({**GOOD, "x": None}, r"entry 'x', which the network reads, is None"),
    "no label": ({"x": X}, r"reads batch\[\"label\"\]; this batch holds \['x'\]"),
    "complex": ({**GOOD, "x": X * 1j}, r"logits are complex64"),
}


@pytest.mark.parametrize("as_meta", [False, True], ids=["training", "meta"])
@pytest.mark.parametrize("which", WRONG)
@pytest.mark.parametrize("use", [by_reweighter, by_transformation, by_step])
def test_no_batch(use, which, as_meta):
    """Fails if a use lets through to JAX what is no array, or names the other batch."""
    wrong, message = WRONG[which]
    wrong = wrong() if callable(wrong) else wrong
    with pytest.raises(ValueError, match=message) as raised:
        use(*((GOOD, wrong) if as_meta else (wrong, GOOD)))
    text = str(raised.value)
    if "batch is" in text or "of the" in text:
        assert ("meta batch" in text) == as_meta


def test_a_refused_batch_donates_nothing():
    """The state can be used after it: fails if the check comes after the dispatch."""
    train = famus.train_step(PROBLEM, optax.sgd(0.1), step_size=0.1)
    state = train.init(KEY, PARAMS, (), GOOD, GOOD)
    with pytest.raises(ValueError, match="entry 'x'"):
        train(state, {**GOOD, "x": "abcd"}, GOOD)
    state, _ = train(state, GOOD, GOOD)
    assert int(state.step) == 1


def test_what_a_batch_may_hold():
    """Numbers, None, PRNG keys and short lists beside arrays; shapes where only shapes count."""
    batch = {**GOOD, "scale": 0.5, "mask": None, "on": True, "mean": [0.1, 0.2, 0.3]}
    assert leading_size(batch, "training batch") == 4
    assert leading_size({"x": X, "key": jax.random.split(KEY, 4)}, "training batch") == 4
    shapes = {"x": jax.ShapeDtypeStruct((4, 3), jnp.float32)}
    assert leading_size(shapes, "training batch") == 4
    with pytest.raises(ValueError, match=r"entry 'x' .*but a shape"):
        check_values(shapes, "training batch")


def test_nothing_is_compiled():
    """Only types and shapes are looked at: no equation, under `jit` too."""

    def look(batch):
        leading_size(batch, "training batch")
        check_values(batch, "training batch")
        return batch

    assert not jax.make_jaxpr(look)(GOOD).eqns


@pytest.mark.parametrize("use", [by_reweighter, by_transformation, by_step])
def test_another_meta_batch(use):
    """The network's own error stays what it is, and a note says how the batches differ."""
    with pytest.raises(TypeError, match="contracting dimensions") as raised:
        use(GOOD, {**GOOD, "x": np.ones((4, 5), np.float32)})
    note = "'x' is float32[5] per example against float32[3] per example"
    assert any(note in line for line in raised.value.__notes__)
    with pytest.raises(TypeError, match="contracting dimensions") as raised:
        use({**GOOD, "x": np.ones((4, 5), np.float32)}, GOOD)
    assert not any("meta batch" in line for line in getattr(raised.value, "__notes__", ()))
