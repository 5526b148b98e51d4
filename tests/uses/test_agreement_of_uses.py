"""The three uses agree with each other; losses are arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax import (
    all_layers,
    find_layers,
    l2r,
    last_layers,
    learned_gates,
    mean_of,
    mwnet,
    named_layers,
    problem,
    reweight,
    reweighter,
    train_step,
)
from famus_jax.losses import softmax_cross_entropy

RATE = 0.2
N, M = 6, 4


def setting():
    params, model_state = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
    batch = ref.classification_batch(2, N, dtype=jnp.float32)
    meta_batch = ref.classification_batch(3, M, dtype=jnp.float32)
    return params, model_state, batch, meta_batch


def close(actual, expected, rtol=1e-5):
    ref.assert_close(actual, expected, rtol, floor=1e-7)


def fast_mwnet():
    """MW-Net that learns fast enough for θ to matter after one step."""
    return mwnet(
        hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(30.0, momentum=0.9)
    )


@pytest.mark.parametrize(
    ("method", "estimator"),
    [
        pytest.param(fast_mwnet(), all_layers(), marks=pytest.mark.slow),
        (fast_mwnet(), last_layers(1, virtual_step="active")),
        pytest.param(fast_mwnet(), last_layers(2, virtual_step="actual"), marks=pytest.mark.slow),
        (l2r(), last_layers(1)),
        pytest.param(
            fast_mwnet(),
            learned_gates("budget", target=1.9, virtual_step="active", lag=1),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda x: x.label if hasattr(x, "label") else x.name,
)
def test_three_uses_agree(method, estimator, recwarn):
    """Two steps of plain SGD: (a) one's own weighted loss, (b) the optax chain, (c) train_step.

    Fails if weights and gradient belong to different θ, if T = Σ weights_i ℓ_i is not the loss
    descended (n-normalized twice, say), if a use forgets to carry state, or moves the running
    statistics twice.
    """
    params, model_state, batch, meta_batch = setting()
    key, tx = jax.random.key(7), optax.sgd(RATE)
    what = problem(ref.bn_mlp, method)

    # (c) the whole step
    step = train_step(what, tx, estimator, step_size=RATE)
    state = step.init(key, params, model_state, batch, meta_batch)
    meta = jax.tree.map(jnp.copy, state.meta)
    seen = []
    for _ in range(2):
        state, info = step(state, batch, meta_batch)
        seen.append(info.weights)

    # (a) weights for one's own loss, from the same starting point
    weigh = reweighter(what, estimator, step_size=RATE)

    @jax.jit
    def own_loop(params, model_state, meta):
        weights, meta = weigh.update(meta, params, model_state, batch, meta_batch)

        def loss(params):
            outputs, new_state = ref.bn_mlp(params, model_state, None, batch)
            return (weights * ref.cross_entropy(outputs, batch)).sum(), new_state

        gradient, model_state = jax.grad(loss, has_aux=True)(params)
        params = jax.tree.map(lambda w, g: w - RATE * g, params, gradient)
        return params, model_state, meta, weights

    # (b) first in an optax chain
    first = reweight(
        what, estimator, step_size=RATE, key=key, model_state=model_state, num_examples=N,
        num_meta_examples=M, layers=find_layers(ref.bn_mlp, params, model_state, key, batch),
    )  # fmt: skip
    chain = optax.chain(first, tx)
    opt_state = chain.init(params)
    opt_state = (opt_state[0]._replace(meta=meta), *opt_state[1:])

    @jax.jit
    def optax_loop(params, opt_state):
        updates, opt_state = chain.update(
            None, opt_state, params, batch=batch, meta_batch=meta_batch
        )
        return optax.apply_updates(params, updates), opt_state

    a, b = (params, model_state, meta), (params, opt_state)
    for i in range(2):
        *a, weights = own_loop(*a)
        b = optax_loop(*b)
        close(weights, seen[i])
    close(a[0], state.params)
    close(b[0], state.params)
    close(a[1], state.model_state)
    close(optax.tree.get(b[1], "model_state"), state.model_state)
    close(a[2].theta, state.meta.theta)
    close(b[1][0].meta.theta, state.meta.theta)
    for told in (a[2].info, optax.tree.get(b[1], "info")):
        close(told, info._replace(weights=()))


def test_reweighter_takes_alpha_now():
    """`step_size=` of the call wins over the constructor's; a schedule sees the step."""
    params, model_state, batch, meta_batch = setting()
    call = (params, model_state, batch, meta_batch)
    what, results = problem(ref.bn_mlp, fast_mwnet()), []
    for at_construction, at_call in (
        (RATE, None),
        (99.0, RATE),
        (lambda step: RATE * (step + 1), None),
    ):
        weigh = reweighter(what, all_layers(), step_size=at_construction)
        state = weigh.init(jax.random.key(0), *call)
        update = jax.jit(lambda s, w=weigh, r=at_call: w.update(s, *call, step_size=r))
        _, state = update(state)
        results.append(float(state.info.theta_norm))
    assert results == pytest.approx([results[0]] * 3, rel=1e-5)


