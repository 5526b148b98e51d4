"""Estimators are values: equal, hashable, free of arrays, with the layers they promise."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from famus_jax import (
    ActiveLayers,
    Estimator,
    all_layers,
    last_layers,
    layers_by,
    learned_gates,
    named_layers,
    random_depth,
    random_layers,
    second_order,
)

PARAMS = {name: jnp.zeros(1) for name in "abcd"}
LAYERS = layers_by(PARAMS, {"a": 0, "b": 1, "c": 2, "d": 3}, names=list("abcd"))

MAKERS = {
    "all_layers": lambda: all_layers(),
    "all_layers_second_order": lambda: second_order(),
    "last_layers_2": lambda: last_layers(2),
    "last_layers_1_active_step_through_optimizer": lambda: last_layers(
        1, virtual_step="active", through_optimizer=True
    ),
    "named_layers_b+d_actual_step_vjp": lambda: named_layers(
        "b", "d", virtual_step="actual", route="vjp"
    ),
    "random_layers_2_unbiased_examples8_every3": lambda: random_layers(
        2, unbiased=True, examples=8, update_every=3
    ),
    "random_depth_0.25_0.75": lambda: random_depth(0.25),
    "gates_budget_lag=2": lambda: learned_gates("budget", lag=2),
}


Static = (Estimator, ActiveLayers, str, bool, int, float, tuple, type(None))


def held(value):
    """All that a value holds, at any depth."""
    if dataclasses.is_dataclass(value):
        inside = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, tuple):
        inside = list(value)
    else:
        return [value]
    return [value, *(x for one in inside for x in held(one))]


@pytest.mark.parametrize("label", MAKERS)
def test_values(label):
    """Made twice, they are one key of jit's cache. Fails if compared by identity."""
    a, b = MAKERS[label](), MAKERS[label]()
    assert a == b
    assert hash(a) == hash(b)
    assert a.label == label
    assert all(isinstance(x, Static) for x in held(a))  # no arrays inside
    calls = []

    def counted(x, estimator):
        calls.append(estimator)
        return x

    compiled = jax.jit(counted, static_argnums=1)
    compiled(1.0, a)
    compiled(1.0, b)
    assert len(calls) == 1


def test_distinct():
    assert len({make() for make in MAKERS.values()}) == len(MAKERS)


@pytest.mark.parametrize(
    ("estimator", "active"),
    [
        (all_layers(), (0, 1, 2, 3)),
        (last_layers(1), (3,)),
        (last_layers(4), (0, 1, 2, 3)),
        (named_layers("d", "b"), (1, 3)),
        (named_layers("b", "b"), (1,)),
    ],
    ids=["all", "last 1", "last 4", "by name", "twice"],
)
def test_active_layers(estimator, active):
    """Fails if last_layers counts from the bottom, or a named set keeps the caller's order."""
    assert estimator.active.programs(LAYERS) == (active,)
