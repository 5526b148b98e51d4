"""`reweight` among optax's own wrappers, and flax's `nnx.Optimizer`."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax as famus

RATE, N, M = 0.2, 6, 4


def setting(**how):
    params, model_state = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
    batch = ref.classification_batch(2, N, dtype=jnp.float32)
    meta_batch = ref.classification_batch(3, M, dtype=jnp.float32)
    problem = famus.problem(ref.bn_mlp, famus.l2r())
    tx = famus.reweight(
        problem, step_size=RATE, key=jax.random.key(5), model_state=model_state, **how
    )
    return tx, params, {"batch": batch, "meta_batch": meta_batch}


def weighted_gradient(tx, params, data):
    return jax.jit(lambda s: tx.update(None, s, params, **data)[0])(tx.init(params))


def leaves_close(a, b):
    chex.assert_trees_all_close(a, b, rtol=1e-5, atol=1e-7)


def test_no_array_of_a_batchs_size():
    """Fails if the state holds weights, a batch, or an index per example: batches of two odd sizes
    leave the very same shapes, and none has a batch's size in it."""
    tx, params, _ = setting()
    state, shapes = tx.init(params), []
    for n in (37, 41):
        data = {
            "batch": ref.classification_batch(2, n, dtype=jnp.float32),
            "meta_batch": ref.classification_batch(3, 43, dtype=jnp.float32),
        }
        _, state = jax.eval_shape(lambda s, d=data: tx.update(None, s, params, **d), state)
        shapes.append([x.shape for x in jax.tree.leaves(state)])
        assert not {37, 41, 43} & {size for shape in shapes[-1] for size in shape}
    assert shapes[0] == shapes[1]


def test_behind_masked_and_multi_transform():
    """Fails if what stands behind gets another gradient than `reweight` alone gives."""
    tx, params, data = setting()
    expected = weighted_gradient(tx, params, data)
    is_head = {name: name == "layer2" for name in params}
    masked = optax.chain(tx, optax.masked(optax.scale(2.0), is_head))
    updates, _ = masked.update(None, masked.init(params), params, **data)
    leaves_close(updates["layer0"], expected["layer0"])
    leaves_close(updates["layer2"], jax.tree.map(lambda g: 2 * g, expected["layer2"]))
    labels = {name: "head" if name == "layer2" else "body" for name in params}
    parts = {"head": optax.sgd(1.0), "body": optax.set_to_zero()}
    multi = optax.chain(tx, optax.multi_transform(parts, labels))
    updates, _ = multi.update(None, multi.init(params), params, **data)
    leaves_close(updates["layer2"], jax.tree.map(lambda g: -g, expected["layer2"]))
    assert all(not np.any(x) for x in jax.tree.leaves(updates["layer0"]))


@pytest.mark.parametrize("around", ["masked", "multi_transform"])
def test_around_it_they_are_refused(around):
    """Fails if a wrapper that hides parameters gives somebody else's error, or none."""
    tx, params, _ = setting()
    if around == "masked":
        wrapped = optax.masked(tx, {name: name == "layer2" for name in params})
    else:
        labels = {name: "a" if name == "layer2" else "b" for name in params}
        wrapped = optax.multi_transform({"a": tx, "b": optax.sgd(1.0)}, labels)
    with pytest.raises(ValueError, match="put it behind"):
        wrapped.init(params)


def test_multi_steps_behind():
    """Two micro-batches are averaged. Fails if `reweight` sees only the last of them."""
    tx, params, data = setting()
    other = {
        "batch": ref.classification_batch(8, N, dtype=jnp.float32),
        "meta_batch": data["meta_batch"],
    }
    first, state = tx.update(None, tx.init(params), params, **data)
    second, _ = tx.update(None, state, params, **other)
    mean = jax.tree.map(lambda a, b: -(a + b) / 2, first, second)
    multi = optax.MultiSteps(optax.sgd(1.0), every_k_schedule=2)
    chain = optax.chain(tx, optax.GradientTransformationExtraArgs(multi.init, multi.update))
    state = chain.init(params)
    _, state = chain.update(None, state, params, **data)
    updates, _ = chain.update(None, state, params, **other)
    leaves_close(updates, mean)


