"""Co-teaching against numbers worked by hand, subsets of plain losses, and two plain runs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax import parallel, problem, train_step
from famus_jax.forward import pair
from famus_jax.methods import co_teaching, cross_entropy
from famus_jax.methods.co_teaching import forget_rate

N = 8


def networks(dtype=jnp.float64):
    (one, state), (two, _) = (ref.bn_params(jax.random.key(k), dtype=dtype) for k in (1, 2))
    return (one, two), (state, jax.tree.map(jnp.copy, state))


def batch(i, dtype=jnp.float64):
    return {**ref.classification_batch(100 + i, N, dtype=dtype), "step": np.int32(i)}


def test_by_hand(x64):
    """Shares of the label .9 .5 .2 .4 under the first network and .3 .8 .7 .1 under the second, half of
    them kept: the first finds 0 and 1 easy, the second 1 and 2. So T = −½ (log .5 + log .2) − ½ (log .3
    + log .8).

    Fails if a network learns what it finds easy itself, or large losses are kept.
    """
    shares = jnp.array([[0.9, 0.3], [0.5, 0.8], [0.2, 0.7], [0.4, 0.1]])
    logits = jnp.log(jnp.stack([shares, 1 - shares], -1))
    given = {"label": jnp.zeros(4, jnp.int32), "step": np.int32(0)}
    value, weights = co_teaching(0.5).loss((), {"pair": logits}, given)
    expected = -(np.log(0.5) + np.log(0.2) + np.log(0.3) + np.log(0.8)) / 2
    assert float(value) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(weights, [0.25, 0.5, 0.25, 0])


def test_the_rate_rises():
    """To the noise rate at the ramp's end. Fails if it starts there, or goes on."""
    rates = [float(forget_rate(t, 0.4, 8)) for t in (0, 2, 8, 1000)]
    np.testing.assert_allclose(rates, [0, 0.1, 0.4, 0.4], rtol=1e-6)
    assert float(forget_rate(0, 0.4, 0)) == pytest.approx(0.4)


@pytest.mark.parametrize(("step", "kept"), [(0, 8), (2, 7), (4, 6), (20, 4)])
def test_the_gradient_is_that_of_the_peers_subset(step, kept, x64):
    """Each network's gradient is that of the plain mean over the examples of its peer's K smallest
    losses, taken by numpy's sort. Fails if K is wrong at a step, or the mean is over all n."""
    params, state = networks()
    given = {**batch(0), "step": np.int32(step)}
    method, forward = co_teaching(0.5, ramp=8), pair(ref.bn_mlp)

    def total(params):
        return method.loss((), forward(params, state, None, given)[0], given)[0]

    def losses(k, w):
        return ref.cross_entropy(ref.bn_mlp(w, state[k], None, given)[0], given)

    found = jax.grad(total)(params)
    for k in (0, 1):
        easy = np.argsort(np.asarray(losses(1 - k, params[1 - k])))[:kept]
        expected = jax.grad(lambda w, k=k, easy=easy: losses(k, w)[easy].mean())(params[k])
        for a, b in zip(jax.tree.leaves(found[k]), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def steps(
    forward,
    method,
    params,
    state,
    count=4,
    place=lambda *given: given,
    dtype=jnp.float64,
    **options,
):
    step = train_step(
        problem(forward, method), optax.sgd(0.3, momentum=0.9), step_size=0.3, **options
    )
    carried = step.init(jax.random.key(0), params, state, batch(0, dtype))
    info = None
    for i in range(count):
        carried, info = step(*place(carried, batch(i, dtype)))
    return carried, info


def test_without_noise_it_is_two_plain_runs(x64):
    """R = 0: parameters, momentum and running statistics of two runs that know nothing of each other.

    Fails if one network's gradient reaches the other, the loss is halved between them, or anything of
    the optimizer's is shared.
    """
    params, state = networks()
    both, info = steps(pair(ref.bn_mlp), co_teaching(0.0), params, state)
    alone = [steps(ref.bn_mlp, cross_entropy(), params[k], state[k]) for k in (0, 1)]
    assert float(info.loss) == pytest.approx(sum(float(i.loss) for _, i in alone), rel=1e-12)
    for k in (0, 1):
        for name in ("params", "model_state"):
            a, b = (
                jax.tree.leaves(getattr(both, name)[k]),
                jax.tree.leaves(getattr(alone[k][0], name)),
            )
            for x, y in zip(a, b, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("view", ["global", "shard_map"])
def test_on_many_devices(view):
    """The K smallest of the whole batch, not of each device's share. Fails if devices choose apart."""
    params = networks(jnp.float32)[0]
    mesh = parallel.data_mesh(jax.devices()[:4])
    forward, method = pair(ref.mlp), co_teaching(0.5)
    plain, _ = steps(forward, method, params, ((), ()), dtype=jnp.float32)

    def place(carried, given):
        return parallel.place(carried, parallel.replicated(carried, mesh)), parallel.shard_batch(
            given, mesh
        )

    compile_with = parallel.global_view(mesh)
    if view == "shard_map":
        compile_with = parallel.shard_mapped(mesh)
    what = problem(forward, method, axis=parallel.AXIS if view == "shard_map" else None)
    step = train_step(what, optax.sgd(0.3, momentum=0.9), step_size=0.3, compile_with=compile_with)
    carried = step.init(jax.random.key(0), params, ((), ()), batch(0, jnp.float32))
    for i in range(4):
        carried, _ = step(*place(carried, batch(i, jnp.float32)))
    for a, b in zip(jax.tree.leaves(carried.params), jax.tree.leaves(plain.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_what_cannot_be():
    with pytest.raises(ValueError, match=r"noise_rate.*\[0, 1\).*got 40"):
        co_teaching(40)
    with pytest.raises(ValueError, match=r"ramp.*got -1"):
        co_teaching(0.4, ramp=-1)
    given = {"label": jnp.zeros(2, jnp.int32)}
    with pytest.raises(ValueError, match=r"two networks as one.*forward\.pair\(forward\)"):
        co_teaching(0.4).loss((), jnp.zeros((2, 3)), given)
    with pytest.raises(ValueError, match=r'reads batch\["step"\].*\[\'label\'\]'):
        co_teaching(0.4).loss((), {"pair": jnp.zeros((2, 2, 3))}, given)
