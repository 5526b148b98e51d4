"""Rematerialized and half-precision forwards: what stays the same, and what is spared."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax as famus
from famus_jax import (
    compute_in,
    rematerialize,
)
from famus_jax.models import build_model

ALPHA = 0.3


def close(actual, expected, rtol):
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


def conv_net():
    model = build_model("cnn", 3, widths=(4, 8))
    keys = jax.random.split(jax.random.key(0), 3)

    def batch(key, n):
        image = jax.random.normal(key, (n, 8, 8, 3))
        return {"image": image, "label": jnp.arange(n) % 3}

    params, state = famus.linen_init(model, keys[0], jnp.zeros((1, 8, 8, 3)))
    return famus.linen_forward(model), params, state, batch(keys[1], 12), batch(keys[2], 6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "keep",
    [pytest.param(("dot_general",), marks=pytest.mark.slow), ()],
    ids=["products", "nothing"],
)
@pytest.mark.parametrize("active", [(0, 1, 2), (2,)], ids=str)
def test_rematerialized_gradient_is_the_definition(keep, active):
    """Against reverse over reverse without it, BatchNorm and all; fails if a dropped value is not
    computed again from the same inputs."""
    params, state = ref.bn_params(jax.random.key(1))
    batch, meta = ref.classification_batch(2, 6), ref.classification_batch(3, 4)
    theta = ref.mwnet_theta(jax.random.key(5))
    forward = rematerialize(ref.bn_mlp, keep)
    loss = famus.mean_of(famus.losses.softmax_cross_entropy)
    groups = famus.layers_by(params, lambda path: int(path[5]))
    problem = famus.Problem(
        forward, famus.mwnet(hidden=7, start="random", monotone=False), loss, groups
    )
    point = famus.Inputs(params, state, jax.random.key(9), batch, meta, ALPHA)
    args = (ref.bn_mlp, ref.mwnet("sum"), ref.mean_loss(ref.cross_entropy), params, state)
    names = {f"layer{i}" for i in active}
    expected = ref.meta_gradient(theta, *args, jax.random.key(9), batch, meta, ALPHA, names)
    close(famus.fused_meta_gradient(problem, theta, point, active=active), expected, 1e-9)


def residual_bytes(forward, params, state, batch):
    """What the backward pass keeps from the forward pass, parameters and batch not counted."""

    def outputs(params):
        return forward(params, state, jax.random.key(0), batch)[0]

    given = {id(x) for x in jax.tree.leaves((params, state, batch))}
    kept = jax.tree.leaves(jax.vjp(outputs, params)[1])
    return sum(x.nbytes for x in kept if id(x) not in given and hasattr(x, "nbytes"))


def test_rematerialization_keeps_less():
    """Fails if the policy keeps everything, as without it."""
    forward, params, state, batch, _ = conv_net()
    usual = residual_bytes(forward, params, state, batch)
    products = residual_bytes(rematerialize(forward), params, state, batch)
    nothing = residual_bytes(rematerialize(forward, ()), params, state, batch)
    images = batch["image"].nbytes
    # Convolutions 8x8x4 and 4x4x8 (stride 2), twelve images, four bytes; the logits.
    outputs = 12 * 4 * (8 * 8 * 4 + 4 * 4 * 8 + 3)
    assert products <= 1.5 * (outputs + images)
    assert products <= 0.5 * usual
    assert nothing <= 1.1 * images + sum(x.nbytes for x in jax.tree.leaves((params, state)))


def test_computation_is_in_bfloat16_and_the_rest_is_not():
    """Convolutions in bfloat16; outputs, gradients and running statistics in float32. Fails if the
    parameters are promoted back, or the statistics are rounded."""
    forward, params, state, batch, _ = conv_net()
    half = compute_in(forward)
    jaxpr = jax.make_jaxpr(lambda p: half(p, state, jax.random.key(0), batch))(params)
    text = str(jaxpr)
    convolutions = [line for line in text.splitlines() if " conv_general_dilated[" in line]
    assert len(convolutions) == 2
    assert all(":bf16[" in line for line in convolutions)
    outputs, new_state = half(params, state, jax.random.key(0), batch)
    assert outputs.dtype == jnp.float32
    assert [x.dtype for x in jax.tree.leaves(new_state)] == [
        x.dtype for x in jax.tree.leaves(state)
    ]
    gradient = jax.grad(lambda p: half(p, state, jax.random.key(0), batch)[0].sum())(params)
    assert {x.dtype for x in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.float32)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator", [famus.all_layers(), famus.last_layers(1, virtual_step="active")]
)
def test_half_precision_weight_gradient(estimator):
    """∂L_val/∂V in bfloat16 against float32 by the definition: cosine at least 0.995.

    Fails if v, its products or the parameters are rounded on the way (they would lose more).
    """
    from experiments.agreement.gradients import weight_gradient

    forward, params, state, batch, meta = conv_net()
    rng, weights = jax.random.key(4), jnp.full(12, 1 / 12)
    groups = famus.find_layers(forward, params, state, rng, batch)
    loss = famus.mean_of(famus.losses.softmax_cross_entropy)
    problem = famus.Problem(compute_in(forward), famus.mwnet(), loss, groups)
    point = famus.Inputs(params, state, rng, batch, meta, ALPHA)
    half = weight_gradient(problem, estimator, point, weights, rng)

    def l_val(weights):
        def training(p):
            losses = optax.softmax_cross_entropy_with_integer_labels(
                forward(p, state, rng, batch)[0], batch["label"]
            )
            return (weights * losses).sum()

        gradient = jax.grad(training)(params)
        kept = groups.all if estimator == famus.all_layers() else groups.all[-1:]
        closed = jax.tree.map(jnp.zeros_like, params)
        step = groups.place(groups.part(gradient, kept), closed, kept)
        ahead = jax.tree.map(lambda w, g: w - ALPHA * g, params, step)
        return famus.losses.softmax_cross_entropy(forward(ahead, state, rng, meta)[0], meta).mean()

    expected = jax.grad(l_val)(weights)
    cosine = jnp.vdot(half, expected) / jnp.linalg.norm(half) / jnp.linalg.norm(expected)
    assert float(cosine) >= 0.995


def test_equal_arguments_are_one_forward():
    """Static arguments of `jax.jit`: fails if two wrappers of one forward compile twice."""
    forward = conv_net()[0]
    assert compute_in(forward) == compute_in(forward)
    assert hash(rematerialize(forward)) == hash(rematerialize(forward))
    assert compute_in(forward) != compute_in(forward, jnp.float16)
