"""What gates are expected to cost, and how they meet a budget.

Symbols: L = the number of layers, p_l = the chance that gate l opens, B = the budget in plain steps,
"start" = the lowest layer that a compiled program can hear. Costs are one per program, in plain steps,
the most expensive first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

CostOf = Callable[[jax.Array], jax.Array]


def expected_cost(
    probability: jax.Array,
    starts: Sequence[int],
    costs: Sequence[float],
    explore_every: int = 0,
) -> jax.Array:
    """E[cost] of a step whose gates open independently of each other.

    Exact and differentiable: what a step costs depends on its lowest open gate alone.

    Args:
      probability: p, float [L]; 0 for layers without a gate.
      starts: the programs' starts, ascending.
      costs: what a step costs with each program.
      explore_every: every so many meta updates run the first program whatever is open; 0 for never.

    Returns:
      A scalar, in plain steps.

    Example:
      >>> opens = jnp.array([0.25, 0.9])  # the cheap program serves the upper layer, open or not
      >>> float(expected_cost(opens, starts=(0, 1), costs=(3.0, 2.0)))
      2.25
    """
    closed = 1 - probability
    expected = jnp.asarray(costs[-1], jnp.float32)
    for i in range(len(starts) - 1):
        any_open = 1 - jnp.prod(closed[: starts[i + 1]])
        expected += (costs[i] - costs[i + 1]) * any_open
    if explore_every:  # those updates pay for the lowest start
        expected += (costs[0] - expected) / explore_every
    return expected


def budget_shift(odds: jax.Array, cost_of: CostOf, budget: float) -> jax.Array:
    """What to add to the log-odds of all gates so that the expected cost is the budget.

    The expected cost rises with the shift, so it is looked up in a table of both.

    Args:
      odds: the log-odds of opening, float [L].
      cost_of: p [L] -> the expected cost, a scalar that rises with every p_l.
      budget: B.

    Returns:
      A scalar.

    Example:
      >>> shift = budget_shift(jnp.array([1.0]), lambda p: 2 + p[0], budget=2.5)
      >>> round(float(shift), 2)  # at even odds a gate opens half the time
      -1.0
    """
    shifts = (jnp.abs(odds).max() + 12.0) * jnp.linspace(-1.0, 1.0, 1025)
    opens = jax.nn.sigmoid(odds[None, :] + shifts[:, None])
    expected = jax.vmap(cost_of)(opens)
    below = jnp.clip((expected <= budget).sum() - 1, 0, len(shifts) - 2)
    low, high = expected[below], expected[below + 1]
    way = jnp.clip((budget - low) / jnp.where(high > low, high - low, 1), 0, 1)
    return shifts[below] + way * (shifts[below + 1] - shifts[below])  # no loop, unlike interp


def check_budget(costs: Sequence[float], budget: float) -> None:
    """Refuses a budget that no mix of the programs costs.

    Args:
      costs: what a step costs with each program.
      budget: B.

    Raises:
      ValueError: for a budget below the cheapest program or above the most expensive one.

    Example:
      >>> check_budget((3.0, 2.0), budget=2.5)
      >>> check_budget((3.0, 2.0), budget=1.0)  # doctest: +IGNORE_EXCEPTION_DETAIL
      Traceback (most recent call last):
      ValueError: a budget of 1.0 plain steps can't be met ...
    """
    if not costs[-1] <= budget <= costs[0]:
        raise ValueError(
            f"a budget of {budget} plain steps can't be met: with this network, virtual step and "
            f"meta batch a step costs between {costs[-1]:.2f} and {costs[0]:.2f}"
        )


def open_probability(cost_of: CostOf, num_layers: int, budget: float) -> float:
    """The chance of opening, one for all gates, at which the expected cost is the budget.

    Args:
      cost_of: see `budget_shift`.
      num_layers: L.
      budget: B.

    Returns:
      A number between 0.0001 and 0.9999, by bisection, also while a caller is being traced.

    Example:
      >>> round(open_probability(lambda p: 2 + p[0], num_layers=1, budget=2.2), 3)
      0.2
    """
    low, high = 1e-4, 1 - 1e-4
    for _ in range(40):
        middle = (low + high) / 2
        with jax.ensure_compile_time_eval():
            cost = float(cost_of(jnp.full(num_layers, middle, jnp.float32)))
        low, high = (middle, high) if cost < budget else (low, middle)
    return (low + high) / 2
