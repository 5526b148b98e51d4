"""Would it pay to send training and meta batch through a frozen trunk together?

    python -m experiments.joint_pass --model=wrn_28_2 --batch=32 --meta_batch=8 --json=PATH

Where the virtual step moves the last layer alone, both batches meet the same trunk below it. One pass
over n + m examples can then serve both: its outputs on the meta batch, at the virtual step, are
f + J (ŵ − w), exactly so for a head that is linear in its parameters. What this saves is a
second, smaller run of the trunk. What it costs is the way back, over all n + m examples, though the
cotangent is zero on m of them: 1 + ρ plain steps instead of 1 + ρ/3, with ρ = m/n. It pays where the
device is so idle that rows are free, and nowhere else. This measures it.

BatchNorm in the trunk takes its statistics of both batches: a slightly other step. With a norm that
sees one example at a time both ways are the same step (a test holds them to it).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.on_workload import study
from famus_jax.benchmark.measure import compile_step, interleaved_seconds, row_of
from famus_jax.benchmark.text import cell
from famus_jax.benchmark.workload import LEARNING_RATE, Lowered, Workload, lower_plain, optimizer
from famus_jax.benchmark.workload import lower_ours as lower_apart
from famus_jax.core.estimators import last_layers
from famus_jax.core.meta_gradient import outputs_to_theta, training_cotangent
from famus_jax.core.virtual_step import scale
from famus_jax.differentiate.linearize import Linearized, linearize

PyTree = Any
APART = last_layers(1, virtual_step="active")


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""

    def measure(work: Workload, args: Any) -> list[dict[str, Any]]:
        return measure_joint_pass(work, args.rounds, block=args.block)

    return study("joint_pass", argv, __doc__, measure, table)


def measure_joint_pass(work: Workload, rounds: int, *, block: int = 1) -> list[dict[str, Any]]:
    """Rows for `plain`, `apart` (the library's step) and `joint`.

    Args:
      work: the network; one whose last layer is linear.
      rounds, block: see `famus_jax.benchmark.measure.interleaved_seconds`.
    """
    lowered = {"plain": lower_plain(work), "apart": lower_apart(work, APART)}
    lowered["joint"] = lower_joint(work)
    loops = jax.devices()[0].platform != "cpu"
    steps = {name: compile_step(*one, loops=loops) for name, one in lowered.items()}
    seconds = interleaved_seconds(steps, rounds, block=block, title="joint pass")
    return [{"pass": n, **row_of(((1.0, n),), steps, seconds, "plain")} for n in steps]


def table(rows: list[dict[str, Any]]) -> str:
    """Training and meta batch in two passes and in one, the last layer active."""
    lines = [f"\n{'passes':8s} {'FLOPs':>7s} {'memory':>7s} {'time':>7s} {'ms':>9s}"]
    lines += [
        f"{row['pass']:8s} {cell(row['flops_ratio'])} {row['temp_bytes_ratio']:7.3f} "
        f"{row['time_ratio']:7.3f} {row['step_ms']:9.2f}"
        for row in rows
    ]
    lines.append("over the plain step's; apart: the library's step, the last layer active.")
    return "\n".join(lines)


def lower_joint(work: Workload) -> Lowered:
    """MW-Net with the last layer active, both batches in one pass; returns as `lower_plain`.

    The state is `(params, model_state, optimizer's state, θ, its optimizer's state)`.
    """
    problem, tx = work.problem(), optimizer()
    method, head = problem.method, (len(work.layers) - 1,)

    def step(state: PyTree, batch: PyTree, meta_batch: PyTree) -> tuple[PyTree, jax.Array]:
        params, model_state, opt_state, theta, meta_opt_state = state
        both = jax.tree.map(lambda *x: jnp.concatenate(x), batch, meta_batch)
        where = (params, model_state, jax.random.key(0), both)
        lin = linearize(problem.forward, *where, work.layers)
        train, meta = _rows(lin, batch, 0, work.n), _rows(lin, meta_batch, work.n, work.m)

        cotangent, _ = training_cotangent(problem, theta, train)
        moved = scale(train.vjp_part(cotangent, head), -LEARNING_RATE)
        ahead = [f + df for f, df in zip(meta.f, meta.jvp(moved, head), strict=True)]
        c = jax.grad(lambda f: problem.meta_loss(meta.outputs_at(f), meta_batch))(ahead)
        d = scale(meta.vjp_part(c, head), -LEARNING_RATE)
        gradient = outputs_to_theta(problem, theta, train, train.jvp(d, head))
        updates, meta_opt_state = method.meta_optimizer.update(gradient, meta_opt_state, theta)
        theta = optax.apply_updates(theta, updates)

        cotangent, (loss, _) = training_cotangent(problem, theta, train)
        updates, opt_state = tx.update(train.vjp(cotangent), opt_state, params)
        params = optax.apply_updates(params, updates)
        return (params, lin.model_state, opt_state, theta, meta_opt_state), loss

    params, model_state = jax.tree.map(jnp.copy, (work.params, work.model_state))
    theta = method.init(jax.random.key(0), work.n)
    state = (params, model_state, tx.init(params), theta, method.meta_optimizer.init(theta))
    batches = (work.batch, work.meta_batch)
    return jax.jit(step, donate_argnums=0).lower(state, *batches), state, batches


def _rows(lin: Linearized, batch: PyTree, first: int, count: int) -> Linearized:
    """The same forward pass, seen from `count` of its rows."""
    total = lin.f[0].shape[0]

    def mine(rows: list[jax.Array]) -> list[jax.Array]:
        return [x[first : first + count] for x in rows]

    def padded(c: list[jax.Array]) -> list[jax.Array]:
        rest = total - first - count
        return [jnp.pad(x, ((first, rest), *((0, 0),) * (x.ndim - 1))) for x in c]

    return dataclasses.replace(
        lin,
        f=mine(lin.f),
        batch=batch,
        jvp=lambda v, active: mine(lin.jvp(v, active)),
        vjp=lambda c: lin.vjp(padded(c)),
        vjp_part=lambda c, active: lin.vjp_part(padded(c), active),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
