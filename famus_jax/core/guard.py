"""One bad batch costs one step: what is not finite is not kept.

A single infinity in a batch would otherwise stay for ever, in θ, in its optimizer's moments, in the
samplers of learned gates and in BatchNorm's running statistics, whatever guards the parameters.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from famus_jax.core.state import MetaState

PyTree = Any


def stays_finite(new: PyTree, old: PyTree) -> jax.Array:
    """Whether nothing that was finite in `old` has stopped being so; a bool scalar.

    An infinity that an optimizer starts from (the best loss so far, say) is none of ours.
    """
    fine = jnp.ones((), bool)
    for after, before in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True):
        if jnp.issubdtype(jnp.result_type(after), jnp.inexact):
            fine &= (jnp.isfinite(after) | ~jnp.isfinite(before)).all()
    return fine


def keep(fine: jax.Array, new: PyTree, old: PyTree) -> PyTree:
    """`new` if all is fine, else `old`, as it is."""
    return jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, old)


def keep_state(fine: jax.Array, new: MetaState, old: MetaState) -> MetaState:
    """The state after a step that is skipped unless all is fine: it is counted, and its diagnostics
    are there, but nothing is learned from it. The memory is the new one: who writes it sees to that."""
    apart: dict[str, Any] = {"info": (), "key": (), "memory": ()}
    kept = keep(fine, new._replace(**apart), old._replace(**apart))
    return kept._replace(
        step=new.step,
        key=new.key,
        info=new.info,
        memory=new.memory,
        skipped=old.skipped + 1 - fine.astype(jnp.int32),
    )
