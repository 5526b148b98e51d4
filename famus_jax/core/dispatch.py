"""Which compiled variant is due: the host's copy of what the state says about the steps to come.

Nothing here is state of the training: whenever another training state comes in, all is read anew.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.draws import RandomDepth, RandomGroups
from famus_jax.core.estimators import Estimator
from famus_jax.core.gates import LearnedGates
from famus_jax.core.meta_state import MetaInfo, MetaState, step_keys
from famus_jax.core.problem import Problem
from famus_jax.core.variants import Variant, is_meta_step

_AHEAD = 512  # random draws are made so many steps at a time: one wait for the device each time


class Dispatcher:
    """Tells the variant of the next step.

    Raises:
      ValueError: for learned gates that are drawn in the step itself (`lag=0`).
    """

    def __init__(self, problem: Problem, estimator: Estimator):
        self._problem, self._estimator = problem, estimator
        active = estimator.active
        self._gated = isinstance(active, LearnedGates)
        if isinstance(active, LearnedGates) and active.lag == 0:
            raise ValueError(
                "train_step needs gates that are known before the step is dispatched: use "
                "learned_gates(..., lag=2) (or lag=1, which makes the host wait for each step)"
            )
        self._expected: jax.Array | None = None
        self._step = self._updates = 0
        self._queue: deque[Any] = deque()  # gates: the branches of the updates to come
        self._drawn: tuple[int, list[int]] = (0, [])  # random: first step, branches from there on
        self._last = Variant()

    def due(self, step: jax.Array, meta: MetaState) -> Variant:
        """The variant of the step that starts from a state with these two parts."""
        if self._expected is not step:
            self._read(step, meta)
        self._expected = None  # if the dispatch fails, all is read anew
        if not bool(is_meta_step(self._estimator, self._step)):
            self._last = Variant(meta=False)
            return self._last
        every = self._estimator.correct_every
        correct = bool(every) and self._updates % every == 0
        self._last = Variant(branch=self._branch(meta), correct=correct)
        return self._last

    def dispatched(self, step: jax.Array, info: MetaInfo) -> None:
        """The step was dispatched and gave this step count and info, perhaps not computed yet."""
        self._step += 1
        if self._last.meta:
            self._updates += 1
            if self._gated:
                self._queue.popleft()
                self._queue.append(info.next_branch)
        self._expected = step

    def _read(self, step: jax.Array, meta: MetaState) -> None:
        self._step, self._updates = int(step), int(meta.updates)
        self._drawn = (0, [])
        if self._gated:
            self._queue = deque(meta.gates.branches.tolist())

    def _branch(self, meta: MetaState) -> int:
        active = self._estimator.active
        if self._gated:
            return int(self._queue[0])
        if not isinstance(active, RandomGroups | RandomDepth):
            return 0
        first, branches = self._drawn
        if not first <= self._step < first + len(branches):
            groups = self._problem.groups

            def draw(t: jax.Array) -> jax.Array:
                return active.draw(step_keys(meta, t).gates, groups).branch

            steps = self._step + jnp.arange(_AHEAD, dtype=jnp.int32)
            first, branches = self._drawn = self._step, jax.vmap(draw)(steps).tolist()
        return branches[self._step - first]
