"""How close cheaper meta gradients come to the exact one along real training runs.

famus fidelity --config=configs/fidelity.py --workdir=runs/fidelity [--accuracy=SUMMARY_JSON]

Interrupted? The same command goes on where it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from famus_jax.bench import fidelity_picture, fidelity_report
from famus_jax.bench.fidelity_config import Plan, gates_of, parse_fidelity
from famus_jax.bench.fidelity_gates import gate_price
from famus_jax.bench.fidelity_lines import Lines
from famus_jax.bench.fidelity_run import Bench, measure_run
from famus_jax.files import read_json, write_json
from famus_jax.provenance import provenance


def run_fidelity(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    accuracy: str | Path | None = None,
    command: Sequence[str] | None = None,
    show: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Runs (or resumes) what `config` describes; see `famus_jax.bench.fidelity_config`.

    Args:
      config: a nested dict (`ConfigDict.to_dict()`).
      workdir: an own folder: `measurements.jsonl`, checkpoints, `fidelity.json`, `fidelity.png`.
      accuracy: a finished `summary.json` of `famus train`, for the panel of accuracy by cost.
      command: what to record as the command.
      show: prints the table.

    Returns:
      The content of `fidelity.json`.

    Raises:
      ValueError: for a config that can't work, or a work directory of another one; nothing has been
        written then.
      FloatingPointError: if a loss stops being finite.
    """
    from tqdm import tqdm

    plan, workdir = parse_fidelity(config), Path(workdir)
    _refuse_another(workdir, plan)
    beside = fidelity_report.accuracies(Path(accuracy)) if accuracy else []
    bench = Bench(plan)
    write_json(workdir / "config.json", {"digest": plan.digest(), "config": plan.as_dict()})
    lines = Lines(workdir / "measurements.jsonl")
    runs, seeds = plan.experiment.runs, plan.experiment.seeds
    total = sum(bench.amount(run) for run in runs) * len(seeds)
    with tqdm(total=total, unit="step", mininterval=0.5, smoothing=0.05) as bar:
        for run in runs:
            for seed in seeds:
                bar.set_description(f"{run.name} seed {seed}")
                folder = workdir / "checkpoints" / run.name / f"seed_{seed}"
                measure_run(bench, run, seed, folder, lines, bar.update)
    prices = _prices(bench, lines, workdir)
    rows = fidelity_report.rows_of(bench, lines, prices)
    result = {
        "rows": rows,
        "gate_prices": prices,
        "gate_input_effect": fidelity_report.input_effects(lines),
        "accuracy_by_cost": beside,
        "groups": list(bench.problem.groups.names),
        "points": plan.steps,
        "measurements": lines.records,
        "config": plan.as_dict(),
        "provenance": provenance(command),
    }
    fidelity_picture.draw(bench, lines, beside, workdir / "fidelity.png")
    write_json(workdir / "fidelity.json", result)
    show(fidelity_report.table(rows, prices))
    for name, effect in result["gate_input_effect"].items():
        show(f"{name}: mean |p(ḡ) − p(0)| = {effect:.4f}")
    show(f"\nwritten: {workdir / 'fidelity.json'}, {workdir / 'fidelity.png'}")
    return result


def _refuse_another(workdir: Path, plan: Plan) -> None:
    """A work directory belongs to one config."""
    path = workdir / "config.json"
    if path.exists() and (theirs := read_json(path)).get("digest") != plan.digest():
        mine, other = plan.as_dict(), theirs.get("config", {})
        differ = [name for name in mine if other.get(name) != mine[name]]
        raise ValueError(
            f"{workdir} holds another experiment (it differs in {', '.join(differ)}): give this one "
            "another --workdir, or delete that folder"
        )


def _prices(bench: Bench, lines: Lines, workdir: Path) -> dict[str, dict[str, Any]]:
    """What the gates of every run cost, over all seeds; kept in `prices.json`, since it takes time."""
    from tqdm import tqdm

    path = workdir / "prices.json"
    prices: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}
    fidelity, seeds = bench.plan.fidelity, bench.plan.experiment.seeds
    for run in bench.plan.experiment.runs:
        if gates_of(bench.estimators[run.name]) is None or run.name in prices:
            continue
        per_seed = [
            [
                b
                for record in lines.of("window", run=run.name, seed=seed)
                for b in record["branches"]
            ]
            for seed in seeds
        ]
        kept = [
            b for branches in per_seed for b in branches[int(fidelity.burn_in * len(branches)) :]
        ]
        work = bench.workload(seeds[0])
        step = bench.step(run, work.params, work.model_state, work.batch)
        amount = (fidelity.rounds + 1) * (1 + len(set(kept)))
        with tqdm(total=amount, desc=f"price of {run.name}", unit="step") as bar:
            prices[run.name] = gate_price(
                step, work, kept, 0.0, fidelity.rounds, lambda name: bar.update()
            )
        write_json(path, prices)
    return prices


def main(argv: list[str]) -> int:
    """The command line; returns the exit status."""
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file(
        "config", None, "A config file.", flag_values=values, sys_argv=argv
    )
    workdir = flags.DEFINE_string("workdir", None, "An own folder.", flag_values=values)
    accuracy = flags.DEFINE_string(
        "accuracy", "", "A summary.json of `famus train`, to draw beside cost.", flag_values=values
    )
    flags.mark_flags_as_required([config.name, workdir.name], flag_values=values)
    try:
        values(argv)
        settings = config.value.to_dict()
    except (flags.Error, OSError, AttributeError, TypeError) as error:
        print(f"famus fidelity: {error}", file=sys.stderr)
        return 2
    try:
        run_fidelity(settings, str(workdir.value), accuracy=accuracy.value or None, command=argv)
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        print(f"famus fidelity: {error}", file=sys.stderr)
        return 1
    return 0
