"""The forward passes of Linen, NNX and plain functions against formulas written out in numpy."""

import dataclasses
import subprocess
import sys
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from famus_jax.forward import linen_forward, linen_init, nnx_forward, stateless_forward
from famus_jax.models import build_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)).astype(np.float32)
BATCH = {"image": X, "label": np.arange(6)}
KEY = jax.random.key(3)


class Normed(nn.Module):
    """Dense, then BatchNorm with momentum 0.8: enough to write down by hand."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(4)(x)
        return nn.BatchNorm(use_running_average=not train, momentum=0.8, epsilon=0.1)(x)


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x, *, deterministic):
        return nn.Dropout(0.25)(nn.Dense(4)(x), deterministic=deterministic)


class Plain(nn.Module):
    @nn.compact
    def __call__(self, x, y=None):
        out = nn.Dense(2)(x)
        return out if y is None else (out, y)


class NNXNormed(nnx.Module):
    def __init__(self, rngs, rate=0.0):
        self.dense = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.8, epsilon=0.1, rngs=rngs)
        self.drop = nnx.Dropout(rate, rngs=rngs)

    def __call__(self, x):
        return self.drop(self.norm(self.dense(x)))


class Kind:
    """Linen and NNX side by side: the same network, so the same numbers are expected of both."""

    @staticmethod
    def linen():
        params, state = linen_init(Normed(), jax.random.key(0), X)
        state = {"batch_stats": {"BatchNorm_0": {"mean": jnp.arange(4.0), "var": jnp.full(4, 2.0)}}}
        forward = linen_forward(Normed())
        get = {
            "dense": lambda p: p["Dense_0"],
            "stats": lambda s: s["batch_stats"]["BatchNorm_0"],
        }
        return forward, params, state, get

    @staticmethod
    def nnx():
        module = NNXNormed(nnx.Rngs(0))
        module.norm.mean[...] = jnp.arange(4.0)
        module.norm.var[...] = jnp.full(4, 2.0)
        forward, params, state = nnx_forward(module)
        get = {
            "dense": lambda p: jax.tree.map(lambda v: v[...], dict(p["dense"]), is_leaf=_is_var),
            "stats": lambda s: jax.tree.map(lambda v: v[...], dict(s["norm"]), is_leaf=_is_var),
        }
        return forward, params, state, get


def _is_var(x):
    return isinstance(x, nnx.Variable)


both = pytest.mark.parametrize("kind", [Kind.linen, Kind.nnx], ids=["linen", "nnx"])


def dense(layer, x):
    return x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


def spec(tree):
    return jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]


@both
def test_batchnorm_by_hand(kind):
    # Fails if the old and the new share of the momentum change places, if the new state isn't
    # returned, or if training normalizes by running statistics.
    forward, params, state, get = kind()
    out, new = forward(params, state, KEY, BATCH)
    h = dense(get["dense"](params), X)
    mean, var = h.mean(0), h.var(0)
    np.testing.assert_allclose(out, (h - mean) / np.sqrt(var + 0.1), rtol=1e-4, atol=1e-5)
    stats = get["stats"](new)
    np.testing.assert_allclose(stats["mean"], 0.8 * np.arange(4.0) + 0.2 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.8 * 2.0 + 0.2 * var, rtol=1e-5)


@both
def test_evaluation_uses_running_statistics_and_leaves_the_state(kind):
    forward, params, state, get = kind()
    evaluate = dataclasses.replace(forward, train=False)
    out, new = evaluate(params, state, None, BATCH)
    assert new is state
    h = dense(get["dense"](params), X)
    np.testing.assert_allclose(out, (h - np.arange(4.0)) / np.sqrt(2.1), rtol=1e-4, atol=1e-5)
    # An example's output doesn't depend on its neighbors.
    alone, _ = evaluate(params, state, None, {"image": X[:1]})
    np.testing.assert_allclose(alone[0], out[0], rtol=1e-5, atol=1e-6)


@both
def test_training_leaves_its_arguments_alone(kind):
    forward, params, state, get = kind()
    forward(params, state, KEY, BATCH)
    np.testing.assert_array_equal(get["stats"](state)["mean"], np.arange(4.0))
    np.testing.assert_array_equal(get["stats"](state)["var"], np.full(4, 2.0))


@both
def test_state_keeps_structure_and_dtype_under_jit_and_scan(kind):
    forward, params, state, get = kind()
    _, jitted = jax.jit(forward)(params, state, KEY, BATCH)
    assert spec(jitted) == spec(state)

    def step(carry, key):
        out, carry = forward(params, carry, key, BATCH)
        return carry, out

    scanned, _ = jax.lax.scan(step, state, jax.random.split(KEY, 3))
    assert spec(scanned) == spec(state)
    mean = dense(get["dense"](params), X).mean(0)
    np.testing.assert_allclose(
        get["stats"](scanned)["mean"],
        0.8**3 * np.arange(4.0) + (1 - 0.8**3) * mean,
        rtol=1e-4,
        atol=1e-5,
    )


def widen(tree):
    floating = partial(jnp.issubdtype, arg2=jnp.floating)
    return jax.tree.map(lambda x: x.astype(jnp.float64) if floating(x.dtype) else x, tree)


def test_linen_wider_batches_keep_the_dtype_of_the_statistics():
    forward, params, state, _ = Kind.linen()
    with jax.enable_x64(True):
        out, new = forward(widen(params), state, KEY, {"image": X.astype(np.float64)})
    assert out.dtype == jnp.float64
    assert spec(new) == spec(state)


@both
def test_derivatives_agree_with_each_other_and_with_differences(kind):
    forward, params, state, _ = kind()
    with jax.enable_x64(True):
        params, state = widen(params), widen(state)
        x = jnp.asarray(X, jnp.float64)

        def f(p):
            return forward(p, state, KEY, {"image": x})[0]

        keys = iter(jax.random.split(KEY, len(jax.tree.leaves(params))))
        v = jax.tree.map(lambda p: jax.random.normal(next(keys), p.shape, p.dtype), params)
        out, jv = jax.linearize(f, params)
        np.testing.assert_allclose(jv(v), jax.jvp(f, (params,), (v,))[1], rtol=1e-12, atol=1e-12)
        eps = 1e-6
        ahead = f(jax.tree.map(lambda a, b: a + eps * b, params, v))
        behind = f(jax.tree.map(lambda a, b: a - eps * b, params, v))
        np.testing.assert_allclose(jv(v), (ahead - behind) / (2 * eps), rtol=1e-6, atol=1e-7)
        u = jnp.cos(jnp.arange(out.size)).reshape(out.shape)
        (pulled,) = jax.linear_transpose(jv, params)(u)
        inner = sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), pulled, v)))
        np.testing.assert_allclose(inner, jnp.sum(u * jv(v)), rtol=1e-10)


@both
def test_equal_forwards_compile_once(kind):
    traces = []

    @partial(jax.jit, static_argnums=0)
    def run(forward, params, state):
        traces.append(1)
        return forward(params, state, None, BATCH)[0]

    for _ in range(2):
        forward, params, state, _ = kind()
        run(forward, params, state)
    assert len(traces) == 1
    evaluate = dataclasses.replace(forward, train=False)
    assert evaluate != forward
    run(evaluate, params, state)
    assert len(traces) == 2


def test_linen_dropout_follows_the_key():
    params, state = linen_init(Dropping(), jax.random.key(0), X)
    forward = linen_forward(Dropping())
    out, new = forward(params, state, KEY, BATCH)
    h = dense(params["Dense_0"], X)
    assert state == new == {}
    # Every unit is dropped or scaled by 1 / (1 - rate), and some of each.
    dropped = np.asarray(out) == 0
    assert 0 < dropped.sum() < dropped.size
    np.testing.assert_allclose(np.asarray(out)[~dropped], h[~dropped] / 0.75, rtol=1e-5)
    np.testing.assert_array_equal(out, forward(params, state, KEY, BATCH)[0])
    assert not np.array_equal(out, forward(params, state, jax.random.key(4), BATCH)[0])
    evaluated, _ = dataclasses.replace(forward, train=False)(params, state, KEY, BATCH)
    np.testing.assert_allclose(evaluated, h, rtol=1e-5)


def test_linen_streams_get_different_keys():
    class TwoStreams(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return [jax.random.uniform(self.make_rng(n), (3,)) for n in ("dropout", "noise")]

    forward = linen_forward(TwoStreams(), rngs=("dropout", "noise"))
    a, b = forward({}, {}, KEY, BATCH)[0]
    assert not np.array_equal(a, b)


def test_linen_method_and_module_without_mode():
    class Encoder(nn.Module):
        def setup(self):
            self.body = nn.Dense(4)
            self.top = nn.Dense(2)

        def __call__(self, x):
            return self.top(self.body(x))

        def encode(self, x, train):
            return self.body(x) * (2.0 if train else 1.0)

    params, _ = linen_init(Encoder(), jax.random.key(0), X)
    h = dense(params["body"], X)
    out, _ = linen_forward(Encoder())(params, {}, None, BATCH)
    np.testing.assert_allclose(out, dense(params["top"], h), rtol=1e-4, atol=1e-5)
    out, _ = linen_forward(Encoder(), method="encode")(params, {}, None, BATCH)
    np.testing.assert_allclose(out, 2 * h, rtol=1e-5)


def test_linen_init_is_plain_init():
    expected = Normed().init(jax.random.key(5), X, train=False)
    for example in (X, (X,), jax.ShapeDtypeStruct(X.shape, X.dtype)):
        params, state = linen_init(Normed(), jax.random.key(5), example)
        assert spec({"params": params, **state}) == spec(expected)
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-6), {"params": params, **state}, expected
        )


def test_linen_sown_collections_do_not_grow_the_state():
    class Sowing(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.sow("losses", "l2", jnp.sum(x**2))
            self.sow("intermediates", "x", x)
            return nn.Dense(2)(x)

    params, state = linen_init(Sowing(), jax.random.key(0), X)
    assert set(state) == {"losses"}
    assert linen_forward(Sowing())(params, {}, None, BATCH)[1] == {}
    with pytest.raises(ValueError, match="leave that collection out"):
        linen_forward(Sowing())(params, state, None, BATCH)


def test_linen_rejects_whole_variables_as_state():
    variables = Plain().init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="params=variables"):
        linen_forward(Plain())(variables["params"], variables, None, BATCH)


def test_linen_with_unhashable_attributes_is_still_hashable():
    class Listed(nn.Module):
        widths: list

        def __call__(self, x):
            return x * self.widths[0]

    a, b = linen_forward(Listed([2])), linen_forward(Listed([2]))
    assert a == b
    assert hash(a) == hash(b)
    assert a != linen_forward(Listed([3]))


def test_inputs_by_key_by_function_and_whole():
    w = np.ones((3, 2), np.float32)

    def apply(params, x, scale=1.0):
        return x @ params * scale

    expected = X @ w
    by_key = stateless_forward(apply, "image")
    by_function = stateless_forward(apply, lambda batch: batch["image"])
    by_tuple = stateless_forward(apply, lambda batch: (batch["image"], 3.0))
    by_index = stateless_forward(apply, 0)
    np.testing.assert_allclose(by_key(w, {}, None, BATCH)[0], expected)
    np.testing.assert_allclose(by_function(w, {}, None, BATCH)[0], expected)
    np.testing.assert_allclose(by_tuple(w, {}, None, BATCH)[0], 3 * expected)
    np.testing.assert_allclose(by_index(w, {}, None, (X, 1))[0], expected)
    whole = stateless_forward(lambda params, batch: batch["image"] @ params)
    out, state = whole(w, {"kept": 1}, None, BATCH)
    np.testing.assert_allclose(out, expected)
    assert state == {"kept": 1}
    assert by_key == stateless_forward(apply, "image")
    assert hash(by_key) == hash(stateless_forward(apply, "image"))


def test_linen_takes_several_inputs():
    params, _ = linen_init(Plain(), jax.random.key(0), (X, X))
    forward = linen_forward(Plain(), input=lambda batch: (batch["image"], batch["label"]))
    (out, label), _ = forward(params, {}, None, BATCH)
    np.testing.assert_allclose(out, dense(params["Dense_0"], X), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(label, BATCH["label"])


def test_missing_input_names_what_there_is():
    with pytest.raises(KeyError, match=r"no entry 'image'.*\['id', 'x'\].*input="):
        linen_forward(Plain())({}, {}, None, {"x": X, "id": 0})
    with pytest.raises(KeyError, match=r"no entry 'image'.*tuple"):
        linen_forward(Plain())({}, {}, None, (X,))


def test_nnx_call_and_input():
    module = NNXNormed(nnx.Rngs(0))
    forward, params, state = nnx_forward(
        module, input=lambda batch: (batch["image"], 2.0), call=lambda m, x, c: c * m.dense(x)
    )
    out, _ = forward(params, state, None, BATCH)
    expected = 2 * (X @ np.asarray(module.dense.kernel) + np.asarray(module.dense.bias))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_nnx_trained_values_can_be_written_back():
    """Fails if the parameters that were handed out are the module's own and change with it."""
    module = NNXNormed(nnx.Rngs(0))
    _, params, state = nnx_forward(module)
    nnx.update(module, jax.tree.map(lambda p: p + 1, params), state)
    np.testing.assert_allclose(module.dense.bias, np.ones(4))
    np.testing.assert_allclose(params["dense"]["bias"][...], np.zeros(4))


