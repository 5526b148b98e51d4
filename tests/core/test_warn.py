"""The warning about `lax.switch` on CPU, in both uses that switch inside one program."""

import jax
import jax.numpy as jnp
import optax
import pytest

from famus_jax import (
    find_layers,
    learned_gates,
    mwnet,
    problem,
    reweight,
    reweighter,
    stateless_forward,
    train_step,
)

PARAMS = {"body": jnp.ones((3, 4)), "head": jnp.ones((4, 2))}
BATCH = {"x": jnp.ones((5, 3)), "label": jnp.zeros((5,), jnp.int32)}
FORWARD = stateless_forward(lambda p, batch: jnp.tanh(batch["x"] @ p["body"]) @ p["head"])
PROBLEM = problem(FORWARD, mwnet())
GATES = learned_gates("paper", target=1.0, lag=2)


@pytest.mark.slow
def test_reweighter_and_transformation_warn():
    weigh = reweighter(PROBLEM, GATES, step_size=0.1)
    with pytest.warns(UserWarning, match=r"lax\.switch.*train_step"):
        weigh.init(jax.random.key(0), PARAMS, {}, BATCH, BATCH)
    layers = find_layers(FORWARD, PARAMS, {}, jax.random.key(0), BATCH)
    tx = reweight(PROBLEM, GATES, step_size=0.1, key=jax.random.key(0), layers=layers)
    with pytest.warns(UserWarning, match=r"lax\.switch.*train_step"):
        tx.init(PARAMS)


@pytest.mark.filterwarnings("error")
def test_train_step_does_not():
    """The host chooses a compiled program: nothing switches."""
    step = train_step(PROBLEM, optax.sgd(0.1), GATES, step_size=0.1)
    step.init(jax.random.key(0), PARAMS, {}, BATCH, BATCH)
