"""Many seeds in one program: the numbers of each seed alone."""

import jax
import jax.numpy as jnp
import optax
import pytest
import reference as ref

import famus_jax
from famus_jax import all_layers, random_depth, seeds_together

SEEDS, N, M = 3, 8, 6


def stacked(trees):
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def training(estimator):
    problem = famus_jax.problem(ref.mlp, famus_jax.mwnet(hidden=8, meta_optimizer=optax.sgd(0.1)))
    return famus_jax.train_step(problem, optax.sgd(0.05, momentum=0.9), estimator, step_size=0.05)


def setting(steps=3):
    """Keys, networks, and for every step the seeds' batches."""
    keys = jax.random.split(jax.random.key(1), SEEDS)
    networks = [(ref.mlp_params(key, (3, 4, 3), jnp.float32), ()) for key in keys]

    def batches(n, t):
        return [
            ref.classification_batch(100 * t + seed + n, n, dtype=jnp.float32)
            for seed in range(SEEDS)
        ]

    return keys, networks, [(batches(N, t), batches(M, t)) for t in range(steps)]


def test_as_one_by_one():
    """Two programs in turn. Fails if seeds share keys, data or a direction, or if the host takes the
    program of another step."""
    train = training(all_layers(examples=4, update_every=2))
    keys, networks, data = setting()
    together = seeds_together(train)
    params, model_state = stacked(networks)
    states = together.init(keys, params, model_state, *map(stacked, data[0]))
    losses = []
    for batches, trusted in data:
        states, infos = together(states, stacked(batches), stacked(trusted))
        losses.append(infos.loss)
    for seed in range(SEEDS):
        alone = train.twin()
        state = alone.init(keys[seed], *networks[seed], data[0][0][seed], data[0][1][seed])
        for t, (batches, trusted) in enumerate(data):
            state, info = alone(state, batches[seed], trusted[seed])
            ref.assert_close(losses[t][seed], info.loss, rtol=1e-5)
        mine = jax.tree.map(lambda x, seed=seed: x[seed], states)
        ours, theirs = [(s.params, s.opt_state, s.meta.theta) for s in (mine, state)]
        ref.assert_close(ours, theirs, rtol=1e-4, floor=1e-6)
        assert int(mine.meta.updates) == int(state.meta.updates) == 2


def test_refused():
    """Layers that are drawn, and arrays without an axis of seeds."""
    with pytest.raises(ValueError, match="draws its layers.*one by one"):
        seeds_together(training(random_depth()))
    keys, networks, data = setting(1)
    params, model_state = stacked(networks)
    batch, trusted = (one[0] for one in data[0])
    with pytest.raises(ValueError, match="3 keys.*batches lead with 8"):
        seeds_together(training(all_layers())).init(keys, params, model_state, batch, trusted)
