"""Whether a run is going wrong: what is said within one evaluation, and what ends it.

A warning is for what may pass or be meant; an error for what can't become a result: numbers that aren't
finite, a loss beyond all bounds, a run in which nothing has moved from the start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.train.measure import Window, rise
from famus_jax.uses.train_state import TrainState

PyTree = Any

_WORSE = 10  # times the loss of guessing: a warning
_HOPELESS = 1e4  # an error
_NOTHING_MOVED = 100  # steps, or the whole run
_FALLEN = 0.15  # less may be chance in a small held-out set
_UPSIDE_DOWN = 0.5  # of 1, the rank correlation of weights and losses
_LOWER = "Lower schedule.learning_rate (or the meta-model's meta.learning_rate)"


def refuse_nonfinite_loss(window: Window, first: int, suspect_of: Callable[[int], str]) -> None:
    """Raises `FloatingPointError` for the first step of the window whose loss is not finite.

    Args:
      window: the steps since the last evaluation.
      first: the number of the first of them.
      suspect_of: `place of a step in the window -> what stands out in its batch`, or "".
    """
    for i, loss in enumerate(sum(one.loss for one in step) for step in window):
        if not math.isfinite(loss):
            suspect = suspect_of(i)
            raise FloatingPointError(
                f"the loss is {loss} at step {first + i}. "
                f"{f'{suspect}: look at it first. ' if suspect else ''}{_LOWER}; the last checkpoint "
                "is from before this step"
            )


def refuse_nonfinite_state(state: PyTree, first: int, last: int) -> None:
    """Raises `FloatingPointError` if parameters, statistics, θ or an optimizer's state are not finite.

    The last step's loss is computed before its update: without this, what that update broke would be
    saved, and shown as a result.

    Args:
      state: holds one `TrainState` or several.
      first, last: the steps since this was last asked, for the message.
    """
    parts = _trained(state)
    names = [
        f"{name}{jax.tree_util.keystr(path)}"
        for name, part in parts.items()
        for path, _ in jax.tree_util.tree_leaves_with_path(part)
    ]
    fine = jax.device_get(_finite(list(parts.values())))  # a list: a dict would be sorted by name
    bad = [name for name, good in zip(names, fine, strict=True) if not good]
    if bad:
        raise FloatingPointError(
            f"{bad[0]} is not finite after step {last - 1}, though every loss was: a gradient of "
            f"steps {first} to {last - 1} overflowed. {_LOWER}, or look for examples with very large "
            "values; nothing of these steps is saved"
        )


def _trained(state: PyTree) -> dict[str, PyTree]:
    """Everything that a step moves, by a name for people."""
    leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, TrainState))
    states = [leaf for leaf in leaves if isinstance(leaf, TrainState)]
    return {
        f"{name}{f' of network {k}' if len(states) > 1 else ''}": part
        for k, one in enumerate(states)
        for name, part in {
            "params": one.params,
            "model_state": one.model_state,
            "the optimizer's state": one.opt_state,
            "θ": one.meta.theta,
            "the meta-optimizer's state": one.meta.opt_state,
            "the active layers' state": one.meta.active,
        }.items()
    }


@jax.jit
def _finite(tree: PyTree) -> list[jax.Array]:
    def one(x: jax.Array) -> jax.Array:
        inexact = jnp.issubdtype(x.dtype, jnp.inexact)
        return jnp.isfinite(x).all() if inexact else jnp.ones((), bool)

    return [one(leaf) for leaf in jax.tree.leaves(tree)]


def refuse_hopeless(
    window: Window, history: Sequence[Mapping[str, Any]], guessing: float, last: int, steps: int
) -> None:
    """Raises `FloatingPointError` for a run that can't become a result.

    Args:
      window: the steps since the last evaluation.
      history: the evaluations before.
      guessing: the loss of a guess, log C.
      last: steps taken.
      steps: of the whole run.
    """
    loss = np.mean([one.loss for step in window for one in step])
    if loss > _HOPELESS * _expected(window, history, guessing):
        raise FloatingPointError(
            f"the loss has grown to {loss:.3g} by step {last - 1}, and guessing has {guessing:.3g}. "
            f"{_LOWER}"
        )
    losses = [record["loss"] for record in history]
    moved = any(losses) or any(one.loss for step in window for one in step)
    if not moved and last >= min(_NOTHING_MOVED, steps):
        raise FloatingPointError(
            f"the loss was exactly 0 in all of the first {last} steps, so nothing was learned: the "
            "weights of all examples are 0, which means that no training example agrees with the "
            "trusted ones. Look at the trusted labels, or give the estimator other layers"
        )


def warnings_of(
    window: Window,
    history: Sequence[Mapping[str, Any]],
    guessing: float,
    reweights: bool,
    *,
    long_tail: bool = False,
) -> list[str]:
    """What looks wrong in the steps since the last evaluation, a sentence each.

    Args:
      window, history, guessing: as in `refuse_hopeless`.
      reweights: whether the weights tell something of the examples.
      long_tail: whether weights may well prefer large losses, which rare classes have.
    """
    parts = [one for step in window for one in step]
    updated = [one for one in parts if one.meta]
    said = []
    expected = _expected(window, history, guessing)
    for name, values in {
        "loss": [one.loss for one in parts],
        "meta_loss": [one.meta["meta_loss"] for one in updated],
    }.items():
        if (worst := max(filter(math.isfinite, values), default=0.0)) > _WORSE * expected:
            said.append(
                f"{name} reached {worst:.3g}, and guessing has {guessing:.3g}: it may be diverging; "
                "lower schedule.learning_rate"
            )
    said += [
        f"{name} was {value} in {count} of {of} steps"
        for name, value, count, of in _nonfinite(parts, updated)
    ]
    if updated:
        said += _learned(updated, reweights)
    if reweights and not long_tail:
        said += _upside_down(window)
    return said


def broken_down(history: Sequence[Mapping[str, Any]], measured: Mapping[str, float]) -> list[str]:
    """Whether the network has lost most of what it knew of held-out labels, in one sentence.

    A loss need not tell: weights that gather on a few examples keep it small while the network falls to
    chance. Learning the noise by heart costs far less than half of the accuracy on noisy labels.

    Args:
      history: the records of the evaluations before.
      measured: of this one; without `"validation_accuracy"` nothing is said.
    """
    name = "validation_accuracy"
    before = max((record[name] for record in history if record.get(name) is not None), default=0)
    now = measured.get(name)
    if now is None or now >= before / 2 or before - now < _FALLEN:
        return []
    return [
        f"the accuracy on held-out labels fell to {now:.1%}, from {before:.1%} at its best: the "
        "training broke down; lower schedule.learning_rate"
    ]


def _upside_down(window: Window) -> list[str]:
    """Whether what looks wrong, by its loss, is what the weights prefer."""
    if (correlation := rise(window)) is None or correlation < _UPSIDE_DOWN:
        return []
    return [
        f"the weights rise with the loss (rank correlation {correlation:.2f}): what looks wrong counts "
        "most. For MW-Net set meta.monotone = True, or take an estimator that hears every layer "
        "(all_layers, examples=8); look at the trusted labels; it is as it should be only where the "
        "rare or the hard are to count most"
    ]


def _learned(updated: Sequence[Any], reweights: bool) -> list[str]:
    """Whether anything is learned about the labels, in one sentence at most."""
    if reweights and (weights := _weights(updated)):
        return weights
    if all(one.meta["theta_norm"] == 0 for one in updated):
        return [
            "the meta gradient was exactly 0: nothing is learned about the labels; the active layers "
            "may not reach the meta loss"
        ]
    return []


def _weights(updated: Sequence[Any]) -> list[str]:
    if all(one.most == one.least == 0 for one in updated):
        return [
            "the weights of all examples were 0 in every step: no example agrees with the trusted "
            "ones, and nothing is learned from them"
        ]
    if zero := sum(one.most == one.least == 0 for one in updated):
        if zero > len(updated) / 2:
            return [f"the weights of all examples were 0 in {zero} of {len(updated)} steps"]
    elif all(one.most - one.least < 1e-6 for one in updated):
        return [
            "all examples got the same weight in every step, which is plain training: the meta-model "
            "tells no label from another; lower meta.learning_rate if it has saturated. (MW-Net with "
            "meta.monotone stays at equal weights where the trusted examples ask for larger losses)"
        ]
    return []


def _nonfinite(parts: Sequence[Any], updated: Sequence[Any]) -> list[tuple[str, float, int, int]]:
    """(name, value, in how many, of how many) of what was not finite."""
    columns: dict[str, list[float]] = {}
    for one in parts:
        for name, value in one.metrics.items():
            columns.setdefault(name, []).append(value)
        if one.clean[1] or one.wrong[1]:
            columns.setdefault("a weight", []).append(one.clean[0] + one.wrong[0])
    for one in updated:
        for name, value in one.meta.items():
            columns.setdefault(name, []).append(value)
    found = []
    for name, values in columns.items():
        if bad := [value for value in values if not math.isfinite(value)]:
            found.append((name, bad[0], len(bad), len(values)))
    return found


def _expected(window: Window, history: Sequence[Mapping[str, Any]], guessing: float) -> float:
    """A loss that a run may well have: that of guessing, or what it began with if that is more.

    A loss that is scaled, or whose logits are, begins higher and jumps as much higher. The lowest loss
    so far would be another measure for it than for others, which may go back to where they began.
    """
    begun = [record["loss"] for record in history if record["loss"] is not None]
    return max(guessing, begun[0] if begun else float(np.mean([one.loss for one in window[0]])))
