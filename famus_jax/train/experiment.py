"""A whole experiment: every method for every seed, then a table, a picture and a summary file.

Everything is kept in the work directory as soon as it is known; run the same command again after an
interruption and it goes on where it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from famus_jax.files import read_json, write_atomically, write_json
from famus_jax.interruption import Interrupted, Interruption
from famus_jax.parallel.processes import agree, check_shared, is_writer
from famus_jax.progress import Progress
from famus_jax.provenance import made_on, provenance
from famus_jax.train import data_setup, loop, plots, results, streams
from famus_jax.train.clock import Clock, TimeIsUp
from famus_jax.train.config import ExperimentConfig, RunConfig, parse_config
from famus_jax.train.label_issues import list_label_issues
from famus_jax.train.methods import METHODS
from famus_jax.train.one_network import OneNetworkRuns
from famus_jax.train.placement import ONE_DEVICE, Placement
from famus_jax.train.setting import Seeded, make_setting
from famus_jax.train.two_networks.runs import TwoNetworkRuns


def run_experiment(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    command: Sequence[str] | None = None,
    max_minutes: float | None = None,
    show: Callable[[str], None] = print,
    placement: Placement = ONE_DEVICE,
    interruption: Interruption | None = None,
) -> dict[str, Any]:
    """Runs (or resumes) the experiment that `config` describes.

    Args:
      config: a nested dict (`ConfigDict.to_dict()`); see `famus_jax.train.config`.
      workdir: an own folder for this experiment.
      command: what to record as the command; by default `sys.argv`.
      max_minutes: stop at the first evaluation after so long, with everything saved; None: don't.
      show: prints the table.
      placement: the devices; the results do not depend on it, but for rounding. With several processes
        each must call this; the first one writes.
      interruption: signals that end it after the step under way; None: Python's own way with them.

    Returns:
      The content of `summary.json`.

    Raises:
      ValueError: for a config that can't work, a work directory of another experiment, or processes
        that disagree on the config or the data.
      FloatingPointError: if a loss stops being finite.
      TimeIsUp: after `max_minutes`; the message says how far it is. Call again to go on.
      Interrupted: after a signal, alike.
    """
    clock = Clock(max_minutes, interruption=interruption)
    parsed, workdir = parse_config(config), Path(workdir)
    agree("max_minutes", str(max_minutes), "Start all of them with the same --max_minutes.")
    agree("the config", parsed.digest(), "Start all of them with the same --config and flags.")
    _refuse_another(workdir, parsed)
    # What can't work raises here, before a file is made.
    experiment = Experiment(parsed, workdir, placement)
    record = {"digest": parsed.digest(), "config": dataclasses.asdict(parsed)}
    if is_writer():
        write_json(workdir / "config.json", record)
    check_shared(workdir)
    rows, curves = experiment.run(clock)
    result = {
        "rows": rows,
        "config": dataclasses.asdict(parsed),
        "provenance": provenance(command),
    }
    if not is_writer():
        return result
    plots.draw(curves, workdir / "summary.png")
    write_json(workdir / "summary.json", result)
    show(results.table(rows))
    show(f"\nwritten: {workdir / 'summary.json'}, {workdir / 'summary.png'}")
    return result


def _refuse_another(workdir: Path, config: ExperimentConfig) -> None:
    """A work directory belongs to one config."""
    path, mine = workdir / "config.json", dataclasses.asdict(config)
    if path.exists() and (theirs := read_json(path))["digest"] != config.digest():
        differ = [name for name in mine if theirs["config"].get(name) != _plain(mine[name])]
        raise ValueError(
            f"{workdir} holds another experiment (it differs in {', '.join(differ)}): give this one "
            "another --workdir, or delete that folder"
        )


def _plain(value: Any) -> Any:
    """As JSON would give it back: tuples become lists."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


