"""The compiled programs of a step, and which one is due.

A compiled program can hear a fixed set of layers, and either has a meta update in it or not. An
estimator that chooses anew from step to step therefore has several. Which one is due is a function
of the state alone (`upcoming`): the draws that choose it wait there, and the program uses those very
draws. So the host that picks a program (`HostDispatch`) and the program itself can't disagree.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.core.cost import control_variate_cost, program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.core.problem import Problem
from famus_jax.core.state import MetaState

PyTree = Any


class Program(NamedTuple):
    """A static choice.

    Attributes:
      meta: whether θ is updated at all; without it a step costs what a plain one does.
      index: which of the active layers' programs.
      control_variate: whether the exact gradient is computed too.
    """

    meta: bool = True
    index: int = 0
    control_variate: bool = False


def has_programs(estimator: Estimator) -> bool:
    """Whether there is more than one program."""
    return bool(
        estimator.active.drawn or estimator.update_every > 1 or estimator.control_variate_every
    )


def program_cost(problem: Problem, estimator: Estimator, n: int, m: int, program: Program) -> float:
    """What a step costs that runs this program, in plain steps; see `program_costs`."""
    if not program.meta:
        return 1.0
    cost = program_costs(problem, estimator, n, m)[program.index]
    if program.control_variate:
        cost += control_variate_cost(problem, estimator, n, m)
    return cost


def upcoming(estimator: Estimator, state: MetaState) -> jax.Array:
    """The programs of the next one or two steps, as far as the state tells: int32, see `decode`."""
    codes, step, updates, waiting = [], state.step, state.updates, 0
    steps = min(2, estimator.active.ahead) if estimator.active.drawn else 2
    for _ in range(steps):
        index = state.draws.program[waiting] if estimator.active.drawn else 0
        every = estimator.control_variate_every
        variate = (updates % every == 0).astype(jnp.int32) if every else 0
        meta = step % estimator.update_every == 0
        codes.append(jnp.where(meta, 2 * index + variate, -1).astype(jnp.int32))
        step, updates, waiting = step + 1, updates + meta, waiting + meta.astype(jnp.int32)
    return jnp.stack(codes)


def decode(code: int) -> Program:
    """The program that `upcoming` means by a number."""
    if code < 0:
        return Program(meta=False)
    return Program(index=code // 2, control_variate=bool(code % 2))


class HostDispatch:
    """Tells the host which program is due, without waiting for the device where it can.

    What it remembers is the content of arrays that it has seen. A state is the successor of the last
    one if it holds the very arrays that came with it; any other (restored, edited, of another run) is
    read anew.

    Raises:
      ValueError: for active layers that are drawn in the step itself (`ahead = 0`).
    """

    def __init__(self, estimator: Estimator):
        if estimator.active.drawn and not estimator.active.ahead:
            raise ValueError(
                f"train_step must know the active layers before it dispatches a step, but "
                f"{estimator.active.label} draws in the step itself: use learned_gates(..., lag=2) "
                "(or lag=1, which makes the host wait for each step)"
            )
        self._estimator = estimator
        self._read = jax.jit(upcoming, static_argnums=0)
        self._seen: tuple[Any, ...] = ()  # the arrays of the state that is expected
        self._coming: Any = None  # what `upcoming` says of it; perhaps not computed yet
        self._before: Any = None  # what it said of the state before: the same, a step earlier

    def due(self, state: MetaState) -> Program:
        """The program of the step that starts from this state."""
        seen = _arrays(state)
        if len(seen) != len(self._seen) or any(a is not b for a, b in zip(seen, self._seen)):
            self._seen, self._coming, self._before = seen, self._read(self._estimator, state), None
        if self._before is not None and len(self._before) > 1:
            return decode(int(np.asarray(self._before)[1]))
        return decode(int(np.asarray(self._coming)[0]))

    def dispatched(self, state: MetaState, coming: jax.Array) -> None:
        """The step was dispatched and gave this state, of which `upcoming` says `coming`."""
        self._seen, self._before, self._coming = _arrays(state), self._coming, coming


def _arrays(state: MetaState) -> tuple[Any, ...]:
    """All that `upcoming` looks at."""
    return tuple(jax.tree.leaves((state.step, state.updates, state.draws)))


def warn_if_switching_on_cpu() -> None:
    """XLA's CPU backend runs convolutions inside a `lax.switch` about ten times slower."""
    if jax.default_backend() == "cpu":
        warnings.warn(
            "an estimator that chooses anew from step to step does so by lax.switch inside one "
            "compiled program, where convolutions run about ten times slower on CPU; use "
            "famus_jax.train_step (the host chooses a compiled program) or a fixed set of layers",
            stacklevel=3,
        )
