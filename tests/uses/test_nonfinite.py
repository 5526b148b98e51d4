"""One bad batch costs one step, and optimizers that read the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax as famus

N, M, RATE = 6, 4, 0.1
KEY = jax.random.key(0)


def setting(method=None):
    params, model_state = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
    batch = ref.classification_batch(2, N, dtype=jnp.float32)
    meta_batch = ref.classification_batch(3, M, dtype=jnp.float32)
    problem = famus.problem(
        ref.bn_mlp, method or famus.mwnet(hidden=5, start="random", monotone=False)
    )
    return problem, params, model_state, batch, meta_batch


def broken(batch):
    return {**batch, "x": batch["x"].at[0, 0].set(jnp.inf)}


def is_finite(tree):
    return all(
        bool(jnp.isfinite(x).all())
        for x in jax.tree.leaves(tree)
        if jnp.issubdtype(x.dtype, jnp.inexact)
    )


ESTIMATORS = {
    "default": None,
    "drawn": famus.random_depth(0.5),
    "learned": famus.learned_gates("paper", target=2, lag=1, hidden=6),
    "carried": famus.all_layers(virtual_step="carried", renew_every=2, decay=0.5),
    "variate": famus.last_layers(1, control_variate_every=2),
}


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("default", "batch"),
        ("default", "meta batch"),
        ("learned", "batch"),
        *(
            pytest.param(name, where, marks=pytest.mark.slow)
            for name, where in (("learned", "meta batch"), ("drawn", "batch"), ("variate", "batch"))
        ),
    ],
)
def test_the_step_leaves_no_trace(name, where):
    """θ, its optimizer, samplers, draws and running statistics are those of before, as if the step had
    not been but for its number, which is counted.

    Fails if one of them keeps a NaN, or the next good step differs from that of a state without.
    """
    problem, params, model_state, batch, meta_batch = setting()
    tx = famus.reweight(
        problem, ESTIMATORS[name], step_size=RATE, key=KEY, model_state=model_state,
        num_examples=N, num_meta_examples=M,
        layers=famus.find_layers(ref.bn_mlp, params, model_state, KEY, batch),
    )  # fmt: skip

    @jax.jit
    def update(state, batch, meta_batch):
        return tx.update(None, state, params, batch=batch, meta_batch=meta_batch)

    state = update(tx.init(params), batch, meta_batch)[1]
    data = (broken(batch), meta_batch) if where == "batch" else (batch, broken(meta_batch))
    gradient, after = update(state, *data)
    assert not np.isfinite(float(after.info.loss)) or not np.isfinite(float(after.info.meta_loss))
    assert int(after.meta.skipped) == 1
    assert int(after.meta.step) == int(state.meta.step) + 1
    assert not is_finite(gradient) or where == "meta batch"  # for apply_if_finite behind to see

    def learned(state):
        meta = state.meta._replace(step=(), info=(), skipped=(), key=())
        return jax.tree.leaves((meta, state.model_state))

    for a, b in zip(learned(after), learned(state), strict=True):
        np.testing.assert_array_equal(a, b)
    gradient, after = update(after, batch, meta_batch)
    assert is_finite(gradient)
    assert is_finite(after.meta.theta)
    assert float(after.info.updated) == 1


def test_guard_behind():
    """`apply_if_finite` behind: only the bad step is left out. Fails if θ stays NaN, for then nothing
    would ever move again."""
    problem, params, model_state, batch, meta_batch = setting()
    tx = optax.chain(
        famus.reweight(problem, step_size=RATE, key=KEY, model_state=model_state),
        optax.apply_if_finite(optax.sgd(RATE), 100),
    )
    state, moved = tx.init(params), []
    for t in range(5):
        data = broken(batch) if t == 2 else batch
        updates, state = tx.update(None, state, params, batch=data, meta_batch=meta_batch)
        moved.append(float(optax.tree.norm(updates)) > 0)
        params = optax.apply_updates(params, updates)
    assert moved == [True, True, False, True, True]
    assert is_finite((params, optax.tree.get(state, "model_state")))


@pytest.mark.parametrize(
    "optimizer",
    [optax.sgd(RATE, momentum=0.9), pytest.param(optax.adamw(1e-2), marks=pytest.mark.slow)],
)
def test_the_whole_step_is_skipped(optimizer):
    """`skip_nonfinite`: after a bad step the run goes on as a run that never saw it.

    Fails if momentum or weight decay move the parameters in the skipped step.
    """
    problem, params, model_state, batch, meta_batch = setting(famus.l2r())
    train = famus.train_step(problem, optimizer, step_size=RATE, skip_nonfinite=True)

    def run(bad):
        state = train.init(KEY, params, model_state, batch, meta_batch)
        for t in range(4):
            if t == 2 and bad:
                state, info = train(state, broken(batch), meta_batch)
                assert not np.isfinite(float(info.loss))
            state, _ = train(state, batch, meta_batch)
        return state

    with_bad, without = run(True), run(False)
    assert int(with_bad.meta.skipped) == 1
    assert int(with_bad.step) == int(without.step) + 1
    for name in ("params", "opt_state", "model_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(with_bad, name), getattr(without, name))


def test_a_gradient_that_is_not_finite_though_the_loss_is():
    """tanh(∞) = 1: the loss is finite and the gradient 0 · ∞. Fails if only the loss is looked at."""
    forward = famus.stateless_forward(lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"], input="x")
    params = {"a": jnp.ones((3, 4)) * 0.1, "b": jnp.eye(4)[:, :2]}
    x = jax.random.normal(KEY, (8, 3))
    batch = {"x": x, "label": jnp.arange(8) % 2}
    train = famus.train_step(
        famus.problem(forward, famus.methods.cross_entropy()), optax.sgd(RATE),
        step_size=RATE, skip_nonfinite=True,
    )  # fmt: skip
    state, info = train(train.init(KEY, params, (), batch), broken(batch))
    assert np.isfinite(float(info.loss))
    jax.tree.map(np.testing.assert_array_equal, state.params, params)
    assert int(state.meta.skipped) == 1


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.chain(optax.sgd(RATE), optax.contrib.reduce_on_plateau()),
        pytest.param(optax.polyak_sgd(), marks=pytest.mark.slow),
        pytest.param(optax.lbfgs(), marks=pytest.mark.slow),
    ],
    ids=["reduce_on_plateau", "polyak", "lbfgs"],
)
def test_optimizers_that_read_the_loss(optimizer):
    """They are told the reweighted loss, and where it can be computed anew. Fails if it is the plain
    mean: the step would differ from optax's own with the loss Σ V ℓ."""
    problem, params, model_state, batch, meta_batch = setting(famus.l2r())
    train = famus.train_step(problem, optimizer, step_size=RATE)
    state = train.init(KEY, params, model_state, batch, meta_batch)
    after, info = train(state, batch, meta_batch)

    def loss(params):
        outputs, _ = ref.bn_mlp(params, model_state, None, batch)
        return info.weights @ ref.cross_entropy(outputs, batch)

    value, gradient = jax.value_and_grad(loss)(params)
    updates, _ = optax.with_extra_args_support(optimizer).update(
        gradient, optimizer.init(params), params, value=value, grad=gradient, value_fn=loss
    )
    expected = optax.apply_updates(params, updates)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6), after.params, expected
    )
