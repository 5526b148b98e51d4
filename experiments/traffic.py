"""What a step costs per device, and what it sends:  python -m experiments.traffic --json PATH

Read off compiled programs, nothing is timed: XLA's FLOP count per device and the operands of every
collective, on 1, 2, 4 and 8 virtual CPU devices, for an MLP whose step has no loops. A step's FLOPs per
device are a / N + b for N devices: a is what is spread, b what every device does for itself (the
optimizer, T on the whole batch's outputs, samplers); b = 2 F(2) − F(1).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from famus_jax import parallel, problem
from famus_jax.benchmark.tpu.collectives import collectives
from famus_jax.core import estimators as est
from famus_jax.core.estimator import Estimator
from famus_jax.core.method import Method
from famus_jax.core.programs import Program
from famus_jax.gates import learned_gates
from famus_jax.methods import cross_entropy, mwnet
from famus_jax.uses.train_step import train_step

PyTree = Any
WAYS = ("jit", "shard_map")
N, M, INPUTS, WIDTH, LAYERS, CLASSES = 256, 64, 256, 64, 4, 10
BUDGET = {"virtual_step": "active", "lag": 2, "hidden": 16, "target": 1.3}
ESTIMATORS: dict[str, Estimator | None] = {
    "plain step": None,
    "exact": est.all_layers(),
    "exact, a quarter": est.all_layers(examples=N // 4),
    "head, full": est.last_layers(1),
    "head, active only": est.last_layers(1, virtual_step="active"),
    "two groups, active only": est.last_layers(2, virtual_step="active"),
    "head, one-pass": est.last_layers(1, virtual_step="actual"),
    "learned gates, lowest cut": learned_gates("budget", **BUDGET),
}


def forward(params: PyTree, state: PyTree, rng: Any, batch: PyTree) -> tuple[jax.Array, PyTree]:
    """An MLP without biases: layers are matrix products, easily counted."""
    del rng
    h = batch["image"]
    for i in range(LAYERS):
        h = jax.nn.relu(h @ params[f"layer{i}"])
    return h @ params[f"layer{LAYERS}"], state


def parameters() -> dict[str, jax.Array]:
    """Of `forward`: layer i in `layer{i}`."""
    widths = [INPUTS, *[WIDTH] * LAYERS, CLASSES]
    shapes = {f"layer{i}": shape for i, shape in enumerate(zip(widths, widths[1:]))}
    return {name: jnp.full(shape, 0.01, jnp.float32) for name, shape in shapes.items()}


def batches() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A training and a meta batch of zeros."""

    def batch(size: int) -> dict[str, np.ndarray]:
        image = np.zeros((size, INPUTS), np.float32)
        return {"image": image, "label": np.zeros(size, np.int32)}

    return batch(N), batch(M)


def compiled(name: str, way: str, devices: int, *, fsdp: bool = False) -> Any:
    """A step of the table as a compiled program."""
    estimator, mesh = ESTIMATORS[name], parallel.data_mesh(jax.devices()[:devices])
    method: Method = (
        mwnet(hidden=8, start="random", monotone=False) if estimator else cross_entropy()
    )
    params, (batch, meta_batch) = parameters(), batches()

    def make(compile_with: Any) -> Any:
        learned = problem(forward, method, axis=None if way == "jit" else parallel.AXIS)
        return train_step(
            learned,
            optax.sgd(0.1, momentum=0.9),
            estimator or est.all_layers(),
            step_size=0.1,
            compile_with=compile_with,
        )

    state = make(None).init(jax.random.key(0), params, (), batch, meta_batch)
    if fsdp:
        shardings = parallel.sharded(state, mesh, min_size=1024)
    else:
        shardings = parallel.replicated(state, mesh)
    step = make(parallel.global_view(mesh) if way == "jit" else parallel.shard_mapped(mesh))
    spread = parallel.shard_batch((batch, meta_batch), mesh)
    program = Program(index=0) if name.startswith("learned gates") else None
    return step.lower(parallel.place(state, shardings), *spread, program=program).compile()


def row(name: str, way: str, counts: tuple[int, ...] = (1, 2, 4, 8)) -> dict[str, Any]:
    """FLOPs per device for every device count; what is spread and what is not; collectives."""
    programs = {count: compiled(name, way, count) for count in counts}
    flops = {count: program.cost_analysis()["flops"] for count, program in programs.items()}
    alone = 2 * flops[2] - flops[1]
    found = collectives(programs[max(counts)].as_text())
    return {
        "estimator": name,
        "way": way,
        "flops_per_device": [flops[count] for count in counts],
        "spread": flops[1] - alone,
        "every_device": alone,
        "collectives": [[one.kind, one.size] for one in found],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown. Small collectives (below the head's size) are summed up."""
    head = WIDTH * CLASSES
    lines = ["| step | way | kFLOPs per device, 1 · 2 · 4 · 8 | spread | on every device | sent |"]
    lines.append("|" + "---|" * 6)
    for r in rows:
        flops = " · ".join(f"{x / 1e3:,.0f}" for x in r["flops_per_device"])
        large = [f"{kind} {size:,}" for kind, size in r["collectives"] if size >= head]
        small = [size for _, size in r["collectives"] if size < head]
        sent = ", ".join([*large, f"{len(small)} small ({sum(small)})"] if small else large)
        numbers = f"{r['spread'] / 1e3:,.0f} | {r['every_device'] / 1e3:,.0f}"
        lines.append(f"| {r['estimator']} | {r['way']} | {flops} | {numbers} | {sent} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.traffic", description=__doc__)
    parser.add_argument("--json", type=Path, help="write all rows, with versions, to this file")
    arguments = parser.parse_args(argv)
    command = [parser.prog, *(sys.argv[1:] if argv is None else argv)]
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles faster
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    from famus_jax.progress import track

    chosen = [(name, way) for way in WAYS for name in ESTIMATORS]
    rows = [row(*one) for one in track(chosen, "row")]
    print(table(rows))
    sizes = {name: x.size for name, x in parameters().items()}
    print(f"\nparameters: {sum(sizes.values()):,}, the head {sizes[f'layer{LAYERS}']:,}")
    if arguments.json:
        from famus_jax.files import write_json
        from famus_jax.provenance import provenance

        write_json(
            arguments.json,
            {
                "rows": rows,
                "provenance": provenance(command),
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
