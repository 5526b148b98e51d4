"""What training carries from step to step, and what of it a step that went wrong leaves as it was."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from famus_jax.core.guard import keep, keep_state, stays_finite
from famus_jax.core.state import MetaState

PyTree = Any


class TrainState(NamedTuple):
    """Everything that training carries; a checkpoint of it resumes bit for bit.

    Attributes:
      step: steps taken, int32 scalar.
      params, model_state, opt_state: the network and its optimizer.
      meta: the meta-model; see `MetaState`.
      key: the key of the forward passes; step t uses `fold_in(key, t)`.
      recorded: the sums of `train_step(record=...)`; () without one.
      average: the moving average of `(params, model_state)` that `train_step(ema=...)` keeps, to be
        evaluated in their place (`TrainStep.averaged`); () without one. None for a frozen parameter.
    """

    step: jax.Array
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    meta: MetaState
    key: jax.Array
    recorded: PyTree = ()
    average: PyTree = ()


def unless_nonfinite(new: TrainState, old: TrainState) -> TrainState:
    """The state before the step, if it was none that counts; with the step counted."""
    fine = stays_finite((new.params, new.opt_state), (old.params, old.opt_state))
    fine &= new.meta.skipped == old.meta.skipped
    apart: dict[str, Any] = {"meta": (), "key": (), "recorded": ()}
    kept = keep(fine, new._replace(**apart), old._replace(**apart))
    meta = keep_state(fine, new.meta, old.meta)
    meta = meta._replace(memory=keep(fine, new.meta.memory, old.meta.memory))
    return kept._replace(step=new.step, key=new.key, meta=meta, recorded=new.recorded)
