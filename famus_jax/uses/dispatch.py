"""Which compiled program the host dispatches next."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from famus_jax.core.estimator import Estimator
from famus_jax.core.programs import Program, decode, upcoming
from famus_jax.core.state import MetaState, StepInfo


class HostDispatch:
    """Tells the host which program is due, without waiting for the device where it can.

    What it remembers is the content of arrays that it has seen. A state is the successor of the last
    one if it holds the very arrays that came with it; any other (restored, edited, of another run) is
    read anew.

    Args:
      estimator: see there.
      coming: `(estimator, state) -> ` what `upcoming` says, for a state of another form.

    Raises:
      ValueError: for active layers that are drawn in the step itself (`ahead = 0`).
    """

    def __init__(self, estimator: Estimator, coming: Callable[..., jax.Array] = upcoming):
        if estimator.active.drawn and not estimator.active.ahead:
            raise ValueError(
                f"train_step must know the active layers before it dispatches a step, but "
                f"{estimator.active.label} draws in the step itself: use learned_gates(..., lag=2) "
                "(or lag=1, which makes the host wait for each step)"
            )
        self._estimator = estimator
        self._read = jax.jit(coming, static_argnums=0)
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


def debugging() -> bool:
    """Whether every step is to be checked; that makes the host wait for it."""
    return bool(jax.config.jax_enable_checks)  # type: ignore[attr-defined]


def check_program(program: Program, info: StepInfo) -> None:
    """Raises `RuntimeError` if a step did not run the program that its state called for: a fault of
    the library's own. Waits for the step."""
    drawn, updated = int(info.program), bool(info.updated)
    if updated != program.meta or (updated and drawn >= 0 and drawn != program.index):
        raise RuntimeError(
            f"this step ran {program}, and its state called for program {drawn} (meta update: "
            f"{updated}): please report it with the estimator and how the state came about"
        )


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
