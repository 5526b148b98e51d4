"""The rows of the benchmark: estimators, and the programs that their steps run.

An estimator that chooses from step to step runs several programs; each is measured by itself, and
the row is their mean, weighted by how often they come up. Symbols: see `famus_jax.core.random_layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from famus_jax.benchmark.workload import (
    Lowered,
    Place,
    Workload,
    here,
    lower_ours,
    lower_plain,
)
from famus_jax.core import estimators as est
from famus_jax.core.active_layers import Seen
from famus_jax.core.checks import check_estimator
from famus_jax.core.cost import program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.core.programs import Program, program_cost
from famus_jax.gates import learned_gates
from famus_jax.layers.partition import Layers

SETS = ("core", "all")


class StepProgram(NamedTuple):
    """One compiled step: hashable, so that rows that share it measure it once.

    Attributes:
      estimator: None for the plain step.
      program: which of the estimator's programs.
      method, by: see `Workload.problem`.
    """

    estimator: Estimator | None = None
    program: Program = Program()
    method: str = "mwnet"
    by: str = "module"

    @property
    def label(self) -> str:
        """A short name for progress bars and traces."""
        if self.estimator is None:
            return "plain"
        if not self.program.meta:
            return f"{self.method} without meta update"
        name = f"{self.method} {self.estimator.label}"
        return f"{name} program {self.program.index}" if self.program.index else name

    def lower(
        self, work: Workload, place: Place = here, compile_with: Callable[..., Any] | None = None
    ) -> Lowered:
        """The lowered program; see `lower_plain`."""
        if self.estimator is None:
            return lower_plain(work, place, compile_with)
        return lower_ours(
            work,
            self.estimator,
            self.program,
            method=self.method,
            by=self.by,
            place=place,
            compile_with=compile_with,
        )

    def passes(self, work: Workload) -> float:
        """Forward and backward passes over a plain step's, by analysis of the layers."""
        if self.estimator is None:
            return 1.0
        problem = work.problem(self.method, self.by)
        return program_cost(problem, self.estimator, work.n, work.m, self.program)


PLAIN = StepProgram()


class Row(NamedTuple):
    """One row.

    Attributes:
      name: unique.
      estimator: None for the plain step.
      mix: the programs, each with its share of the steps; shares sum to 1.
      core: whether it is in the set `core`.
      method, by: see `Workload.problem`.
      note: what a reader must know, or "".
    """

    name: str
    estimator: Estimator | None
    mix: tuple[tuple[float, StepProgram], ...]
    core: bool = True
    method: str = "mwnet"
    by: str = "module"
    note: str = ""


def mix_of(
    layers: Layers, estimator: Estimator, method: str = "mwnet", by: str = "module"
) -> tuple[tuple[float, StepProgram], ...]:
    """The programs of an estimator whose frequencies are known, with their shares of the steps.

    Raises:
      ValueError: for learned gates: only a run tells their frequencies.
    """
    shares = estimator.active.program_probabilities(layers)
    if shares is None:
        raise ValueError(
            f"how often each program of {estimator.label} runs is known only from a run: measure its "
            "programs one by one"
        )
    every, base = estimator.update_every, estimator.replace(update_every=1)
    programs = [(share, Program(index=i)) for i, share in enumerate(shares) if share > 0]
    if k := estimator.renews_every:
        programs = [(1 / k, Program(renews=True)), (1 - 1 / k, Program())]
    mix = [(share / every, StepProgram(base, one, method, by)) for share, one in programs]
    if every > 1:  # between meta updates all estimators' steps are the same
        skipped = StepProgram(est.all_layers(), Program(meta=False), method, by)
        mix.append((1 - 1 / every, skipped))
    return tuple(mix)


def last_block(layers: Layers) -> tuple[str, ...]:
    """The head and the residual block (or layer) below it, by name."""
    block = layers.names[-2].split("/")[0]
    return tuple(n for n in layers.names[:-1] if n.split("/")[0] == block) + layers.names[-1:]


def last_stage(layers: Layers) -> tuple[str, ...]:
    """The last residual stage (or layer), without the head, by name."""

    stages = [name.split("/")[0].split("_block")[0] for name in layers.names[:-1]]
    return tuple(n for n, stage in zip(layers.names, stages) if stage == stages[-1])


