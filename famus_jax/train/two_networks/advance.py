"""Two networks side by side, each trained on the labels that the other finds right (Algorithm 2).

Symbols: p_i = the probability that label i is right, w = p of the peer, x, u = a network's labeled and
unlabeled part, B = batch size, m = meta batch size.

A warm-up of plain training; then, at the start of every epoch, a mixture model of each network's losses
splits the training set, and each network works with its *peer's* split:

* Algorithm 2 of the paper: batches of the whole noisy set, a meta batch of the peer's clean part,
  with the labels that both came with.
* The released pipeline: x and u in two views, targets co-refined and co-guessed, all mixed (4 B
  examples); the meta batch is of the clean part too, with targets made in the same way.

Both networks step from the state before the step: their order does not matter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.core.programs import has_programs
from famus_jax.data import Stream
from famus_jax.train import loop
from famus_jax.train.evaluation import Evaluator
from famus_jax.train.two_networks.config import PseudoCleanConfig
from famus_jax.train.two_networks.mixture import clean_probability, split_clean
from famus_jax.train.two_networks.state import PairState, members
from famus_jax.train.two_networks.targets import TargetMaker
from famus_jax.uses.record import Record
from famus_jax.uses.train_state import TrainState
from famus_jax.uses.train_step import TrainStep

PyTree = Any


class Parts(NamedTuple):
    """The streams of one network until the next split.

    `labeled` and `unlabeled` give two views; `meta` gives one. With Algorithm 2, `labeled` is of the
    whole training set, and `unlabeled` is None.
    """

    labeled: Stream
    unlabeled: Stream | None
    meta: Stream | None


class BothSteps:
    """The step of both networks: one program for the two, unless each must choose among several.

    One program is faster (see docs/methods.md), but an estimator with p programs would need p² of them.
    """

    def __init__(self, step: TrainStep):
        self._steps = (step, step.twin())
        self.called = False

        def together(networks, batches):
            return tuple(step.pure(n, *b) for n, b in zip(networks, batches, strict=True))

        self._together = (
            None if has_programs(step.estimator) else jax.jit(together, donate_argnums=0)
        )

    @property
    def compilations(self) -> int:
        """How many programs have been compiled so far."""
        return len(self._steps[0].compiled) if self._together is None else int(self.called)

    def __call__(self, networks: Sequence[TrainState], batches: Sequence[tuple]) -> Sequence[tuple]:
        """`(state, info)` of each; the states are donated."""
        self.called = True
        if self._together is not None:
            return self._together(tuple(networks), tuple(batches))
        pairs = zip(self._steps, networks, batches, strict=True)
        return [step(network, *batch) for step, network, batch in pairs]


class TwoNetworks:
    """`loop.Advance` for a `PairState`.

    Args:
      config: thresholds, temperatures, ramps.
      warm_up: the plain step, with its meta state for each network.
      steps: the step of the method, for both.
      warm_streams: the training set in one view, in an order of its own for each network.
      open_parts: `(clean [N], meta_clean [N], network) -> Parts`, entered in an `ExitStack`.
      training_set: the training set with its noisy labels, in evaluation batches.
      evaluator: gives the losses.
      targets: makes the mixed batches, compiled; None for Algorithm 2.
      sizes: (B, m).
      split_every: in steps.
      stack: what reads data for a split ends with it at the latest.
      record: for steps on mixed examples, which tell nothing of a label: recorded at the splits.
    """

    def __init__(
        self,
        *,
        config: PseudoCleanConfig,
        warm_up: tuple[TrainStep, Any],
        steps: BothSteps,
        warm_streams: tuple[Stream, Stream],
        open_parts: Callable[[contextlib.ExitStack, np.ndarray, np.ndarray, int], Parts],
        training_set: Any,
        evaluator: Evaluator,
        targets: TargetMaker | None,
        sizes: tuple[int, int],
        split_every: int,
        stack: contextlib.ExitStack,
        record: Record | None = None,
    ):
        self._config, (self._warm_up, self._warm_meta) = config, warm_up
        self._steps = steps
        self._warm_streams, self._open_parts = warm_streams, open_parts
        self._training_set, self._evaluator = training_set, evaluator
        self._targets, self._sizes, self._split_every = targets, sizes, split_every
        self._record = record
        self._stack, self._reading = stack, contextlib.ExitStack()
        self._parts: tuple[int, list[Parts]] = (-1, [])
        self._tables: list[jax.Array] = []

    @property
    def compilations(self) -> int:
        """See `loop.Advance`."""
        made = 0 if self._targets is None else int(self._targets.called)
        return len(self._warm_up.compiled) + self._steps.compilations + made

    def __call__(self, state: PairState, t: int) -> tuple[PairState, list[loop.Taken]]:
        """See `loop.Advance`."""
        since = t - self._config.warm_up_steps
        if since < 0:
            return self._warm_step(state, t)
        if since % self._split_every == 0:
            state = self._split(state, t)
        return self._method_step(state, t)

    def _warm_step(self, state: PairState, t: int) -> tuple[PairState, list[loop.Taken]]:
        networks, taken = [], []
        for k, network in enumerate(state.networks):
            batch = self._warm_streams[k].batch(t)
            plain = network._replace(meta=jax.tree.map(jnp.copy, self._warm_meta))  # is donated
            plain, info = self._warm_up(plain, {**batch, "step": np.int32(t)})
            networks.append(plain._replace(meta=network.meta))
            taken.append(loop.Taken(batch["index"], info))
        return state._replace(networks=tuple(networks)), taken

    def _method_step(self, state: PairState, t: int) -> tuple[PairState, list[loop.Taken]]:
        parts = self._current_parts(state)
        # Both batches before either network moves.
        batches = [self._batches(state, parts[k], k, t) for k in (0, 1)]
        networks, taken = [], []
        done = self._steps(state.networks, batches)
        for (network, info), (batch, _) in zip(done, batches, strict=True):
            if self._targets is not None:  # in plain steps on B: 4 B examples, and the predictions
                info = info._replace(cost=4 * info.cost + self._targets.passes / 3)
            networks.append(network)
            taken.append(loop.Taken(batch["index"], info))
        return state._replace(networks=tuple(networks)), taken

    def _batches(self, state: PairState, parts: Parts, k: int, t: int) -> tuple[PyTree, PyTree]:
        """The training and the meta batch of network k."""
        x = parts.labeled.batch(t)
        meta = None if parts.meta is None else parts.meta.batch(t)
        if self._targets is None or parts.unlabeled is None:
            return {**x, "step": np.int32(t)}, meta
        own, peer = members(state)[k], members(state)[1 - k]
        key = jax.random.fold_in(jax.random.fold_in(state.key, t), k)
        lambda_u = np.float32(self._config.lambda_u_at(t))
        u = parts.unlabeled.batch(t)
        batch, meta = self._targets(own, peer, x, u, meta, self._tables[1 - k], key)
        return {**batch, "lambda_u": lambda_u, "step": np.int32(t)}, meta

    def _split(self, state: PairState, t: int) -> PairState:
        """Splits the training set by each network's losses."""
        config = self._config
        losses = np.array(state.losses)
        probability, clean = np.array(state.probability), np.zeros(losses.shape[::2], bool)
        meta_clean, clamped = clean.copy(), np.zeros(2, bool)
        networks = list(state.networks)
        for k, member in enumerate(members(state)):
            if self._record is None:
                values, index = self._evaluator.losses(member, self._training_set)
            else:
                (values, index), sums = self._evaluator.recorded_losses(
                    member, self._training_set, self._record, networks[k].recorded
                )
                networks[k] = networks[k]._replace(recorded=sums)
            losses[k] = np.roll(losses[k], 1, axis=0)
            losses[k, 0, index] = values
            with np.errstate(invalid="ignore"):
                mean = np.nanmean(losses[k][:, index], axis=0)
            p = probability[k, index] = clean_probability(mean)
            # Of both parts enough for a batch; of a small set, half.
            at_least = [min(size, len(index) // 2) for size in self._sizes]
            split = split_clean(p, mean, threshold=config.threshold, at_least=at_least[0])
            meta = split_clean(p, mean, threshold=config.meta_threshold, at_least=at_least[1])
            clean[k, index], meta_clean[k, index] = split.clean, meta.clean
            clamped[k] = split.clamped or meta.clamped
        return state._replace(
            networks=tuple(networks),
            losses=losses,
            probability=probability,
            clean=clean,
            meta_clean=meta_clean,
            clamped=clamped,
            split_at=np.array(t, np.int32),
        )

    def _current_parts(self, state: PairState) -> list[Parts]:
        """The streams of the split in force, made anew when it changes."""
        split_at = int(state.split_at)
        if self._parts[0] != split_at:
            self._reading.close()  # whatever read for the last split
            self._reading = self._stack.enter_context(contextlib.ExitStack())
            clean, meta_clean = np.asarray(state.clean), np.asarray(state.meta_clean)
            made = [
                self._open_parts(self._reading, clean[1 - k], meta_clean[1 - k], k) for k in (0, 1)
            ]
            self._parts = (split_at, made)
            self._tables = [jax.device_put(p) for p in np.asarray(state.probability)]
        return self._parts[1]
