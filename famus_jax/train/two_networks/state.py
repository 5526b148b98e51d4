"""What the training of two networks carries from step to step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from famus_jax.train.evaluation import Member
from famus_jax.uses.train_state import TrainState


class PairState(NamedTuple):
    """Everything that the training of two networks carries; a checkpoint of it resumes bit for bit.

    Attributes:
      networks: the two networks' `TrainState`s.
      key: of targets and mixing; step t uses `fold_in(key, t)`.
      losses: float32 [2, H, N], every example's last H losses, newest first; NaN where not measured.
      probability: float32 [2, N], p by each network's own losses; NaN outside the training set.
      clean: bool [2, N], each network's own split.
      meta_clean: bool [2, N], those right enough for the meta batches of the *peer*.
      clamped: bool [2], a threshold left too few on one side.
      split_at: int32, the step before which the split was made; -1 for none yet.
    """

    networks: tuple[TrainState, TrainState]
    key: jax.Array
    losses: Any
    probability: Any
    clean: Any
    meta_clean: Any
    clamped: Any
    split_at: Any


def first_state(
    networks: tuple[TrainState, TrainState], key: jax.Array, count: int, history: int
) -> PairState:
    """The state before the first step, for a data set of `count` examples."""
    nothing = np.zeros((2, count), bool)
    return PairState(
        networks=networks,
        key=key,
        losses=np.full((2, history, count), np.nan, np.float32),
        probability=np.full((2, count), np.nan, np.float32),
        clean=nothing,
        meta_clean=nothing.copy(),
        clamped=np.zeros(2, bool),
        split_at=np.array(-1, np.int32),
    )


def members(state: PairState) -> list[Member]:
    """The two networks as they train: what splits and targets are made with."""
    return [(network.params, network.model_state) for network in state.networks]
