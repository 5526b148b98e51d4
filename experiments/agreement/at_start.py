"""How close a row's meta gradient comes to the exact one, at the benchmark's point.

Symbols: V = the weights of the training examples, s = ∂L_val/∂V, θ = the weighting net's parameters,
ε = L2R's weights. The network is random and MW-Net at its start, so that this says what the estimator
leaves out, not what that does to a run. s, not ∇_θ, is what counts (see `agreement`); for L2R the two
are one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from famus_jax.bench.agreement import agreement, free_weights, normalised_gradient
from famus_jax.bench.rows import Row
from famus_jax.bench.variants import LEARNING_RATE, Workload, optimizer
from famus_jax.core.draws import RandomDepth, RandomGroups
from famus_jax.core.estimators import Estimator, exact
from famus_jax.core.gates import LearnedGates
from famus_jax.core.meta_state import init_meta, step_keys
from famus_jax.core.meta_update import meta_update
from famus_jax.core.objective import Objective
from famus_jax.core.problem import Point, Problem
from famus_jax.core.variants import Variant

PyTree = Any
KEYS = ("cosine_weights", "cosine_theta", "sign_agreement", "relative_error")
_SEARCH = 10_000  # keys tried until every depth has come up


class Closeness:
    """Closeness to the exact gradient on one workload; the exact one is computed once per method.

    Args:
      work: the network and its batches.
      draws: how many draws of random groups the mean is taken over (every random depth counts with
        its probability, so that no more than one draw of each is needed).

    Raises:
      ValueError: for fewer than one draw.
    """

    def __init__(self, work: Workload, draws: int = 4):
        if draws < 1:
            raise ValueError(f"draws must be at least 1; got {draws}")
        self._work, self._draws = work, draws
        tx = optimizer()
        state = tx.init(work.params)
        self._point = Point(
            work.params,
            work.model_state,
            jax.random.key(0),
            work.batch,
            work.meta_batch,
            LEARNING_RATE,
            lambda gradient: tx.update(gradient, state, work.params)[0],
        )
        self._compiled: dict[Any, Any] = {}
        self._found: dict[Any, tuple[jax.Array, jax.Array]] = {}

    def of(self, row: Row) -> dict[str, float | None]:
        """`KEYS` of a row: means over draws; None where there is no gradient to speak of.

        `cosine_weights`, `sign_agreement` and `relative_error` are those of s. For `every` and
        `correct_every`, which say when and not what, those of their base. Learned gates have none:
        what they keep is decided in a run.
        """
        estimator = row.estimator
        if estimator is None or isinstance(estimator.active, LearnedGates):
            return dict.fromkeys(KEYS)
        s, theta = self._gradients(row, exact(), jax.random.key(0), Variant())
        totals: dict[str, float] = dict.fromkeys(KEYS, 0.0)
        estimator = estimator.replace(every=1, correct_every=0)
        for share, key, variant in self._draws_of(row, estimator):
            s_row, theta_row = self._gradients(row, estimator, key, variant)
            weights, theta_both = agreement(s_row, s), agreement(theta_row, theta)
            values = (
                weights.cosine,
                theta_both.cosine,
                weights.sign_agreement,
                weights.relative_error,
            )
            for name, value in zip(KEYS, values):
                totals[name] += share * float(value)
        return {**totals}

    def _draws_of(
        self, row: Row, estimator: Estimator
    ) -> Iterator[tuple[float, jax.Array, Variant]]:
        """Keys of a state, with what share they count for and the program that they call for."""
        active, key = estimator.active, jax.random.key(0)
        if not isinstance(active, RandomDepth | RandomGroups):
            yield 1.0, key, Variant()
            return
        problem = self._work.problem(row.method, row.by)
        wanted = dict(enumerate(active.cut_probabilities(problem.groups)))
        for number in range(_SEARCH):
            key = jax.random.key(number)
            state = self._state(problem, estimator, key)
            branch = int(active.draw(step_keys(state).gates, problem.groups).branch)
            if isinstance(active, RandomGroups):
                if number == self._draws:
                    return
                yield 1 / self._draws, key, Variant(branch=branch)
            elif branch in wanted:
                yield wanted.pop(branch), key, Variant(branch=branch)
            if not wanted:
                return
        raise ValueError(f"no draw of {active.label} in {_SEARCH} reached the depths {wanted}")

    def _gradients(
        self, row: Row, estimator: Estimator, key: jax.Array, variant: Variant
    ) -> tuple[jax.Array, jax.Array]:
        """s, without its part along V where weights are relative, and ∇_θ; flat, float32."""
        what = (row.method, row.by, estimator, variant)
        if what not in self._compiled:
            self._compiled[what] = self._compile(row, estimator, variant)
        run, weights, state = self._compiled[what]
        arrays = tuple(self._point[:5])
        found = what, tuple(jax.random.key_data(key).tolist())
        if found not in self._found:
            self._found[found] = run(
                weights, state._replace(key=self._key(row, estimator, key)), arrays
            )
        return self._found[found]

    def _compile(self, row: Row, estimator: Estimator, variant: Variant):
        problem = self._work.problem(row.method, row.by)
        objective = problem.objective
        state = self._state(problem, estimator, jax.random.key(0))
        theta = objective.init(jax.random.key(0), self._work.n)
        outputs, _ = problem.forward(*self._point[:4])
        _, weights = objective.loss(theta, outputs, self._work.batch)
        descend = self._point.descend

        def gradient(objective, theta, state, point):
            kept = problem._replace(objective=_keeping(objective))
            state = state._replace(theta=theta, opt_state=jax.tree.map(jnp.zeros_like, theta))
            found = meta_update(kept, estimator, state, point, variant=variant).state.opt_state
            return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(found)])

        def run(weights, state, arrays):
            params, model_state, rng, batch, meta_batch = arrays
            point = Point(params, model_state, rng, batch, meta_batch, LEARNING_RATE, descend)
            over_theta = gradient(objective, theta, state, point)
            if objective.fresh:
                return over_theta, over_theta
            s = gradient(free_weights(objective.example_loss), weights, state, point)
            return normalised_gradient(s, weights), over_theta

        return jax.jit(run), weights, state

    def _key(self, row: Row, estimator: Estimator, key: jax.Array) -> jax.Array:
        return self._state(self._work.problem(row.method, row.by), estimator, key).key

    def _state(self, problem: Problem, estimator: Estimator, key: jax.Array):
        work = self._work
        return init_meta(problem, estimator, key, work.params, work.n, work.m)


def _keeping(objective: Objective) -> Objective:
    """The objective with a meta-optimiser that leaves θ alone and keeps its gradient as its state:
    read there, it has lost no digits to a subtraction from θ. L2R's virtual step, which is no step at
    its θ, is taken all the same."""

    def init(params: PyTree) -> PyTree:
        return jax.tree.map(jnp.zeros_like, params)

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        del state, params
        return jax.tree.map(jnp.zeros_like, updates), updates

    keeper = optax.GradientTransformation(init, update)
    return objective._replace(meta_optimizer=keeper, fresh=False, stationary=False)