def multi_label(outputs, batch):
    return optax.sigmoid_binary_cross_entropy(outputs, batch["tags"]).sum(1)


def by_hand_multi_label(outputs, batch):
    y = batch["tags"]
    return -(
        y * jnp.log(1 / (1 + jnp.exp(-outputs))) + (1 - y) * jnp.log(1 / (1 + jnp.exp(outputs)))
    ).sum(1)


def regression(outputs, batch):
    return ((outputs["mean"] - batch["target"]) ** 2).sum(1)


def two_headed(params, model_state, rng, batch):
    outputs, model_state = ref.mlp(params, model_state, rng, batch)
    return {"mean": outputs, "count": jnp.int32(outputs.shape[0])}, model_state


TASKS = {
    "multi-label": (ref.mlp, multi_label, by_hand_multi_label),
    "regression": (two_headed, regression, regression),
}


@pytest.mark.parametrize("task", TASKS)
def test_losses_are_arguments(task, x64):
    """Sigmoid multi-label and least squares: weights and θ' of the definition, both uses.

    Fails if cross-entropy is assumed anywhere: in the weights' input, the meta loss, or the labels'
    key; or if the outputs must be one array.
    """
    forward, loss, by_hand = TASKS[task]
    params = ref.mlp_params(jax.random.key(1))
    batch, meta_batch = ref.classification_batch(2, N), ref.classification_batch(3, M)
    for i, b in enumerate((batch, meta_batch)):
        size = b.pop("label").shape[0]
        rng = np.random.default_rng(i)
        b["tags"] = jnp.asarray(rng.integers(0, 2, (size, 3)), jnp.float64)
        b["target"] = jnp.asarray(rng.normal(size=(size, 3)))
    theta = ref.mwnet_theta(jax.random.key(5))
    method = mwnet(loss, hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(1.0))
    what = problem(forward, method)
    weigh = reweighter(what, all_layers(), step_size=RATE)
    state = weigh.init(jax.random.key(0), params, {}, batch, meta_batch)._replace(theta=theta)
    weights, new = weigh.update(state, params, {}, batch, meta_batch)

    gradient = ref.meta_gradient(
        theta, forward, ref.mwnet("sum", by_hand), ref.mean_loss(by_hand), params, {}, None,
        batch, meta_batch, RATE, set(params),
    )  # fmt: skip
    new_theta = jax.tree.map(lambda t, g: t - g, theta, gradient)
    losses = by_hand(forward(params, {}, None, batch)[0], batch)
    close(new.theta, new_theta, 1e-9)
    close(weights, ref.mwnet_weights(new_theta, losses, "sum"), 1e-9)

    tx = reweight(what, all_layers(), step_size=RATE, key=jax.random.key(0), model_state={})
    opt_state = tx.init(params)
    opt_state = opt_state._replace(meta=opt_state.meta._replace(theta=theta))
    updates, _ = tx.update(None, opt_state, params, batch=batch, meta_batch=meta_batch)
    args = (forward, ref.mwnet("sum", by_hand), params, new_theta, {}, None, batch)
    close(updates, ref.training_gradient(*args), 1e-9)


@pytest.mark.slow
def test_another_meta_loss():
    """`meta_loss=` replaces the mean of the example loss; fails if it is ignored."""
    params, model_state, batch, meta_batch = setting()

    def half(outputs, batch):
        return 0.5 * softmax_cross_entropy(outputs, batch).mean()

    norms = []
    for meta_loss in (None, half):
        what = problem(ref.bn_mlp, fast_mwnet(), meta_loss=meta_loss)
        weigh = reweighter(what, all_layers(), step_size=RATE)
        state = weigh.init(jax.random.key(0), params, model_state, batch, meta_batch)
        _, state = weigh.update(state, params, model_state, batch, meta_batch)
        norms.append(float(state.info.theta_norm))
    assert norms[1] == pytest.approx(norms[0] / 2, rel=1e-5)


@pytest.mark.slow
def test_dropout_sees_one_mask():
    """The weights of (a) belong to the losses of the forward with the same `rng`.

    Fails if the key given is not the one used.
    """
    params = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
    _, _, batch, meta_batch = setting()
    what = problem(ref.dropout_mlp, fast_mwnet())
    weigh = reweighter(what, named_layers("layer2"), step_size=RATE)
    state = weigh.init(jax.random.key(0), params, {}, batch, meta_batch)
    rng = jax.random.key(11)
    weights, state = weigh.update(state, params, {}, batch, meta_batch, rng=rng)
    losses = ref.cross_entropy(ref.dropout_mlp(params, {}, rng, batch)[0], batch)
    close(weights, ref.mwnet_weights(state.theta, losses, "sum"))


def test_default_losses():
    """Cross-entropy of logits, bare or under "logits"; `mean_of` is a mean."""
    batch = ref.classification_batch(0, 5, dtype=jnp.float32)
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    expected = ref.cross_entropy(logits, batch)
    close(softmax_cross_entropy(logits, batch), expected)
    close(softmax_cross_entropy({"logits": logits, "features": None}, batch), expected)
    close(mean_of(softmax_cross_entropy)(logits, batch), expected.sum() / 5)
