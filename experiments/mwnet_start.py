"""How MW-Net should start and move: a random or a flat V, free or never rising, SGD or Adam; ten seeds.

    python -m experiments.mwnet_start --json=results/mwnet_start.json [--settings next any]

Settings: "quickstart_mlp", the data and schedule of configs/quickstart.py, with an MLP in the place of
its small CNN; "digits_short", data, network and schedule of configs/estimators.py; "next" and "any", a
small loop: digits, an MLP, 10 trusted per class, 40 % of the labels flipped to the next or to any other
class. All cells of a setting have the same seeds, 100 to 109, which no table uses. A cell is ten
trainings; finished cells are read from the file.
"""

from __future__ import annotations

import argparse
import functools
import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import famus_jax
from famus_jax.data import batch_indices, epoch_indices
from famus_jax.files import read_json, write_json
from famus_jax.losses import logits_of
from famus_jax.provenance import provenance
from famus_jax.train.build import build_optimizer, build_schedule
from famus_jax.train.config import ExperimentConfig, default_config, parse_config
from famus_jax.train.data_setup import seed_data
from famus_jax.train.results import auroc
from famus_jax.train.setting import Setting, make_setting

PyTree = Any
SEEDS = tuple(range(100, 110))
SETTINGS = ("quickstart_mlp", "next", "any", "digits_short")
VARIANTS = {
    "random": {"start": "random", "monotone": False},
    "flat": {"start": "flat", "monotone": False},
    "monotone": {"start": "random", "monotone": True},
    "monotone, flat": {"start": "flat", "monotone": True},
}
RULES = (("sgd", 1e-3), ("adam", 1e-3), ("adam", 3e-3), ("adam", 1e-2))
ESTIMATORS = {
    "exact": famus_jax.all_layers(),
    "examples=8": famus_jax.all_layers(examples=8),
}


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.mwnet_start", description=__doc__)
    parser.add_argument(
        "--json", type=Path, required=True, help="read, and written after each cell"
    )
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS[:3])
    parser.add_argument(
        "--estimators", nargs="+", choices=list(ESTIMATORS), default=list(ESTIMATORS)
    )
    parser.add_argument("--rates", nargs="+", type=float, default=[rate for _, rate in RULES])
    args = parser.parse_args(list(argv))
    known = read_json(args.json)["cells"] if args.json.exists() else []
    for name in args.settings:
        trainer = None
        for cell in cells(name, args.estimators, args.rates):
            if any(all(one[k] == v for k, v in cell.items()) for one in known):
                continue
            trainer = trainer or Trainer(_config(name))
            start = time.perf_counter()
            known.append({**cell, **trainer.cell(cell)})
            known[-1]["seconds"] = round(time.perf_counter() - start, 1)
            made = provenance(["python -m experiments.mwnet_start", *argv])
            write_json(args.json, {"cells": known, "seeds": SEEDS, "provenance": made})
            print(line(known[-1]), flush=True)
    print(table(known))
    return 0


def cells(setting: str, estimators: Sequence[str], rates: Sequence[float]) -> list[dict[str, Any]]:
    """What is trained in a setting, plain training first."""
    learned = [
        {"setting": setting, "estimator": e, "variant": v, "optimizer": rule, "rate": rate}
        for e in estimators
        for rule, rate in RULES
        if rule == "sgd" or rate in rates
        for v in VARIANTS
    ]
    plain = {"estimator": "none", "variant": "plain", "optimizer": "none", "rate": 0.0}
    return [{"setting": setting, **plain}, *learned]


def _config(name: str) -> ExperimentConfig:
    if name == "quickstart_mlp":
        config = runpy.run_path("configs/quickstart.py")["get_config"]()
        config = config.to_dict()
        config["model"].update(name="mlp", overrides={"hidden": (128,)})
        return parse_config(config)
    if name == "digits_short":
        config = runpy.run_path("configs/estimators.py")["get_config"](name)
    else:
        config = default_config()
        config.data.update(
            {
                "source": "famus_digits",
                "noise": {"next": "pair_flip", "any": "symmetric_exclusive"}[name],
                "noise_rate": 0.4,
                "trusted_per_class": 10,
            }
        )
        config.model.update({"name": "mlp", "overrides": {"hidden": (128,)}})
        config.schedule.update(
            {"steps": 1000, "batch_size": 64, "meta_batch_size": 32, "learning_rate": 0.1}
        )
        config.runs = ({"method": "ce"},)
    return parse_config(config.to_dict())


