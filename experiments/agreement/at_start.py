"""How close each row of the benchmark comes to the exact meta gradient, at a network's start.

    python -m experiments.agreement.at_start --model=wrn_28_2 --batch=16 --rows=second_order,all_layers

Symbols: V = the weights of the training examples, s = ∂L_val/∂V, θ = the weighting net's parameters,
ε = L2R's weights. The network is random and MW-Net at its start, so that this says what the estimator
leaves out, not what that does to a run. s, not ∇_θ, is what counts (see `gradients`); for L2R the two
are one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from experiments.agreement.gradients import (
    agreement,
    normalized_gradient,
    theta_gradient,
    weight_gradient,
)
from experiments.on_workload import study
from famus_jax.benchmark.rows import Row, rows
from famus_jax.benchmark.text import cell
from famus_jax.benchmark.workload import LEARNING_RATE, Workload, optimizer
from famus_jax.core.active_layers import Draw, Seen
from famus_jax.core.cost import program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import all_layers
from famus_jax.core.problem import Inputs
from famus_jax.core.random_layers import RandomDepth
from famus_jax.gates import LearnedGates
from famus_jax.progress import Progress

PyTree = Any
KEYS = ("cosine_weights", "cosine_theta", "sign_agreement", "relative_error")


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rows", default="", help="of `famus benchmark`, comma-separated")
        parser.add_argument("--draws", type=int, default=4, help="random sets in a mean")

    def measure(work: Workload, args: argparse.Namespace) -> list[dict[str, Any]]:
        return measure_agreement(work, [n for n in args.rows.split(",") if n], args.draws)

    return study(
        "agreement.at_start",
        argv,
        __doc__,
        measure,
        table,
        timed=False,
        add_arguments=add_arguments,
    )


def measure_agreement(
    work: Workload, only: Sequence[str] = (), draws: int = 4
) -> list[dict[str, Any]]:
    """`{"row": name, **KEYS}` of the rows named, by default of all that have a gradient.

    Raises:
      ValueError: for an unknown row, or fewer than one draw.
    """
    known = [row for row in rows(work)[0] if has_gradient(row)]
    for name in only:
        if name not in [row.name for row in known]:
            raise ValueError(f"no row {name!r}; the rows are {[row.name for row in known]}")
    at_start = AtStart(work, draws)
    chosen = [row for row in known if not only or row.name in only]
    found = []
    with Progress(len(chosen), "row") as progress:
        for row in chosen:
            progress.describe(row.name)
            found.append({"row": row.name, **at_start.of(row)})
            progress.update()
    return found


def has_gradient(row: Row) -> bool:
    """Not the plain step; nor learned gates: what they keep is decided in a run."""
    return row.estimator is not None and not isinstance(row.estimator.active, LearnedGates)


class AtStart:
    """Agreement with the exact gradient on one workload; that is computed once per method.

    Args:
      work: the network and its batches.
      draws: how many draws of random layers the mean is taken over (every random depth counts with
        its probability, so that no more than one draw of each is needed).

    Raises:
      ValueError: for fewer than one draw.
    """

    def __init__(self, work: Workload, draws: int = 4):
        if draws < 1:
            raise ValueError(f"draws must be at least 1; got {draws}")
        self._work, self._draws = work, draws
        self._exact: dict[str, tuple[jax.Array, jax.Array]] = {}

    def of(self, row: Row) -> dict[str, float]:
        """`KEYS` of a row that `has_gradient`: means over draws.

        `cosine_weights`, `sign_agreement` and `relative_error` are those of s. For `update_every`
        and `control_variate_every`, which say when and not what, those of their base.
        """
        if row.estimator is None:
            raise ValueError(f"the row {row.name!r} has no meta gradient")
        if row.method not in self._exact:
            self._exact[row.method] = self._gradients(row, all_layers())(None)
        s, theta = self._exact[row.method]
        totals: dict[str, float] = dict.fromkeys(KEYS, 0.0)
        estimator = row.estimator
        gradients = self._gradients(row, estimator)
        for share, draw in self._draws_of(row, estimator):
            s_row, theta_row = gradients(draw)
            close = agreement(s_row, s)
            values = (
                close.cosine,
                agreement(theta_row, theta).cosine,
                close.sign_agreement,
                close.relative_error,
            )
            for name, value in zip(KEYS, values):
                totals[name] += share * float(value)
        return totals

    def _draws_of(self, row: Row, estimator: Estimator) -> Iterator[tuple[float, Draw | None]]:
        """Draws of the layers, and what share they count for."""
        kind, work = estimator.active, self._work
        problem = work.problem(row.method, row.by)
        if not kind.drawn:
            yield 1.0, None
            return
        assert problem.layers is not None
        if isinstance(kind, RandomDepth):
            for depth, share in enumerate(kind.probabilities):
                yield share, kind.at(depth, problem.layers)
            return
        seen = Seen(problem.layers, program_costs(problem, estimator, work.n, work.m))
        for number in range(self._draws):
            key = jax.random.key(number)
            yield 1 / self._draws, kind.draw((), key, jnp.ones((), jnp.int32), seen)

    def _gradients(
        self, row: Row, estimator: Estimator
    ) -> Callable[[Draw | None], tuple[jax.Array, jax.Array]]:
        """Compiled `draw -> (s, ∇_θ)`: flat; s without its part along V where weights are relative."""
        work, tx = self._work, optimizer()
        problem = work.problem(row.method, row.by)
        method, opt_state = problem.method, tx.init(work.params)
        theta = method.init(jax.random.key(0), work.n)

        def run(draw: Draw | None, arrays: PyTree) -> tuple[jax.Array, jax.Array]:
            def optimizer_update(gradient: PyTree) -> PyTree:
                return tx.update(gradient, opt_state, arrays[0])[0]

            params, model_state, rng, batch, meta_batch = arrays
            inputs = Inputs(
                params=params,
                model_state=model_state,
                rng=rng,
                batch=batch,
                meta_batch=meta_batch,
                step_size=LEARNING_RATE,
                optimizer_update=optimizer_update,
            )
            found = theta_gradient(problem, estimator, inputs, theta, draw)
            over_theta = jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(found)])
            if method.reset_each_batch:
                return over_theta, over_theta
            outputs, _ = problem.forward(params, model_state, rng, batch)
            _, weights = method.loss(theta, outputs, batch)
            s = weight_gradient(problem, estimator, inputs, weights, draw)
            return normalized_gradient(s, weights), over_theta

        compiled = jax.jit(run)
        arrays = (work.params, work.model_state, jax.random.key(0), work.batch, work.meta_batch)
        return lambda draw: compiled(draw, arrays)


def table(found: list[dict[str, Any]]) -> str:
    """The rows for people."""
    width = max(len(row["row"]) for row in found)
    lines = [f"{'step':{width}s} {'cosine':>9s} {'signs':>7s} {'rel. error':>10s} {'cosine θ':>9s}"]
    for row in found:
        lines.append(
            f"{row['row']:{width}s} {row['cosine_weights']:9.6f} {cell(row['sign_agreement'])} "
            f"{row['relative_error']:10.3g} {row['cosine_theta']:9.6f}"
        )
    lines.append("To the exact ∂L_val/∂V (and ∇_θ) of a random network; means over single draws.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
