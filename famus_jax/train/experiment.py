"""A whole experiment: every method for every seed, then a table, a picture and a summary file.

Everything is kept in the work directory as soon as it is known; run the same command again after an
interruption and it goes on where it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from famus_jax.files import finite, remove_parts, write_json
from famus_jax.interruption import Interrupted, Interruption
from famus_jax.lock import alone_in
from famus_jax.parallel.processes import agree, check_shared, is_writer, text_of_first
from famus_jax.predictor import Predictor
from famus_jax.progress import Progress
from famus_jax.provenance import provenance
from famus_jax.train import data_setup, fingerprint, kept, loop, plots, results, status, streams
from famus_jax.train.clock import Clock, TimeIsUp
from famus_jax.train.config import ExperimentConfig, RunConfig, parse_config
from famus_jax.train.curves import curve_of
from famus_jax.train.evidence import too_large
from famus_jax.train.figures import drawn
from famus_jax.train.fingerprint import MadeFrom
from famus_jax.train.finished import finished
from famus_jax.train.label_issues import list_label_issues
from famus_jax.train.mended import mended
from famus_jax.train.methods import METHODS
from famus_jax.train.one_network import OneNetworkRuns
from famus_jax.train.placement import ONE_DEVICE, Placement
from famus_jax.train.setting import Seeded, make_setting
from famus_jax.train.two_networks.runs import TwoNetworkRuns
from famus_jax.train.wandb_writer import check_wandb, wandb_writer


def run_experiment(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    command: Sequence[str] | None = None,
    max_minutes: float | None = None,
    show: Callable[[str], None] = print,
    placement: Placement = ONE_DEVICE,
    interruption: Interruption | None = None,
    wandb: str = "",
) -> dict[str, Any]:
    """Runs (or resumes) the experiment that `config` describes.

    Args:
      config: a nested dict (`ConfigDict.to_dict()`); see `famus_jax.train.config`.
      workdir: an own folder for this experiment.
      command: what to record as the command; by default `sys.argv`.
      max_minutes: stop at the first evaluation after so long, with everything saved; None: don't.
      show: prints the table.
      placement: the devices; no step depends on it, but for rounding, which grows from step to step.
        With several processes each must call this; the first one writes.
      wandb: a project of Weights & Biases to log to as well; "" for none.
      interruption: signals that end it after the step under way; None: Python's own way with them.

    Returns:
      The content of `summary.json`.

    Raises:
      ValueError: for a config that can't work; a work directory that another process is at work in,
        or that holds another experiment or one of other data; processes that disagree on the config
        or the data.
      FloatingPointError: if a loss stops being finite.
      TimeIsUp: after `max_minutes`; the message says how far it is. Call again to go on.
      Interrupted: after a signal, alike.
    """
    clock = Clock(max_minutes, interruption=interruption)
    check_wandb(wandb)
    parsed, workdir = parse_config(config), Path(workdir)
    agree("max_minutes", str(max_minutes), "Start all of them with the same --max_minutes.")
    agree("the config", parsed.digest(), "Start all of them with the same --config and flags.")
    with _alone(workdir):
        settings = dataclasses.asdict(parsed)
        made_from = fingerprint.of_config(settings)
        kept.refuse_kept_of_others(workdir, made_from)
        # What can't work raises here, before a file is made.
        experiment = Experiment(parsed, workdir, placement, wandb)
        made_from |= experiment.made_from_data
        kept.refuse_kept_of_others(workdir, made_from)
        record = {"digest": parsed.digest(), "config": settings}
        if is_writer():
            remove_parts(workdir)
            kept.write_config(workdir, record, made_from)
        check_shared(workdir)
        rows, curves = experiment.run(made_from, clock)
        result = {"rows": rows, "config": settings, "provenance": provenance(command)}
        if not is_writer():
            return result
        result = finite(result)
        write_json(workdir / "summary.json", result)
        (workdir / status.NAME).unlink(missing_ok=True)
    for message in experiment.warnings:
        show(f"warning: {message}")
    show(results.table(rows))
    picture = workdir / "summary.png"
    trouble = experiment.trouble + drawn(picture, functools.partial(plots.draw, curves))
    written = [workdir / "summary.json", *([picture] if picture.exists() else [])]
    lists = sorted(experiment.lists)
    many = [f"{len(lists)} lists of label issues below {workdir / 'runs'}"]
    show("\nwritten: " + ", ".join(map(str, [*written, *(many if len(lists) > 5 else lists)])))
    for message in trouble:
        show(f"note: {message}; all other results are there")
    return result


@contextlib.contextmanager
def _alone(workdir: Path) -> Iterator[None]:
    """`alone_in` for the process that writes; all end with its error."""
    with contextlib.ExitStack() as stack:
        refused = ""
        if is_writer():
            try:
                stack.enter_context(alone_in(workdir))
            except (ValueError, OSError) as error:
                refused = str(error)
        if refused := text_of_first(refused):
            raise ValueError(refused)
        yield


class Experiment:
    """Every run for every seed: trains what is not finished, and gathers the results."""

    def __init__(
        self,
        config: ExperimentConfig,
        workdir: Path,
        placement: Placement = ONE_DEVICE,
        wandb: str = "",
    ):
        self._wandb = wandb if is_writer() else ""
        self.config, self.workdir = config, workdir
        self.setting = make_setting(config, workdir, placement)
        self.sources = self.setting.sources
        self.one_network = OneNetworkRuns(self.setting)
        self.two_networks = TwoNetworkRuns(self.setting)
        self.trouble: list[str] = []  # pictures and lists that could not be made
        self.lists: list[Path] = []  # those of label issues that were
        self.warnings: list[str] = []  # what to know before reading them
        if why := too_large(len(self.sources.train.labels), self.sources.train.num_classes):
            self.trouble.append(why)
        self._tell: Callable[[str], None] = lambda what: None  # how far it is, see `status`
        self._trained = False  # whether anything was, since this object was made
        for run in config.runs:  # every estimator must fit the network, before the first run starts
            self._runs(run).check(run)
        sources, data = self.sources, config.data
        self.seeded = {seed: data_setup.seed_data(sources, data, seed) for seed in config.seeds}
        for run in config.runs:  # a class may have lost its last label to the noise
            for seeded in self.seeded.values():
                self.one_network.check_counts(run, seeded.class_counts)
        self.made_from_data = self._made_from_data()

    def _made_from_data(self) -> dict[str, str]:
        """Hashes of the data, which all processes must share: the first one's."""
        data = fingerprint.of_data(self.sources, self.seeded, self.setting.pretrained)
        agree(
            "the data",
            fingerprint.shared(data),
            "Give all of them the same data.data_dir, or the same files.",
        )
        return json.loads(text_of_first(json.dumps(data)))

    def _runs(self, run: RunConfig) -> OneNetworkRuns | TwoNetworkRuns:
        """What makes runs of this method's kind."""
        return self.two_networks if METHODS[run.method].splits else self.one_network

    def run(
        self, made_from: MadeFrom, clock: Clock | None = None
    ) -> tuple[list[dict[str, Any]], list[plots.Curve]]:
        """Every run for every seed: the table's rows and the picture's curves.

        Args:
          made_from: hashes of config and data, kept with every result and checkpoint.
          clock: see `loop.train`.

        Raises:
          TimeIsUp: if the clock says so before the last step of the last run.
        """
        config = self.config
        ordered = sorted(config.runs, key=lambda run: METHODS[run.method].needs is not None)
        total, seeded = sum(map(self._length, config.runs)) * len(config.seeds), self.seeded
        place = self.setting.placement.evaluated
        evaluated = {
            s: {name: place(b) for name, b in sets.items()}
            for s, d in seeded.items()
            for sets in [streams.evaluation_sets(self.sources, d, config.data)]
        }
        done: dict[tuple[str, int], dict[str, Any]] = {}
        clock, train = clock or Clock(), self.sources.train
        with (
            Progress(total, "step", show=is_writer()) as progress,
            status.told(self.workdir, progress, is_writer()) as self._tell,
        ):
            for run in ordered:  # all seeds of a method share its compiled step
                for seed in config.seeds:
                    progress.describe(f"{run.name} seed {seed}")
                    self._tell(f"{run.name} seed {seed}")
                    one = Seeded(run, seed, seeded[seed], evaluated[seed], made_from)

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
                    listed = list_label_issues(folder, seeded, train.ids, train.class_names)
                    self.trouble += listed.trouble
                    self.warnings += listed.warnings
                    self.lists += listed.lists
        rows = [done[r.name, s]["row"] for r in config.runs for s in config.seeds]
        # A run that was stopped early is part of another's curve.
        drawn = [run for run in config.runs if not METHODS[run.method].early_stop]
        curves = []
        for run in drawn:
            found = {seed: done[run.name, seed] for seed in config.seeds}
            curves.append(curve_of(config, run, seeded, found))
        return rows, curves

    def _length(self, run: RunConfig) -> int:
        method, schedule = METHODS[run.method], self.config.schedule
        if method.early_stop:
            return 0
        return schedule.finetune_steps if method.needs else schedule.steps

    def _one(self, one: Seeded, progress: Progress, done: Any, clock: Clock) -> dict[str, Any]:
        """One run of one seed: read back if it is finished, else trained."""
        run, seed = one.run, one.seed
        folder = self.workdir / "runs" / run.name / f"seed_{seed}"
        kept_before = kept.read_result(folder, one.made_from)
        if kept_before is not None:
            progress.skip(self._length(run))
            return kept_before
        method, arrays, predictor = METHODS[run.method], {}, None
        if method.early_stop:
            result = results.stopped_early(run.method, seed, done[method.needs, seed])
        else:
            if self._trained and clock.is_up():
                raise TimeIsUp(f"{run.name} seed {seed} is not begun, or not gone on with")
            result, arrays, predictor = self._train(one, folder, progress, clock)
            self._trained = True
        known = one.data.noise_rate is not None
        result["noise_transition"] = one.data.noise_transition.tolist() if known else None
        if is_writer():
            kept.write_result(folder, finite(result), one.made_from, arrays, predictor)
        return result

    def _train(
        self, seeded: Seeded, folder: Path, progress: Progress, clock: Clock
    ) -> tuple[dict[str, Any], dict[str, np.ndarray], Predictor]:
        """The run's result, what it tells of every example, and what predicts."""
        run, data, steps = seeded.run, seeded.data, self._length(seeded.run)
        said: set[str] = set()  # once here; how often, the table says

        def on_progress(taken: int, newest: dict) -> None:
            if "test_accuracy" in newest:
                progress.note(f"test {newest['test_accuracy']:.1%}")
                log(newest)
            progress.update(taken)
            self._tell(f"{run.name} seed {seeded.seed}")
            for text in newest.get("warnings", ()):
                if (what := results.without_numbers(text)) in said:
                    continue
                said.add(what)
                progress.say(
                    f"warning: {run.name} seed {seeded.seed}, step {newest['step']}: {text}"
                )

        before = 0.0
        if METHODS[run.method].batches == "mended":
            found = mended(self.sources, seeded, folder, progress)
            seeded, before = seeded._replace(data=found.data), found.seconds
        settings = {**dataclasses.asdict(self.config), "run": dataclasses.asdict(run)}
        with (
            wandb_writer(self._wandb, run.name, seeded.seed, folder, settings) as log,
            self._runs(run).open(seeded, steps) as prepared,
        ):
            done = loop.train(prepared, folder, on_progress, clock)
        return finished(self.setting, seeded, data, done, prepared.members, steps, before)
