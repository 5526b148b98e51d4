"""One forward pass: J v and its transpose against jax.jvp and jax.vjp, and what they cost."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

from famus_jax import (
    layers_by,
)
from famus_jax.differentiate.linearize import linearize
from famus_jax.layers.partition import Layers

SUBSETS = [s for k in (1, 2, 3) for s in itertools.combinations(range(3), k)]


def layer_number(path):
    return int(path[5])


def normal_like(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), tree)


def forward(params, model_state, rng, batch):
    """Outputs with integers among them: the classes predicted, and a counter."""
    logits, new_state = ref.bn_mlp(params, model_state, rng, batch)
    return {
        "class": logits.argmax(1),
        "logits": logits,
        "seen": jnp.int32(5),
        "twice": 2 * logits,
    }, new_state


@pytest.fixture
def setting(x64):
    params, model_state = ref.bn_params(jax.random.key(0))
    batch = ref.classification_batch(1, 5)
    groups = layers_by(params, layer_number)
    args = (forward, params, model_state, jax.random.key(1), batch)
    return params, groups, args, linearize(*args, groups)


def floating(args):
    """w -> the floating-point outputs."""

    def function(params):
        outputs, _ = args[0](params, *args[2:])
        return [outputs["logits"], outputs["twice"]]

    return function


@pytest.mark.parametrize("active", SUBSETS, ids=str)
def test_push_and_pull(setting, active):
    """Fails if directions are placed in other groups, or BatchNorm's statistics aren't followed."""
    params, groups, args, lin = setting
    function = floating(args)
    v = groups.part(normal_like(params, 2), active)
    zeros = jax.tree.map(jnp.zeros_like, params)
    _, expected = jax.jvp(function, (params,), (groups.place(v, zeros, active),))
    for a, b in zip(lin.jvp(v, active), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)

    c = normal_like(lin.f, 3)
    _, vjp = jax.vjp(function, params)
    (expected,) = vjp(c)
    pulled = groups.part(lin.vjp(c), active)
    part = lin.vjp_part(c, active)
    for a, b, e in zip(pulled, part, groups.part(expected, active), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(b, e, rtol=1e-10, atol=1e-12)


def test_outputs_and_state(setting):
    """Integers survive, in place and dtype; fails if leaves are put back in another order."""
    _, _, args, lin = setting
    outputs, new_state = forward(*args[1:])
    assert jax.tree.structure(lin.outputs) == jax.tree.structure(outputs)
    for tree, expected in ((lin.outputs, outputs), (lin.model_state, new_state)):
        for a, b in zip(*map(jax.tree.leaves, (tree, expected)), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_forward_is_traced_once():
    """Fails if Jᵀ c or J v run the forward again."""
    calls = []

    def counted(params, model_state, rng, batch):
        calls.append(1)
        return ref.mlp(params, model_state, rng, batch)

    params = ref.mlp_params(jax.random.key(0), dtype=jnp.float32)
    batch = ref.classification_batch(1, 5, dtype=jnp.float32)
    groups = layers_by(params, layer_number)
    lin = linearize(counted, params, {}, jax.random.key(0), batch, groups)
    lin.jvp(groups.part(params, (1, 2)), (1, 2))
    lin.vjp(lin.f)
    lin.vjp_part(lin.f, (2,))
    assert len(calls) == 1


WIDE = (24, 32, 40, 16)
N = 64
PRODUCTS = [2 * N * a * b for a, b in zip(WIDE, WIDE[1:], strict=False)]


def flops(use):
    """FLOPs of `use(lin, groups)` beside one forward pass, tanh and sums included."""
    params = ref.mlp_params(jax.random.key(0), WIDE, jnp.float32)
    groups: Layers = layers_by(params, layer_number)
    batch = ref.classification_batch(1, N, WIDE[0], WIDE[-1], jnp.float32)

    def program(params, batch, v, c):
        lin = linearize(ref.mlp, params, {}, jax.random.key(0), batch, groups)
        return lin.f, use(lin, groups, v, c)

    c = [jnp.ones((N, WIDE[-1]), jnp.float32)]
    compiled = jax.jit(program).lower(params, batch, params, c).compile()
    return compiled.cost_analysis()["flops"]


@pytest.mark.parametrize(
    ("use", "products"),
    [
        (lambda lin, groups, v, c: lin.jvp(groups.part(v, (2,)), (2,)), PRODUCTS[2]),
        (
            # Group 1's tangent enters at its kernel, then passes through group 2's product.
            lambda lin, groups, v, c: lin.jvp(groups.part(v, (1, 2)), (1, 2)),
            PRODUCTS[1] + 2 * PRODUCTS[2],
        ),
        (lambda lin, groups, v, c: lin.vjp_part(c, (2,)), PRODUCTS[2]),
        (lambda lin, groups, v, c: lin.vjp_part(c, (1, 2)), PRODUCTS[1] + 2 * PRODUCTS[2]),
        # The images need no gradient: one product at the bottom, two above.
        (
            lambda lin, groups, v, c: (lin.vjp(c), lin.jvp(groups.part(v, (2,)), (2,))),
            PRODUCTS[0] + 2 * PRODUCTS[1] + 3 * PRODUCTS[2],
        ),
    ],
    ids=["push head", "push top 2", "pull head", "pull top 2", "pull all and push head"],
)
def test_cost_by_hand(use, products):
    """Fails if zeros are multiplied below the active groups, or the forward is run twice."""
    assert flops(use) == pytest.approx(sum(PRODUCTS) + products, rel=0.06)
