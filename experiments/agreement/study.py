"""How close cheaper meta gradients come to the exact one along real training runs.

The command is `__main__`. Interrupted, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.agreement import picture, report
from experiments.agreement.config import gates_of, parse_agreement
from experiments.agreement.gates import gate_price
from experiments.agreement.lines import Lines
from experiments.agreement.runs import measure_run
from experiments.agreement.shared import Study
from famus_jax.core.estimators import all_layers
from famus_jax.files import remove_parts, write_json
from famus_jax.lock import alone_in
from famus_jax.progress import Progress
from famus_jax.provenance import provenance
from famus_jax.sealed import read_sealed, write_sealed
from famus_jax.train import fingerprint, kept


def run_agreement(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    accuracy: str | Path | None = None,
    command: Sequence[str] | None = None,
    show: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Runs (or resumes) what `config` describes; see `experiments.agreement.config`.

    Args:
      config: a nested dict (`ConfigDict.to_dict()`).
      workdir: an own folder: `measurements.jsonl`, checkpoints, `agreement.json`, `agreement.png`.
      accuracy: a finished `summary.json` of `famus train`, for the panel of accuracy by cost.
      command: what to record as the command.
      show: prints the table.

    Returns:
      The content of `agreement.json`.

    Raises:
      ValueError: for a config that can't work, or a work directory of another one, of other data or in
        use; nothing has been written then.
      FloatingPointError: if a loss stops being finite.
    """
    plan, workdir = parse_agreement(config), Path(workdir)
    with alone_in(workdir):
        kept.refuse_kept_of_others(workdir, fingerprint.of_config(plan.as_dict()))
        beside = report.accuracies(Path(accuracy)) if accuracy else []
        study = Study(plan)
        kept.refuse_kept_of_others(workdir, study.made_from)
        remove_parts(workdir)
        described = {"digest": plan.digest(), "config": plan.as_dict()}
        kept.write_config(workdir, described, study.made_from)
        result, rows, prices = _measured(study, workdir, beside, command)
    show(report.table(rows, prices))
    for name, effect in result["gate_input_effect"].items():
        show(f"{name}: mean |p(ḡ) − p(0)| = {effect:.4f}")
    show(f"\nwritten: {workdir / 'agreement.json'}, {workdir / 'agreement.png'}")
    return result


def _measured(
    study: Study, workdir: Path, beside: list[dict[str, Any]], command: Sequence[str] | None
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Everything measured and written: what `agreement.json` holds, the table's rows, the prices."""
    plan = study.plan
    lines = Lines(workdir / "measurements.jsonl")
    runs, seeds = plan.experiment.runs, plan.experiment.seeds
    total = sum(study.amount(run) for run in runs) * len(seeds)
    with Progress(total, "step") as progress:
        for run in runs:
            for seed in seeds:
                progress.describe(f"{run.name} seed {seed}")
                folder = workdir / "checkpoints" / run.name / f"seed_{seed}"
                measure_run(study, run, seed, folder, lines, progress)
    prices = _prices(study, lines, workdir)
    rows = report.rows_of(study, lines, prices)
    result = {
        "rows": rows,
        "gate_prices": prices,
        "gate_input_effect": report.input_effects(lines),
        "accuracy_by_cost": beside,
        "layers": list(study.layers_of(all_layers()).names),
        "points": plan.steps,
        "measurements": lines.records,
        "config": plan.as_dict(),
        "provenance": provenance(command),
    }
    picture.draw(study, lines, beside, workdir / "agreement.png")
    write_json(workdir / "agreement.json", result)
    return result, rows, prices


def _prices(study: Study, lines: Lines, workdir: Path) -> dict[str, dict[str, Any]]:
    """What the gates of every run cost, over all seeds; kept in `prices.json`, since it takes time."""
    path = workdir / "prices.json"
    prices: dict[str, dict[str, Any]] = read_sealed(path) if path.exists() else {}
    agreement, seeds = study.plan.agreement, study.plan.experiment.seeds
    for run in study.plan.experiment.runs:
        if gates_of(study.estimators[run.name]) is None or run.name in prices:
            continue
        kept: list[int] = []
        for seed in seeds:
            windows = lines.of("window", run=run.name, seed=seed)
            programs = [number for record in windows for number in record["programs"]]
            kept += programs[int(agreement.burn_in * len(programs)) :]
        work = study.workload(seeds[0])
        step = study.step(run)
        title = f"price of {run.name}"
        prices[run.name] = gate_price(step, work, kept, 0.0, agreement.rounds, title)
        write_sealed(path, prices)
    return prices
