"""Any batch, in each of the three uses: a step, or a refusal by a sentence of ours.

The network here reads any array of numbers, or raises an error of its own.
"""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fuzz.oracle import fuzz, junk, refusal, texts
from hypothesis import strategies as st

import famus_jax as famus

pytestmark = pytest.mark.filterwarnings("ignore")

KEY = jax.random.key(0)
PARAMS = {"body": jnp.full((1, 4), 0.1), "head": jnp.full((4, 2), 0.1)}


class TheirOwn(Exception):
    """The network can't read this entry: a dict of scalars, say, which a batch may well hold."""


def network(w, x):
    if not getattr(x, "ndim", 0):
        raise TheirOwn
    x = jnp.abs(x.reshape(x.shape[0], -1).astype(jnp.result_type(x, jnp.float32)))
    return jnp.tanh(x.mean(1, keepdims=True) @ w["body"]) @ w["head"]


PROBLEM = famus.problem(famus.stateless_forward(network, input="x"), famus.l2r())
GOOD = {"x": np.ones((4, 3), np.float32), "label": np.array([0, 1, 0, 1], np.int32)}


@functools.cache
def weigh_and_step():
    weigh = famus.reweighter(PROBLEM, step_size=0.1)
    train = famus.train_step(PROBLEM, optax.sgd(0.1), step_size=0.1)
    return weigh, train


def reweighter(batch, meta_batch):
    weigh, _ = weigh_and_step()
    state = weigh.init(KEY, PARAMS, (), batch, meta_batch)
    weights, _ = weigh.update(state, PARAMS, (), batch, meta_batch)
    return weights


def reweighter_later(batch, meta_batch):
    """The first batch was a good one."""
    weigh, _ = weigh_and_step()
    state = weigh.init(KEY, PARAMS, (), GOOD, GOOD)
    weights, _ = weigh.update(state, PARAMS, (), batch, meta_batch)
    return weights


def transformation(batch, meta_batch):
    tx = famus.reweight(PROBLEM, step_size=0.1, key=KEY)
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS, batch=batch, meta_batch=meta_batch)
    return state


def step(batch, meta_batch):
    _, train = weigh_and_step()
    state = train.init(KEY, PARAMS, (), batch, meta_batch)
    return train(state, batch, meta_batch)[1].weights


def step_later(batch, meta_batch):
    _, train = weigh_and_step()
    state = train.init(KEY, PARAMS, (), GOOD, GOOD)
    return train(state, batch, meta_batch)[1].weights


USES = (reweighter, reweighter_later, transformation, step, step_later)
DTYPES = ("f4", "i4", "u1", "?", "f2", "f8", "i8", "c8", "U1", "S2", "O", "M8[D]", "m8[s]", "g")
SHAPES = ((4,), (4, 3), (3, 3), (4, 0), (0, 3), (0,), (), (4, 1), (4, 2), (1, 4))


@st.composite
def arrays(draw):
    """Arrays that fit, nearly fit, or hold no numbers at all."""
    made = np.zeros(draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES)))
    how = draw(
        st.sampled_from(["numpy", "list", "nan", "jax", "shape", "masked", "deleted", "record"])
    )
    number = made.dtype.kind in "fiub?" and made.dtype.char != "g"
    if how == "list":
        return made.tolist()
    if how == "nan" and made.dtype.kind == "f":
        return made + np.nan
    if how == "masked":
        return np.ma.array(made, mask=np.ones(made.shape, bool))
    if how == "record":
        return np.zeros(made.shape, [("a", "f4"), ("b", "i4")])
    if how == "shape" and number:
        return jax.ShapeDtypeStruct(made.shape, np.float32)
    if how in ("jax", "deleted") and number:
        made = jnp.asarray(made)
        if how == "deleted":
            made.delete()
    return made


ODD = st.one_of(
    arrays(),
    junk,
    st.sampled_from([int, len, {1, 2}, range(4), [0, 1, 0, 1], [[1], [2, 3]], "abcd", 2j, b"abcd"]),
)


@st.composite
def batches(draw):
    """A good batch with one thing wrong, or no batch at all."""
    kind = draw(st.sampled_from(["entry", "entry", "more", "fewer", "renamed", "whole", "tuple"]))
    name = draw(st.sampled_from(["x", "label"]))
    rest = {key: value for key, value in GOOD.items() if key != name}
    if kind == "entry":
        return {**rest, name: draw(ODD)}
    if kind == "more":
        return {**GOOD, draw(st.one_of(texts, st.integers(0, 3))): draw(ODD)}
    if kind == "renamed":
        return {**rest, draw(st.one_of(texts, st.integers(0, 3))): GOOD[name]}
    if kind == "tuple":
        return draw(st.sampled_from([tuple, list, iter]))(GOOD.values())
    return rest if kind == "fewer" else draw(ODD)


@pytest.mark.parametrize("count", [300, pytest.param(5_000, marks=pytest.mark.fuzz)])
def test_batches(count):
    """Wherever it enters: as training or as meta batch, the first one or a later one."""

    def check(case):
        use, batch, is_meta = case
        given = (GOOD, batch) if is_meta else (batch, GOOD)

        def call():
            with contextlib.suppress(TheirOwn):
                use(*given)

        refusal(call)

    fuzz(count, st.tuples(st.sampled_from(USES), batches(), st.booleans()), check)
