"""What looking k steps ahead costs and gains: digits, 60 % symmetric noise, MW-Net, three seeds.

    python -m experiments.look_ahead --json=results/look_ahead_digits.json

Data, network and schedule of configs/estimators.py:digits_short, 2,000 steps by SGD with momentum;
MW-Net as it comes. Rows: plain training; `look_ahead(k, update_every=k)`, θ judged k steps ahead once
every k steps; and `all_layers(through_optimizer=True, update_every=k)`, one step ahead as often. Passes
are `info.cost`, over a run; memory is the temporary memory of a compiled step with a meta update, over
the plain step's. The record also has the seconds of each compiled run.
Finished rows are read from the file.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import famus_jax
from experiments.mwnet_start import Arrays, _config, arrays_of
from famus_jax.core.programs import Program
from famus_jax.files import read_json, write_json
from famus_jax.losses import logits_of
from famus_jax.provenance import provenance
from famus_jax.train.build import build_optimizer, build_schedule
from famus_jax.train.data_setup import seed_data
from famus_jax.train.results import auroc
from famus_jax.train.setting import Setting, make_setting

PyTree = Any
SEEDS = (0, 1, 2)
STEPS = (1, 2, 4, 8, 16)


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.look_ahead", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="read, and written after each row")
    args = parser.parse_args(list(argv))
    known = read_json(args.json)["rows"] if args.json.exists() else []
    setting = make_setting(_config("digits_short"), Path())
    seeded = [seed_data(setting.sources, setting.config.data, seed) for seed in SEEDS]
    arrays = [arrays_of(setting, data, seed) for data, seed in zip(seeded, SEEDS, strict=True)]
    for kind, k in [("plain", 0), *((kind, k) for k in STEPS for kind in ("ahead", "one"))]:
        if any((row["kind"], row["k"]) == (kind, k) for row in known):
            continue
        known.append({"kind": kind, "k": k, **row_of(setting, seeded, arrays, kind, k)})
        made = provenance(["python -m experiments.look_ahead", *argv])
        write_json(args.json, {"rows": known, "seeds": SEEDS, "provenance": made})
        print(line(known[-1], known[0]), flush=True)
    print(table(known))
    return 0


def row_of(
    setting: Setting, seeded: Sequence[Any], arrays: Sequence[Arrays], kind: str, k: int
) -> dict[str, Any]:
    """Last accuracies, AUROCs of the weights in percent, passes and seconds by seed, and memory."""
    row: dict[str, Any] = {"last": [], "auroc": [], "passes": [], "seconds": []}
    train = train_step_of(setting, kind, k)
    run = jax.jit(
        lambda key, arrays: trained(setting, train, k if kind == "ahead" else 0, key, arrays)
    )
    for data, mine, seed in zip(seeded, arrays, SEEDS, strict=True):
        key = jax.random.key(seed)
        if not row["last"]:
            jax.block_until_ready(run(key, mine))  # compiles
        start = time.perf_counter()
        accuracy, weights, passes = jax.block_until_ready(run(key, mine))
        row["seconds"].append(round(time.perf_counter() - start, 2))
        rows = data.splits.train
        rank = auroc(np.asarray(weights, np.float64)[rows], data.wrong[rows])
        row["last"].append(round(100 * float(accuracy), 2))
        row["auroc"].append(None if rank is None else round(100 * rank, 2))
        row["passes"].append(round(float(passes), 3))
    row["memory"] = memory_of(setting, train, k if kind == "ahead" else 0, arrays[0])
    return row


def train_step_of(setting: Setting, kind: str, k: int) -> Any:
    """The training step of a row."""
    method = famus_jax.methods.cross_entropy() if kind == "plain" else famus_jax.mwnet()
    rate = build_schedule(setting.config.schedule)
    estimator = famus_jax.all_layers()
    if kind == "ahead":
        estimator = famus_jax.look_ahead(k, update_every=k)
    if kind == "one":
        estimator = famus_jax.all_layers(through_optimizer=True, update_every=k)
    return famus_jax.train_step(
        famus_jax.problem(setting.forward, method),
        build_optimizer(setting.config.schedule, rate),
        estimator,
        step_size=rate,
    )


def batches(arrays: Arrays, k: int, t: Any, method: Any) -> tuple[PyTree, PyTree]:
    """The training batch of step t, or a window of k (from the start again, at the end), and the
    trusted one."""

    def taken(index: jax.Array, labels: jax.Array) -> PyTree:
        return {"image": arrays.images[index], "label": labels[index], "index": index}

    total = arrays.rows.shape[0]
    index = arrays.rows[(t + jnp.arange(k)) % total] if k else arrays.rows[t]
    meta = taken(arrays.meta_rows[t], arrays.labels) if method.has_theta else None
    return taken(index, arrays.given), meta


def trained(
    setting: Setting, train: Any, k: int, key: jax.Array, arrays: Arrays
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Test accuracy after the last step, each example's mean weight in the second half, mean passes."""
    schedule, method = setting.config.schedule, train.problem.method
    state = first_state(setting, train, k, key, arrays)

    def step(carried: PyTree, t: jax.Array) -> tuple[PyTree, jax.Array]:
        state, sums = carried
        batch, meta_batch = batches(arrays, k, t, method)
        rows = batch["index"][0] if k else batch["index"]
        state, info = train.pure(state, batch, meta_batch)
        late = (t >= schedule.steps // 2).astype(jnp.float32)
        sums = sums.at[0, rows].add(late * info.weights).at[1, rows].add(late)
        return (state, sums), info.cost

    sums = jnp.zeros((2, len(arrays.labels)))
    (state, sums), passes = jax.lax.scan(step, (state, sums), jnp.arange(schedule.steps))
    images = {"image": arrays.test}
    outputs, _ = setting.predict(state.params, state.model_state, state.key, images)
    right = logits_of(outputs).argmax(-1) == jnp.asarray(setting.sources.test.labels)
    return right.mean(), sums[0] / sums[1], passes.mean()


def first_state(setting: Setting, train: Any, k: int, key: jax.Array, arrays: Arrays) -> Any:
    """The state before the first step."""
    params, model_state = setting.init(jax.random.fold_in(key, 2))
    batch, meta_batch = batches(arrays, k, 0, train.problem.method)
    return train.init(jax.random.fold_in(key, 3), params, model_state, batch, meta_batch)


def memory_of(setting: Setting, train: Any, k: int, arrays: Arrays) -> int:
    """Temporary bytes of a step with a meta update."""
    program = Program() if train.estimator.update_every > 1 else None
    state = first_state(setting, train, k, jax.random.key(0), arrays)
    lowered = train.lower(state, *batches(arrays, k, 0, train.problem.method), program=program)
    return lowered.compile().memory_analysis().temp_size_in_bytes


def line(row: dict[str, Any], plain: dict[str, Any]) -> str:
    """A row for people."""
    names = {"plain": "never", "ahead": "k steps ahead", "one": "one step ahead"}
    ranks = [x for x in row["auroc"] if x is not None]
    rank = f"{np.mean(ranks):.1f} ± {np.std(ranks, ddof=1):.1f}" if len(ranks) > 1 else "–"
    when = f", every {row['k']}" if row["k"] else ""
    return (
        f"| {names[row['kind']]}{when} | {np.mean(row['last']):.1f} ± "
        f"{np.std(row['last'], ddof=1):.1f} | {rank} | {np.mean(row['passes']):.2f} | "
        f"{row['memory'] / plain['memory']:.2f} |"
    )


def table(rows: Sequence[dict[str, Any]]) -> str:
    """All rows, as Markdown."""
    head = ["| θ is judged | last | AUROC | passes | memory |", "|---|---|---|---|---|"]
    ordered = sorted(rows, key=lambda row: (row["kind"] == "one", row["k"]))
    return "\n".join([*head, *(line(row, rows[0]) for row in ordered)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
