"""The compiled programs of a step, and which one is due.

A compiled program can hear a fixed set of layers, and either has a meta update in it or not. An
estimator that chooses anew from step to step therefore has several. Which one is due is a function
of the state alone (`upcoming`): the draws that choose it wait there, and the program uses those very
draws. So the host that picks a program (`famus_jax.uses.dispatch`) and the program itself can't
disagree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from famus_jax.core.cost import program_costs, renewal_cost
from famus_jax.core.estimator import Estimator
from famus_jax.core.problem import Problem
from famus_jax.core.state import MetaState

PyTree = Any


class Program(NamedTuple):
    """A static choice.

    Attributes:
      meta: whether θ is updated at all; without it a step costs what a plain one does.
      index: which of the active layers' programs.
      renews: whether what is renewed now and then is renewed in this step: the exact gradient of a
        control variate, or the direction that is carried.
    """

    meta: bool = True
    index: int = 0  # type: ignore[assignment]
    renews: bool = False


def has_programs(estimator: Estimator) -> bool:
    """Whether there is more than one program."""
    return bool(estimator.active.drawn or estimator.update_every > 1 or estimator.renews_every)


def program_cost(problem: Problem, estimator: Estimator, n: int, m: int, program: Program) -> float:
    """What a step costs that runs this program, in plain steps; see `program_costs`."""
    if not program.meta:
        return 1.0
    cost = program_costs(problem, estimator, n, m)[program.index]
    if program.renews or (estimator.carries and not estimator.renews_every):
        cost += renewal_cost(problem, estimator, n, m)
    return cost


def upcoming(estimator: Estimator, state: MetaState) -> jax.Array:
    """The programs of the next one or two steps, as far as the state tells: int32, see `decode`."""
    codes, step, updates, waiting = [], state.step, state.updates, 0
    steps = min(2, estimator.active.ahead) if estimator.active.drawn else 2
    for _ in range(steps):
        index = state.draws.program[waiting] if estimator.active.drawn else 0
        every = estimator.renews_every
        renews = (updates % every == 0).astype(jnp.int32) if every else 0
        meta = step % estimator.update_every == 0
        codes.append(jnp.where(meta, 2 * index + renews, -1).astype(jnp.int32))
        step, updates, waiting = step + 1, updates + meta, waiting + meta.astype(jnp.int32)
    return jnp.stack(codes)


def decode(code: int) -> Program:
    """The program that `upcoming` means by a number."""
    if code < 0:
        return Program(meta=False)
    return Program(index=code // 2, renews=bool(code % 2))