def test_donated_from_the_first_step():
    """Fails if the state holds an array of the caller's, or one array twice."""
    tx, params, data = setting()
    chain = optax.chain(tx, optax.sgd(RATE, momentum=0.9))
    state = chain.init(params)
    start = jax.tree.map(jnp.copy, params)

    def step(params, state):
        updates, state = chain.update(None, state, params, **data)
        return optax.apply_updates(params, updates), state

    donating, plain = jax.jit(step, donate_argnums=(0, 1)), jax.jit(step)
    expected = plain(start, chain.init(start))
    got = donating(params, state)
    leaves_close(got[0], expected[0])
    got, expected = donating(*got), plain(*expected)
    leaves_close(got[0], expected[0])
    weighted_gradient(tx, start, data)  # the key and the model state given at the start are whole


@pytest.mark.slow
def test_inject_hyperparams_needs_no_static_arguments():
    """Fails if a changed step size does not reach the virtual step: at half of it, as if made so."""
    params, model_state = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
    _, _, data = setting()
    method = famus.mwnet(hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(30.0))
    problem = famus.problem(ref.bn_mlp, method)
    common = {"key": jax.random.key(5), "model_state": model_state}
    tx = optax.inject_hyperparams(famus.reweight)(problem, step_size=1.0, **common)
    state = tx.init(params)
    state.hyperparams["step_size"] = jnp.asarray(0.5)
    updates, state = jax.jit(lambda s: tx.update(None, s, params, **data))(state)
    made_so = famus.reweight(problem, step_size=0.5, **common)
    expected, other = made_so.update(None, made_so.init(params), params, **data)
    leaves_close(updates, expected)
    leaves_close(state.inner_state.meta.theta, other.meta.theta)


@pytest.mark.slow
def test_apply_if_finite_around():
    """It looks at the updates that come in, so it is given the plain gradient of the same batch.

    Fails if a batch that gives NaN moves anything: the next good one must be as if it never was.
    """
    tx, params, data = setting()
    chain = optax.apply_if_finite(optax.chain(tx, optax.sgd(RATE)), max_consecutive_errors=5)
    bad = dict(data, batch={**data["batch"], "x": data["batch"]["x"].at[0, 0].set(jnp.nan)})
    _, model_state = ref.bn_params(jax.random.key(1), dtype=jnp.float32)

    def plain_gradient(batch):
        def loss(params):
            return ref.cross_entropy(ref.bn_mlp(params, model_state, None, batch)[0], batch).mean()

        return jax.grad(loss)(params)

    def update(state, data):
        return chain.update(plain_gradient(data["batch"]), state, params, **data)

    updates, state = update(chain.init(params), bad)
    assert all(np.all(np.asarray(x) == 0) for x in jax.tree.leaves(updates))
    updates, state = update(state, data)
    expected, _ = update(chain.init(params), data)
    leaves_close(updates, expected)
    assert any(np.any(x) for x in jax.tree.leaves(expected))


def test_checkpoint_of_plain_arrays(tmp_path):
    """With a plain key every leaf is a numpy array's equal. Fails if something else hides in it."""
    params, model_state = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
    _, _, data = setting()
    problem = famus.problem(ref.bn_mlp, famus.mwnet(hidden=7, start="random", monotone=False))
    tx = famus.reweight(problem, step_size=RATE, key=jax.random.PRNGKey(5), model_state=model_state)
    _, state = tx.update(None, tx.init(params), params, **data)
    leaves, treedef = jax.tree.flatten(state)
    np.savez(tmp_path / "state.npz", *map(np.asarray, leaves))
    with np.load(tmp_path / "state.npz") as file:
        restored = jax.tree.unflatten(treedef, [jnp.asarray(file[k]) for k in file.files])
    leaves_close(tx.update(None, restored, params, **data), tx.update(None, state, params, **data))


def test_missing_arguments_are_named():
    """Fails if what a kind needs to start is not named."""
    params, model_state = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
    problem = famus.problem(ref.bn_mlp, famus.mwnet())
    common = {"step_size": RATE, "key": jax.random.key(5), "model_state": model_state}
    with pytest.raises(ValueError, match="layers="):
        famus.reweight(problem, famus.random_layers(1), **common).init(params)
    layers = famus.layers_by(
        params, {n: {k: i for k in p} for i, (n, p) in enumerate(params.items())}
    )
    gates = famus.learned_gates("budget", target=2.6, lag=1)
    with pytest.raises(ValueError, match="num_examples="):
        famus.reweight(problem, gates, layers=layers, **common).init(params)
    famus.reweight(problem, gates, layers=layers, num_examples=8, **common).init(params)
    carried = famus.l2r()._replace(reset_each_batch=False, zero_virtual_step=False)
    with pytest.raises(ValueError, match="num_examples="):
        famus.reweight(famus.problem(ref.bn_mlp, carried), **common).init(params)


