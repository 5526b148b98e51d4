"""The loss of mixed batches, against its definition written out example by example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import famus_jax as famus
from famus_jax.methods import mixmatch, mixmatch_meta_loss
from famus_jax.methods.mixmatch import prior_penalty


def batch_of(seed, n=6, classes=3, labeled=None, lambda_u=5.0):
    rng = np.random.default_rng(seed)
    target = rng.dirichlet(np.ones(classes), n)
    batch = {"x": jnp.asarray(rng.normal(size=(n, 3))), "target": jnp.asarray(target)}
    if labeled is not None:
        batch["labeled"] = jnp.asarray(labeled, jnp.float64)
        batch["lambda_u"] = jnp.asarray(lambda_u, jnp.float64)
    return batch


def written_out(weights_of, outputs, batch, prior_weight):
    """T and V by loops, in numpy (weights_of: losses -> V before it is normalized)."""
    outputs, target = np.asarray(outputs), np.asarray(batch["target"])
    labeled = np.asarray(batch.get("labeled", np.ones(len(target))))
    p = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    losses = np.array(
        [
            -(q * np.log(pi)).sum() if is_labeled else ((pi - q) ** 2).mean()
            for pi, q, is_labeled in zip(p, target, labeled)
        ]
    )
    v = weights_of(losses)
    v = v / v.sum()
    n, n_x = len(losses), labeled.sum()
    total = n / n_x * sum(v[i] * losses[i] for i in range(n) if labeled[i])
    if n_x < n:
        rest = sum(v[i] * losses[i] for i in range(n) if not labeled[i])
        total += float(batch["lambda_u"]) * n / (n - n_x) * rest
    mean = p.mean(0)
    return total + prior_weight * (np.log(1 / 3 / mean) / 3).sum(), v


@pytest.mark.parametrize("labeled", [None, (1, 0, 1, 1, 0, 0), (1, 0, 0, 0, 0, 0)], ids=str)
@pytest.mark.parametrize("reweight", [True, False], ids=["weights", "none"])
def test_loss_is_its_definition(x64, labeled, reweight):
    """Fails if a part is not counted by its own size, or V is normalized in each part alone."""
    batch, outputs = batch_of(0, labeled=labeled), jax.random.normal(jax.random.key(1), (6, 3))
    method = mixmatch(reweight=reweight, prior_weight=0.7)
    theta = reference.mwnet_theta(jax.random.key(2)) if reweight else ()
    value, weights = method.loss(theta, outputs, batch)

    def weights_of(losses):
        if not reweight:
            return np.ones_like(losses)
        return np.asarray(reference.mwnet_weights(theta, jnp.asarray(losses), "n"))

    expected, v = written_out(weights_of, outputs, batch, 0.7)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    np.testing.assert_allclose(weights, v, rtol=1e-10)
    assert method.has_theta == reweight


def test_everything_labeled_without_weights_is_mean_cross_entropy(x64):
    """One-hot targets, all labeled, no penalty: plain training."""
    outputs = jax.random.normal(jax.random.key(1), (6, 3))
    labels = jnp.array([0, 1, 2, 0, 1, 2])
    batch = {"target": jax.nn.one_hot(labels, 3, dtype=outputs.dtype), "labeled": jnp.ones(6)}
    value, _ = mixmatch(reweight=False, prior_weight=0.0).loss((), outputs, batch)
    plain = reference.cross_entropy(outputs, {"label": labels}).mean()
    np.testing.assert_allclose(value, plain, rtol=1e-10)
    np.testing.assert_allclose(mixmatch_meta_loss(0.0)(outputs, batch), plain, rtol=1e-10)


def test_penalty_by_hand(x64):
    """Mean prediction (3/4, 1/4): (log(2/3) + log 2) / 2. Uniform: 0."""
    logits = jnp.log(jnp.array([[0.9, 0.1], [0.6, 0.4]]))
    np.testing.assert_allclose(prior_penalty(logits), np.log(4 / 3) / 2, rtol=1e-10)
    np.testing.assert_allclose(prior_penalty(jnp.zeros((4, 5))), 0, atol=1e-12)


@pytest.mark.parametrize("active", [("layer0", "layer1", "layer2"), ("layer2",)], ids=len)
def test_meta_gradient_is_second_order(x64, active):
    """∇_θ L_val through the virtual step, against reverse over reverse of the definition."""
    params = reference.mlp_params(jax.random.key(0))
    batch, meta = batch_of(3, labeled=(1, 0, 1, 1, 0, 0)), batch_of(4)
    theta, method = reference.mwnet_theta(jax.random.key(5)), mixmatch()
    layers = famus.find_layers(reference.mlp, params, (), jax.random.key(0), batch)
    problem = famus.Problem(reference.mlp, method, method.l_val, layers)
    inputs = famus.Inputs(params, (), jax.random.key(0), batch, meta, 0.3)
    numbers = tuple(sorted({int(name[5:6]) for name in active}))
    got = famus.fused_meta_gradient(problem, theta, inputs, active=numbers)

    def loss(theta, outputs, batch):
        return method.loss(theta, outputs, batch)[0]

    want = reference.meta_gradient(
        theta, reference.mlp, loss, method.l_val, params, (), None, batch, meta, 0.3, set(active)
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)


def test_a_batch_without_soft_targets_is_refused():
    with pytest.raises(ValueError, match=r'reads batch\["target"\].*mix_training_batch'):
        mixmatch().loss((), jnp.zeros((2, 3)), {"label": jnp.zeros(2, jnp.int32)})