class Experiment:
    """Every run for every seed: trains what is not finished, and gathers the results."""

    def __init__(self, config: ExperimentConfig, workdir: Path, placement: Placement = ONE_DEVICE):
        self.config, self.workdir = config, workdir
        self.setting = make_setting(config, workdir, placement)
        self.sources = self.setting.sources
        self.one_network = OneNetworkRuns(self.setting)
        self.two_networks = TwoNetworkRuns(self.setting)
        self._trained = False  # whether anything was, since this object was made
        for run in config.runs:  # every estimator must fit the network, before the first run starts
            self._runs(run).check(run)

    def _runs(self, run: RunConfig) -> OneNetworkRuns | TwoNetworkRuns:
        """What makes runs of this method's kind."""
        return self.two_networks if METHODS[run.method].networks == 2 else self.one_network

    def run(self, clock: Clock | None = None) -> tuple[list[dict[str, Any]], list[plots.Curve]]:
        """Every run for every seed: the table's rows and the picture's curves.

        Raises:
          TimeIsUp: if the clock says so before the last step of the last run.
        """
        config = self.config
        ordered = sorted(config.runs, key=lambda run: METHODS[run.method].needs is not None)
        total = sum(self._length(run) for run in config.runs) * len(config.seeds)
        seeded = {s: data_setup.seed_data(self.sources, config.data, s) for s in config.seeds}
        agree(
            "the data",
            " ".join(_data_digest(d) for d in seeded.values()),
            "Give all of them the same data.data_dir, or the same files.",
        )
        place = self.setting.placement.evaluated
        evaluated = {
            s: {name: place(b) for name, b in sets.items()}
            for s, d in seeded.items()
            for sets in [streams.evaluation_sets(self.sources, d, config.data)]
        }
        for run in config.runs:  # a class may have lost its last label to the noise
            for data in seeded.values():
                self.one_network.check_counts(run, data.class_counts)
        done: dict[tuple[str, int], dict[str, Any]] = {}
        clock, train = clock or Clock(), self.sources.train
        with Progress(total, "step", show=is_writer()) as progress:
            for run in ordered:  # all seeds of a method share its compiled step
                for seed in config.seeds:
                    progress.describe(f"{run.name} seed {seed}")
                    one = Seeded(run, seed, seeded[seed], evaluated[seed])

                    def so_far(what: object) -> str:
                        return (
                            f"{what}, all is saved, and {progress.done} of {total} steps of the "
                            "experiment are done; the same command goes on from there"
                        )

                    try:
                        done[run.name, seed] = self._one(one, progress, done, clock)
                    except TimeIsUp as up:
                        raise TimeIsUp(so_far(f"the time is up: {up}")) from None
                    except Interrupted as ended:
                        said = so_far(f"ended by {ended.signal.name}: {ended}")
                        raise Interrupted(ended.signal, said if str(ended) else "") from None
                if is_writer():
                    folder = self.workdir / "runs" / run.name
                    list_label_issues(folder, seeded, train.ids, train.class_names)
        rows = [done[r.name, s]["row"] for r in config.runs for s in config.seeds]
        # A run that was stopped early is part of another's curve.
        drawn = [run for run in config.runs if not METHODS[run.method].early_stop]
        return rows, [self._curve(run, seeded, done) for run in drawn]

    def _length(self, run: RunConfig) -> int:
        method, schedule = METHODS[run.method], self.config.schedule
        if method.early_stop:
            return 0
        return schedule.finetune_steps if method.needs else schedule.steps

    def _one(self, one: Seeded, progress: Progress, done: Any, clock: Clock) -> dict[str, Any]:
        """One run of one seed: read back if it is finished, else trained."""
        run, seed = one.run, one.seed
        folder = self.workdir / "runs" / run.name / f"seed_{seed}"
        path = folder / "result.json"
        if path.exists():
            progress.skip(self._length(run))
            return read_json(path)
        method = METHODS[run.method]
        if method.early_stop:
            result = results.stopped_early(run.method, seed, done[method.needs, seed])
        else:
            if self._trained and clock.is_up():
                raise TimeIsUp(f"{run.name} seed {seed} is not begun, or not gone on with")
            result = self._train(one, folder, progress, clock)
            self._trained = True
        result["noise_transition"] = one.data.noise_transition.tolist()
        if is_writer():
            write_json(path, result)
        return result

    def _train(
        self, seeded: Seeded, folder: Path, progress: Progress, clock: Clock
    ) -> dict[str, Any]:
        run, data, steps = seeded.run, seeded.data, self._length(seeded.run)

        def on_progress(taken: int, newest: dict) -> None:
            if "test_accuracy" in newest:
                progress.note(f"test {newest['test_accuracy']:.1%}")
            progress.update(taken)
            for text in newest.get("warnings", ()):
                progress.say(
                    f"warning: {run.name} seed {seeded.seed}, step {newest['step']}: {text}"
                )

        with self._runs(run).open(seeded, steps) as prepared:
            done = loop.train(prepared, folder, on_progress, clock)
        per_example = dict(done.per_example)
        if done.weights is not None:
            per_example["weights"] = done.weights
        if per_example and is_writer():
            content = io.BytesIO()
            np.savez(content, ids=self.sources.train.ids, **per_example)  # type: ignore[arg-type]
            write_atomically(folder / "weights.npz", content.getvalue())
        row = results.make_row(
            run.method,
            run.estimator_label,
            seeded.seed,
            done.history,
            noise_rate_realised=data.noise_rate,
            noise_digest=data.noise_digest,
            **made_on(),
            model=self.config.model.name,
            dtype=self.config.model.dtype,
            steps=steps,
            seconds=round(done.seconds, 3),
            warnings=_warnings(done.history),
            step_cost=round(self._cost(run, done.history), 4),
            weight_auroc=results.auroc(done.weights, data.wrong),
            probability_auroc=results.auroc(done.per_example.get("clean_probability"), data.wrong),
        )
        weights = None if done.weights is None else _finite_list(done.weights)
        return {"row": row, "history": done.history, "weights": weights}

    def _cost(self, run: RunConfig, history: list[dict[str, Any]]) -> float:
        """The step's forward and backward passes over a plain step's, from its layers."""
        schedule, method = self.config.schedule, METHODS[run.method]
        rho = schedule.meta_batch_size / schedule.batch_size
        if method.batches == "noisy+trusted":
            return 1 + rho
        return float(np.mean([record["cost"] for record in history]))

    def _curve(self, run: RunConfig, seeded, done) -> plots.Curve:
        found = {seed: done[run.name, seed] for seed in self.config.seeds}
        histories = [result["history"] for result in found.values()]
        clean = wrong = None
        if all(result["weights"] is not None for result in found.values()):
            parts = [
                (np.array(result["weights"], float), seeded[seed].wrong)
                for seed, result in found.items()
            ]
            drawn = [(w[np.isfinite(w)], bad[np.isfinite(w)]) for w, bad in parts]
            if any(len(w) and np.ptp(w) > 1e-6 for w, _ in drawn):  # else nothing was weighed
                clean = np.concatenate([w[~bad] for w, bad in drawn])
                wrong = np.concatenate([w[bad] for w, bad in drawn])
        offset = self.config.schedule.steps if METHODS[run.method].needs else 0
        return plots.Curve(
            method=run.method,
            estimator=run.estimator_label,
            histories=histories,
            offset=offset,
            clean=clean,
            wrong=wrong,
        )


def _data_digest(seeded: data_setup.SeedData) -> str:
    """A hash of what a process trains on: labels, splits, and images if they are in memory."""
    digest = hashlib.blake2b(seeded.noise_digest.encode(), digest_size=16)
    arrays = [seeded.clean, seeded.noisy, *seeded.splits]
    arrays += [seeded.images] if isinstance(seeded.images, np.ndarray | jax.Array) else []
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _warnings(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """What looked wrong, and at how many evaluations; texts that differ in numbers only are one."""
    said: dict[str, list[str]] = {}
    for record in history:
        for text in record.get("warnings", ()):
            said.setdefault(re.sub(r"[\d.]+(e[+-]?\d+)?", "", text), []).append(text)
    return [f"{texts[-1]} ({len(texts)} of {len(history)} evaluations)" for texts in said.values()]


def _finite_list(values: np.ndarray) -> list[float | None]:
    return [round(float(v), 6) if np.isfinite(v) else None for v in values]
