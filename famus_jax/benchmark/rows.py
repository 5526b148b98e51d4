"""The rows of the benchmark: estimators, and the programs that their steps run.

An estimator that chooses from step to step runs several programs; each is measured by itself, and
the row is their mean, weighted by how often they come up. Symbols: see `famus_jax.core.random_layers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from famus_jax.benchmark.workload import Lowered, Workload, lower_ours, lower_plain
from famus_jax.core import estimators as est
from famus_jax.core.checks import check_estimator
from famus_jax.core.estimator import Estimator
from famus_jax.core.programs import Program, cuts_of, program_cost, program_costs
from famus_jax.core.random_layers import RandomDepth, RandomLayers
from famus_jax.gates import LearnedGates
from famus_jax.layers.partition import Layers

SETS = ("core", "all")


class Program(NamedTuple):
    """One compiled step: hashable, so that rows that share it measure it once.

    Attributes:
      estimator: None for the plain step.
      variant: which of the estimator's programs.
      method, by: see `Workload.problem`.
    """

    estimator: Estimator | None = None
    variant: Program = Program()
    method: str = "mwnet"
    by: str = "module"

    @property
    def label(self) -> str:
        """A short name for progress bars and traces."""
        if self.estimator is None:
            return "plain"
        if not self.variant.meta:
            return f"{self.method} without meta update"
        name = f"{self.method} {self.estimator.label}"
        return f"{name} program {self.variant.branch}" if self.variant.branch else name

    def lower(self, work: Workload) -> Lowered:
        """The lowered program; see `lower_plain`."""
        if self.estimator is None:
            return lower_plain(work)
        return lower_ours(work, self.estimator, self.variant, method=self.method, by=self.by)

    def passes(self, work: Workload) -> float:
        """Forward and backward passes over a plain step's, by analysis of the layer groups."""
        if self.estimator is None:
            return 1.0
        problem = work.problem(self.method, self.by)
        return program_cost(problem, self.estimator, work.rho, self.variant)


PLAIN = Program()


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
    mix: tuple[tuple[float, Program], ...]
    core: bool = True
    method: str = "mwnet"
    by: str = "module"
    note: str = ""


def mix_of(
    groups: Layers, estimator: Estimator, method: str = "mwnet", by: str = "module"
) -> tuple[tuple[float, Program], ...]:
    """The programs of an estimator whose frequencies are known, with their shares of the steps.

    Raises:
      ValueError: for learned gates, or a schedule for `every`: only a run tells their frequencies.
    """
    active, every = estimator.active, estimator.every
    if callable(every) or isinstance(active, LearnedGates):
        raise ValueError(
            f"how often each program of {estimator.label} runs is known only from a run: measure its "
            "programs one by one"
        )
    base = estimator.replace(update_every=1)
    if isinstance(active, RandomDepth | RandomLayers):
        shares = enumerate(active.program_probabilities(groups))
        variants = [(share, Program(branch=i)) for i, share in shares if share > 0]
    elif k := estimator.control_variate_every:
        variants = [(1 / k, Program(correct=True)), (1 - 1 / k, Program())]
    else:
        variants = [(1.0, Program())]
    mix = [(share / every, Program(base, variant, method, by)) for share, variant in variants]
    if every > 1:  # between meta updates all estimators' steps are the same
        mix.append((1 - 1 / every, Program(est.exact(), Program(meta=False), method, by)))
    return tuple(mix)


def last_block(groups: Layers) -> tuple[str, ...]:
    """The head and the residual block (or layer) below it, by name."""
    block = groups.names[-2].split("/")[0]
    return tuple(n for n in groups.names[:-1] if n.split("/")[0] == block) + groups.names[-1:]


def last_stage(groups: Layers) -> tuple[str, ...]:
    """The last residual stage (or layer), without the head, by name."""

    stages = [name.split("/")[0].split("_block")[0] for name in groups.names[:-1]]
    return tuple(n for n, stage in zip(groups.names, stages) if stage == stages[-1])


def estimators(groups: Layers) -> dict[str, Estimator]:
    """The estimators of the set `core`, by the names of the benchmark's rows."""
    block = last_block(groups)
    return {
        "second_order": est.second_order(),
        "vjp_layerwise": est.exact(route="vjp"),
        "exact": est.exact(),
        "famus_last_block": est.named_layers(block),
        "famus_head": est.last_layers(1),
        "one_pass_last_block": est.named_layers(block, virtual_step="actual"),
        "one_pass_head": est.last_layers(1, virtual_step="actual"),
        "active_only_last_block": est.named_layers(block, virtual_step="active"),
        "active_only_head": est.last_layers(1, virtual_step="active"),
        "random_depth_0.2": est.random_depth(0.2, virtual_step="active"),
        "random_depth_0.2_part_0.25": est.random_depth(0.2, virtual_step="active", part=0.25),
        "exact_part_0.125": est.exact(part=0.125),
        "exact_every_4": est.exact(update_every=4),
        "one_pass_head_every_4": est.last_layers(1, virtual_step="actual", update_every=4),
    }


def more_estimators(groups: Layers) -> dict[str, Estimator]:
    """Those that only the set `all` has, but for L2R's and learned gates."""
    head = est.last_layers(1, virtual_step="active")
    return {
        "finite_difference": est.exact(route="finite_difference"),
        "darts": est.exact(route="darts"),
        "block_last_stage": est.named_layers(last_stage(groups)),
        "random_groups_4": est.random_layers(min(4, len(groups))),
        "active_only_head_correct_8": head.replace(control_variate_every=8),
        "exact_optimizer": est.exact(through_optimizer=True),
        "active_only_head_optimizer": head.replace(through_optimizer=True),
    }


def rows(work: Workload) -> tuple[list[Row], dict[str, str]]:
    """Every row that the workload can have, `plain` first; and why it can't have others.

    Nothing is compiled.
    """
    found = [Row("plain", None, ((1.0, PLAIN),))]
    for core, some in ((True, estimators(work.groups)), (False, more_estimators(work.groups))):
        found += [Row(k, e, mix_of(work.groups, e), core) for k, e in some.items()]
    for name, e in {"l2r_exact": est.exact(), "l2r_head": est.last_layers(1)}.items():
        found.append(Row(name, e, mix_of(work.groups, e, "l2r"), core=False, method="l2r"))
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
                check_estimator(problem, row.estimator, work.rho, work.n)
            fitting.append(row)
        except ValueError as error:
            left_out[row.name] = str(error)
    return fitting, left_out


def gate_rows(work: Workload, preset: str) -> Iterator[Row]:
    """The cheapest and the most expensive program of learned gates, drawn two updates ahead.

    With `"budget"` the budget is halfway between the two, with `"paper"` K is 4 or all groups there
    are. Raises `ValueError` if the preset can't have this network.
    """
    by = "tensor" if preset == "released" else "module"
    problem = work.problem("mwnet", by)
    changes = {}
    if preset == "budget":
        ends = (
            program_costs(problem, estimator, work.rho)[0]
            for estimator in (est.last_layers(1), est.exact())
        )
        changes["target"] = sum(ends) / 2
    if preset == "paper":
        changes["target"] = float(min(4, len(problem.groups)))
    estimator = est.learned_gates(preset, lag=2, **changes)
    last = len(cuts_of(problem, estimator)) - 1
    for which, number in (("cheapest", last), ("most_expensive", 0)):
        yield Row(
            name=f"gates_{preset}_{which}",
            estimator=estimator,
            mix=((1.0, Program(estimator, Program(branch=number), by=by)),),
            core=False,
            by=by,
            note="one compiled program; a run's own mix lies between cheapest and most expensive",
        )