class Arrays(NamedTuple):
    """One seed's data, and the order in which it is drawn."""

    images: jax.Array
    test: jax.Array
    labels: jax.Array
    given: jax.Array
    rows: jax.Array
    meta_rows: jax.Array


class Trainer:
    """Whole trainings in one setting; those that differ in θ's start and rate share a program."""

    def __init__(self, config: ExperimentConfig):
        self.setting: Setting = make_setting(config, Path())
        self._seeded = [seed_data(self.setting.sources, config.data, seed) for seed in SEEDS]
        seeded = zip(self._seeded, SEEDS, strict=True)
        self._arrays = [arrays_of(self.setting, data, seed) for data, seed in seeded]
        self._compiled = {}

    def cell(self, cell: dict[str, Any]) -> dict[str, Any]:
        """Last accuracies and AUROCs of the weights, in percent, by seed."""
        last, ranks = [], []
        for i, seed in enumerate(SEEDS):
            method = method_of(cell, 0.0)
            key = jax.random.key(seed)
            program = self._program(cell["estimator"], cell["optimizer"], method.name, cell)
            theta = method.init(jax.random.fold_in(key, 1), 1)
            accuracy, weights = program(key, theta, cell["rate"], self._arrays[i])
            last.append(round(100 * float(accuracy), 2))
            train = self._seeded[i].splits.train
            rank = auroc(np.asarray(weights, np.float64)[train], self._seeded[i].wrong[train])
            ranks.append(None if rank is None else round(100 * rank, 2))
        return {"last": last, "auroc": ranks}

    def _program(self, estimator: str, rule: str, name: str, cell: dict[str, Any]) -> Any:
        monotone = VARIANTS.get(cell["variant"], {}).get("monotone")
        key = (estimator, rule, name, monotone)
        if key not in self._compiled:
            self._compiled[key] = jax.jit(
                lambda key, theta, rate, arrays: self._train(cell, key, theta, rate, arrays)
            )
        return self._compiled[key]

    def _train(
        self, cell: dict[str, Any], key: jax.Array, theta: PyTree, rate: Any, arrays: Arrays
    ) -> tuple[jax.Array, jax.Array]:
        """The test accuracy after the last step, and each example's mean weight in the second half."""
        setting, schedule = self.setting, self.setting.config.schedule
        learning_rate = build_schedule(schedule)
        method = method_of(cell, rate)

        def taken(index: jax.Array, labels: jax.Array) -> PyTree:
            return {"image": arrays.images[index], "label": labels[index], "index": index}

        params, model_state = setting.init(jax.random.fold_in(key, 2))
        first = taken(arrays.rows[0], arrays.given)
        first_meta = taken(arrays.meta_rows[0], arrays.labels) if method.has_theta else None
        train = famus_jax.train_step(
            famus_jax.problem(setting.forward, method),
            build_optimizer(schedule, learning_rate),
            ESTIMATORS.get(cell["estimator"], ESTIMATORS["exact"]),
            step_size=learning_rate,
        )
        state = train.init(jax.random.fold_in(key, 3), params, model_state, first, first_meta)
        state = state._replace(meta=state.meta._replace(theta=theta))

        def step(carried: PyTree, rows: tuple[jax.Array, jax.Array]) -> tuple[PyTree, None]:
            state, sums = carried
            batch = taken(rows[0], arrays.given)
            meta_batch = taken(rows[1], arrays.labels) if method.has_theta else None
            late = (state.step >= schedule.steps // 2).astype(jnp.float32)
            state, info = train.pure(state, batch, meta_batch)
            n = schedule.batch_size
            sums = sums.at[0, rows[0]].add(late * info.weights * n).at[1, rows[0]].add(late)
            return (state, sums), None

        sums = jnp.zeros((2, len(arrays.labels)))
        (state, sums), _ = jax.lax.scan(step, (state, sums), (arrays.rows, arrays.meta_rows))
        outputs, _ = setting.predict(
            state.params, state.model_state, state.key, {"image": arrays.test}
        )
        right = logits_of(outputs).argmax(-1) == jnp.asarray(setting.sources.test.labels)
        return right.mean(), sums[0] / sums[1]


def arrays_of(setting: Setting, data: Any, seed: int) -> Arrays:
    """A seed's data (`seed_data`) on the device, and the rows of every batch."""
    schedule = setting.config.schedule
    cached = functools.lru_cache(maxsize=64)(epoch_indices)

    def order(where: np.ndarray, n: int, seed: int) -> jax.Array:
        drawn = [
            batch_indices(len(where), n, seed, t, epoch_fn=cached) for t in range(schedule.steps)
        ]
        return jnp.asarray(where[np.stack(drawn)], jnp.int32)

    assert data.normalize is not None
    mean, deviation = data.normalize

    def pixels(images: Any) -> jax.Array:
        return (jnp.asarray(images, jnp.float32) / 255 - mean) / deviation

    return Arrays(
        images=pixels(data.images),
        test=pixels(setting.sources.test.images),
        labels=jnp.asarray(data.clean, jnp.int32),
        given=jnp.asarray(data.noisy, jnp.int32),
        rows=order(data.splits.train, schedule.batch_size, seed),
        meta_rows=order(data.splits.trusted, schedule.meta_batch_size, 10_000 + seed),
    )


def method_of(cell: dict[str, Any], rate: Any) -> famus_jax.Method:
    """The method of a cell; `rate` may be traced."""
    if cell["variant"] == "plain":
        return famus_jax.methods.cross_entropy()
    rule = optax.sgd(rate, momentum=0.9) if cell["optimizer"] == "sgd" else optax.adam(rate)
    return famus_jax.mwnet(meta_optimizer=rule, **VARIANTS[cell["variant"]])


def line(cell: dict[str, Any]) -> str:
    """A cell for people: last accuracy (mean, sd, least), AUROC (mean, least), seeds below 50."""
    last = np.asarray(cell["last"])
    ranks = np.asarray([50.0 if rank is None else rank for rank in cell["auroc"]])
    return (
        f"{cell['setting']:12s} {cell['estimator']:10s} {cell['variant']:14s} "
        f"{cell['optimizer']:4s} {cell['rate']:<6g} {last.mean():5.1f} ± {last.std(ddof=1):4.1f} "
        f"{last.min():5.1f} | {ranks.mean():5.1f} {ranks.min():5.1f} {int((ranks < 50).sum()):2d}"
    )


def table(cells: Sequence[dict[str, Any]]) -> str:
    """All cells, the settings together."""
    head = (
        f"{'setting':12s} {'estimator':10s} {'variant':14s} {'rule':4s} {'rate':6s} "
        "last, sd, least    | AUROC, least, below 50"
    )
    ordered = sorted(cells, key=lambda cell: SETTINGS.index(cell["setting"]))
    return "\n".join(
        [head, *map(line, ordered), "AUROC: 50 where all weights are the same", "", *worst(cells)]
    )


def worst(cells: Sequence[dict[str, Any]]) -> list[str]:
    """Each way over all settings and estimators: its mean, its worst cell, its worst seed, and how
    often its weights preferred wrong labels."""
    ways: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for cell in cells:
        ways.setdefault((cell["variant"], cell["optimizer"], cell["rate"]), []).append(cell)
    lines = [
        f"{'variant':14s} {'rule':4s} {'rate':6s} cells  mean, worst cell, worst seed | worst AUROC, "
        "seeds below 50"
    ]
    for (variant, rule, rate), some in ways.items():
        last = np.asarray([cell["last"] for cell in some])
        ranks = np.asarray(
            [[50.0 if rank is None else rank for rank in cell["auroc"]] for cell in some]
        )
        lines.append(
            f"{variant:14s} {rule:4s} {rate:<6g} {len(some):5d} {last.mean():5.1f} "
            f"{last.mean(1).min():5.1f} {last.min():5.1f} | {ranks.min():5.1f} "
            f"{int((ranks < 50).sum()):2d} of {ranks.size}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
