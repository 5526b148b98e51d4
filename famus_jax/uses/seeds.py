"""Many seeds of one training in one program: `train_step`, mapped over a leading axis of everything.

A small network leaves most of a device idle, so that ten seeds of it take little longer than one. Each
seed has its own parameters, data and keys; nothing passes between them, and each gets the numbers that
it would get alone, up to rounding.
"""

from __future__ import annotations

from typing import Any

import jax

from famus_jax.core.batches import check_given, leading_size
from famus_jax.core.estimator import Estimator
from famus_jax.core.programs import Program, upcoming
from famus_jax.core.state import MetaState, StepInfo
from famus_jax.uses.dispatch import HostDispatch
from famus_jax.uses.train_state import TrainState
from famus_jax.uses.train_step import TrainStep

PyTree = Any


class SeedsTogether:
    """`states, infos = step(states, batches, meta_batches)`, compiled; see `seeds_together`."""

    def __init__(self, train: TrainStep):
        self._train = train
        self._programs: dict[Program | None, Any] = {}
        self._dispatch = HostDispatch(train.estimator, _upcoming) if train.has_programs else None

    def init(
        self,
        keys: jax.Array,
        params: PyTree,
        model_state: PyTree,
        batches: PyTree,
        meta_batches: PyTree = None,
    ) -> TrainState:
        """The state before the first step: every array of a `TrainState`, [seeds, ...].

        Args:
          keys: a PRNG key per seed, [seeds].
          params, model_state, batches, meta_batches: those of `TrainStep.init`, each array with a
            leading axis of seeds.

        Raises:
          ValueError: for another number of seeds somewhere; and as `TrainStep.init`, of the first seed.
        """
        given = (params, model_state, batches, meta_batches)
        seeds = keys.shape[0]
        for tree, what in zip(given, ("params", "model_state", "batches", "meta_batches")):
            if jax.tree.leaves(tree) and (found := leading_size(tree, what)) != seeds:
                raise ValueError(
                    f"there are {seeds} keys, one per seed, but {what} lead with {found}: every array "
                    "needs a leading axis of seeds, jax.tree.map(lambda *x: jnp.stack(x), *each)"
                )
        self._train.init(keys[0], *_first(given))  # looks at values, which a program can't
        return jax.jit(jax.vmap(self._train.init))(keys, *given)

    def __call__(
        self, states: TrainState, batches: PyTree, meta_batches: PyTree = None
    ) -> tuple[TrainState, StepInfo]:
        """One step of every seed. `states` are donated: use those returned from here on."""
        check_given(batches, "training batches")
        program = None if self._dispatch is None else self._dispatch.due(states.meta)
        if program not in self._programs:
            self._programs[program] = jax.jit(self._step(program), donate_argnums=0)
        states, infos, coming = self._programs[program](states, batches, meta_batches)
        if self._dispatch is not None:
            self._dispatch.dispatched(states.meta, coming)
        return states, infos

    def _step(self, program: Program | None) -> Any:
        def step(states: TrainState, batches: PyTree, meta_batches: PyTree) -> tuple[Any, Any, Any]:
            def one(state: TrainState, batch: PyTree, meta_batch: PyTree) -> tuple[Any, Any]:
                return self._train.pure(state, batch, meta_batch, program)

            states, infos = jax.vmap(one)(states, batches, meta_batches)
            coming = () if program is None else _upcoming(self._train.estimator, states.meta)
            return states, infos, coming

        return step


def seeds_together(train: TrainStep) -> SeedsTogether:
    """The same training step for many seeds at once.

    All seeds take the same program at the same time. An estimator whose program follows from the number
    of the step (`update_every`, `renew_every`, `control_variate_every`) is fine; one that draws it, for
    each seed another, is refused.

    Args:
      train: from `train_step`, for one device: its `compile_with` is not used.

    Returns:
      A `SeedsTogether`: `.init(keys, params, model_state, batches, meta_batches)` makes the states, and
      the step itself returns `(states, infos)`. Every array has a leading axis of seeds.

    Raises:
      ValueError: for layers that are drawn, and for a step inside `jax.shard_map`.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> import famus_jax as famus
      >>> problem = famus.problem(famus.stateless_forward(lambda w, x: x @ w, input="x"), famus.l2r())
      >>> train = famus.train_step(problem, optax.sgd(0.1), step_size=0.1)
      >>> trusted = {"x": jnp.eye(2), "label": jnp.array([0, 1])}
      >>> wrong = {"x": jnp.eye(2), "label": jnp.array([0, 0])}  # the second label, in the first seed
      >>> batches = jax.tree.map(lambda *x: jnp.stack(x), wrong, trusted)
      >>> trusted = jax.tree.map(lambda x: jnp.stack([x, x]), trusted)
      >>> step = seeds_together(train)
      >>> keys = jax.random.split(jax.random.key(0))
      >>> states = step.init(keys, jnp.zeros((2, 2, 2)), (), batches, trusted)
      >>> states, infos = step(states, batches, trusted)
      >>> infos.weights.tolist()
      [[1.0, 0.0], [0.5, 0.5]]
    """
    if train.estimator.active.drawn:
        raise ValueError(
            f"{train.estimator.label} draws its layers, and so its program, for each seed anew, but "
            "seeds in one program run the same: train them one by one, or use a fixed set of layers, "
            "all_layers(examples=8) or last_layers(1)"
        )
    if train.problem.axis is not None:
        raise ValueError(
            f"seeds together run on one device, but the problem divides its batches along "
            f"axis={train.problem.axis!r}: leave axis out"
        )
    return SeedsTogether(train)


def _first(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x[0], tree)


def _upcoming(estimator: Estimator, meta: MetaState) -> jax.Array:
    """The programs of the next steps; the seeds are at the same step."""
    return upcoming(estimator, _first(meta))
