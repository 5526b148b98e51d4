"""Estimators are values: equal, hashable, free of arrays, with the groups they promise."""

import jax
import jax.numpy as jnp
import pytest

from famus_jax import named_layers, all_layers, layers_by, learned_gates, second_order, last_layers

PARAMS = {name: jnp.zeros(1) for name in "abcd"}
GROUPS = layers_by(PARAMS, {"a": 0, "b": 1, "c": 2, "d": 3}, names=list("abcd"))

MAKERS = {
    "exact": lambda: all_layers(),
    "exact_second_order": lambda: second_order(),
    "famus_top2": lambda: last_layers(2),
    "famus_top1_active_only_coast": lambda: last_layers(1, virtual_step="active", closed="coast"),
    "famus_b+d_one_pass_vjp": lambda: named_layers("b", "d", virtual_step="actual", route="vjp"),
    "famus_budget": lambda: learned_gates("budget", lag=2),
}


@pytest.mark.parametrize("label", MAKERS)
def test_values(label):
    """Made twice, they are one key of jit's cache. Fails if compared by identity."""
    a, b = MAKERS[label](), MAKERS[label]()
    assert a == b
    assert hash(a) == hash(b)
    assert a.label == label
    assert not jax.tree.leaves(a) or jax.tree.leaves(a) == [a]  # no arrays inside
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
    ids=["exact", "top 1", "top 4", "chosen", "twice"],
)
def test_active_groups(estimator, active):
    """Fails if top_k counts from the bottom, or a chosen set keeps the caller's order."""
    assert estimator.active.groups(GROUPS) == active