def test_importing_it_imports_no_flax():
    code = "import sys, famus_jax.forward; sys.exit('flax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- features ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_features_are_what_the_head_reads(name):
    """Logits = features times the head's kernel plus its bias; and the same logits as without.

    Fails if the input of another layer is recorded.
    """
    model = build_model(name, 3, **({"hidden": (4, 4)} if name == "mlp" else {"widths": (2, 4)}))
    batch = {"image": jax.random.normal(jax.random.key(1), (2, 4, 4, 1))}
    params, model_state = linen_init(model, jax.random.key(0), batch["image"])
    forward = linen_forward(model, features=True)
    outputs, _ = jax.jit(forward)(params, model_state, jax.random.key(2), batch)
    head = params["head"]
    expected = outputs["features"] @ head["kernel"] + head["bias"][None, :]
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-5)
    logits, _ = linen_forward(model)(params, model_state, jax.random.key(2), batch)
    np.testing.assert_allclose(outputs["logits"], logits, rtol=1e-5, atol=1e-6)
    assert forward != linen_forward(model)
    assert hash(forward) != hash(linen_forward(model))


def test_features_need_a_dense_end():
    """Fails if the input of a layer in the middle is taken for the features."""

    class Squashed(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.softmax(nn.Dense(3)(x))

    forward = linen_forward(Squashed(), features=True)
    params, model_state = linen_init(Squashed(), jax.random.key(0), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="features=True.*ends otherwise"):
        forward(params, model_state, None, {"image": jnp.ones((2, 4))})