def test_nnx_optimizer():
    """`flax.nnx.Optimizer` around the chain: the weighted gradient of the layer-wise form moves it.

    Fails if the optimizer hands on other parameters than the module's, or drops the batches.
    """
    nnx = pytest.importorskip("flax.nnx")
    module = nnx.Linear(3, 3, rngs=nnx.Rngs(0))
    forward, _, model_state = famus.nnx_forward(module, input="x")
    problem = famus.problem(forward, famus.l2r())
    data = {
        "batch": ref.classification_batch(2, N, dtype=jnp.float32),
        "meta_batch": ref.classification_batch(3, M, dtype=jnp.float32),
    }
    tx = optax.chain(
        famus.reweight(problem, step_size=RATE, key=jax.random.key(5), model_state=model_state),
        optax.sgd(RATE),
    )
    optimizer = nnx.Optimizer(module, tx, wrt=nnx.Param)
    x, y = data["batch"]["x"], jax.nn.one_hot(data["batch"]["label"], 3)
    m, t = data["meta_batch"]["x"], jax.nn.one_hot(data["meta_batch"]["label"], 3)
    kernel, bias = np.array(module.kernel[...]), np.array(module.bias[...])

    def residual(x, y):
        return np.asarray(jax.nn.softmax(x @ kernel + bias[None, :]) - y)

    # L2R by hand, a linear model: weight ∝ max(<mean trusted gradient, example's gradient>, 0).
    g_val = np.mean([np.outer(np.append(a, 1), r) for a, r in zip(m, residual(m, t))], axis=0)
    own = [np.outer(np.append(a, 1), r) for a, r in zip(x, residual(x, y))]
    weights = np.maximum([np.vdot(g, g_val) for g in own], 0)
    step = np.tensordot(weights / weights.sum(), own, axes=1)

    nothing = jax.tree.map(jnp.zeros_like, nnx.state(module, nnx.Param))
    optimizer.update(module, nothing, **data)
    np.testing.assert_allclose(module.kernel[...], kernel - RATE * step[:3], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(module.bias[...], bias - RATE * step[3], rtol=1e-4, atol=1e-6)


def test_nnx_optimizer_with_batchnorm_and_dropout():
    """Three compiled steps of `flax.nnx.Optimizer` are those of the chain by itself; its model state,
    written back, makes the module what the evaluation forward is.

    Fails if bare arrays, which the optimizer hands on in place of NNX's variables, are taken for
    another model state, or if the running statistics don't move, or not by the documented way back.
    """
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.body, self.head = nnx.Linear(3, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
            self.norm, self.drop = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.head(self.drop(self.norm(self.body(x))))

    module = Net(nnx.Rngs(0))
    forward, params, model_state = famus.nnx_forward(module, input="x")
    data = {
        "batch": ref.classification_batch(2, N, dtype=jnp.float32),
        "meta_batch": ref.classification_batch(3, M, dtype=jnp.float32),
    }
    chain = optax.chain(
        famus.reweight(
            famus.problem(forward, famus.l2r()),
            step_size=RATE,
            key=jax.random.key(5),
            model_state=model_state,
        ),
        optax.sgd(RATE),
    )
    optimizer = nnx.Optimizer(module, chain, wrt=nnx.Param)
    nothing = jax.tree.map(jnp.zeros_like, params)
    by_optimizer = nnx.jit(lambda module, optimizer: optimizer.update(module, nothing, **data))

    @jax.jit
    def by_chain(params, state):
        updates, state = chain.update(None, state, params, **data)
        return optax.apply_updates(params, updates), state

    state = chain.init(params)
    first_mean = (data["batch"]["x"] @ params["body"]["kernel"][...]).mean(0)
    for step in range(3):
        by_optimizer(module, optimizer)
        params, state = by_chain(params, state)
        if not step:
            mean = state[0].model_state["norm"]["mean"][...]
            np.testing.assert_allclose(mean, 0.01 * first_mean, rtol=1e-4, atol=1e-7)
    got, expected = (jax.tree.leaves(p) for p in (nnx.state(module, nnx.Param), params))
    leaves_close(got, expected)

    nnx.update(module, nnx.as_pure(optax.tree.get(optimizer.opt_state, "model_state")))
    module.eval()
    evaluate = dataclasses.replace(forward, train=False)
    outputs, _ = evaluate(params, state[0].model_state, None, data["batch"])
    np.testing.assert_allclose(module(data["batch"]["x"]), outputs, rtol=1e-5, atol=1e-6)
    assert np.any(np.abs(module.norm.mean[...]) > 0)