def estimators(layers: Layers, n: int) -> dict[str, Estimator]:
    """The estimators of the set `core` for batches of n, by the names of the benchmark's rows."""
    eighth, quarter = max(1, n // 8), max(1, n // 4)
    block = last_block(layers)
    return {
        "second_order": est.second_order(),
        "layerwise_vjp": est.all_layers(route="vjp"),
        "all_layers": est.all_layers(),
        "last_block": est.named_layers(*block),
        "last_layer": est.last_layers(1),
        "last_block_actual": est.named_layers(*block, virtual_step="actual"),
        "last_layer_actual": est.last_layers(1, virtual_step="actual"),
        "last_block_active": est.named_layers(*block, virtual_step="active"),
        "last_layer_active": est.last_layers(1, virtual_step="active"),
        "random_depth_0.2": est.random_depth(0.2, virtual_step="active"),
        "random_depth_0.2_quarter": est.random_depth(0.2, virtual_step="active", examples=quarter),
        "all_layers_eighth": est.all_layers(examples=eighth),
        "all_layers_every_4": est.all_layers(update_every=4),
        "last_layer_actual_every_4": est.last_layers(1, virtual_step="actual", update_every=4),
    }


def more_estimators(layers: Layers) -> dict[str, Estimator]:
    """Those that only the set `all` has, but for L2R's and learned gates."""
    head = est.last_layers(1, virtual_step="active")
    return {
        "finite_difference": est.all_layers(route="finite_difference"),
        "darts": est.all_layers(route="darts"),
        "all_layers_8": est.all_layers(examples=8),
        "carried": est.all_layers(virtual_step="carried", examples=4, renew_every=8, decay=0.5),
        "last_stage": est.named_layers(*last_stage(layers)),
        "random_layers_4": est.random_layers(min(4, len(layers))),
        "last_layer_active_control_variate_8": head.replace(control_variate_every=8),
        "all_layers_through_optimizer": est.all_layers(through_optimizer=True),
        "last_layer_active_through_optimizer": head.replace(through_optimizer=True),
    }


def rows(work: Workload) -> tuple[list[Row], dict[str, str]]:
    """Every row that the workload can have, `plain` first; and why it can't have others.

    Nothing is compiled.
    """
    found = [Row("plain", None, ((1.0, PLAIN),))]
    core_rows, more_rows = estimators(work.layers, work.n), more_estimators(work.layers)
    for core, some in ((True, core_rows), (False, more_rows)):
        found += [Row(k, e, mix_of(work.layers, e), core) for k, e in some.items()]
    for name, e in {
        "l2r_all_layers": est.all_layers(),
        "l2r_last_layer": est.last_layers(1),
    }.items():
        found.append(Row(name, e, mix_of(work.layers, e, "l2r"), core=False, method="l2r"))
    fitting, left_out = [], {}
    for preset in ("paper", "released", "budget"):
        try:
            found += gate_rows(work, preset)
        except ValueError as error:
            left_out[f"gates_{preset}"] = str(error)
    for row in found:
        try:
            if row.estimator is not None:
                problem = work.problem(row.method, row.by)
                costs = program_costs(problem, row.estimator, work.n, work.m)
                layers = problem.layers or work.layers
                check_estimator(problem, row.estimator, Seen(layers, costs), work.n)
            fitting.append(row)
        except ValueError as error:
            left_out[row.name] = str(error)
    return fitting, left_out


def gate_rows(work: Workload, preset: str) -> Iterator[Row]:
    """The cheapest and the most expensive program of learned gates, drawn two updates ahead.

    With `"budget"` the budget is halfway between the two, with `"paper"` K is 4 or all layers there
    are. Raises `ValueError` if the preset can't have this network.
    """
    by = "tensor" if preset == "released" else "module"
    problem = work.problem("mwnet", by)
    layers, changes = problem.layers, {}
    assert layers is not None
    if preset == "budget":
        ends = (
            program_costs(problem, estimator, work.n, work.m)[0]
            for estimator in (est.last_layers(1), est.all_layers())
        )
        changes["target"] = sum(ends) / 2
    if preset == "paper":
        changes["target"] = float(min(4, len(layers)))
    estimator = learned_gates(preset, lag=2, **changes)
    last = len(estimator.active.programs(layers)) - 1
    for which, number in (("cheapest", last), ("most_expensive", 0)):
        yield Row(
            name=f"gates_{preset}_{which}",
            estimator=estimator,
            mix=((1.0, StepProgram(estimator, Program(index=number), by=by)),),
            core=False,
            by=by,
            note="one compiled program; a run's own mix lies between cheapest and most expensive",
        )
