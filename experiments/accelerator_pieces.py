"""Work for an accelerator in pieces of a few minutes: what each runs, and what it answers.

Plain data. In the commands {out} is the folder of runs, {results} that of finished results and {data}
where prepared data lies. The minutes are guesses made without an accelerator, of the whole piece;
training pieces stop when their time is up and go on at the next call.
"""

from __future__ import annotations

from typing import NamedTuple

Command = tuple[str, ...]


class Piece(NamedTuple):
    """One piece.

    Attributes:
      name: on the command line, and of its results.
      answers: the question that it answers.
      minutes: a guess for one GPU, of all its commands to their end.
      commands: one after the other; each a command of `famus` or one of `STUDIES`, and its arguments.
      smoke: the same at a size for one CPU core.
    """

    name: str
    answers: str
    minutes: int
    commands: tuple[Command, ...]
    smoke: tuple[Command, ...]


STUDIES = ("strategies", "joint_pass")
"""Commands that are modules of `experiments`."""
FULL = (
    "second_order,all_layers,last_block,last_layer,last_block_actual,last_layer_actual,"
    "last_block_active,last_layer_active"
)
QUARTER = (
    "all_layers,all_layers_eighth,random_depth_0.2_quarter,last_layer_actual,last_block_active,"
    "last_layer_active,all_layers_every_4"
)
WORKLOADS = {"wrn_28_10": 100, "preact_resnet_18": 64, "wrn_28_2": 128}
PRECISIONS = ("float32", "tf32", "bfloat16")
BFLOAT16 = ("--config.model.dtype=bfloat16",)
"""Training in it: nominally twice TF32's rate; parameters, gradients and θ stay float32."""
_SMALL: Command = (
    *("--model=mlp", "--batch=16", "--meta_batch=4"),
    *("--image_size=8", "--rounds=2", "--block=2"),
)


def _benchmark(model: str, batch: int, precision: str) -> Piece:
    name = f"benchmark_{model}_{precision}"
    common = ("benchmark", f"--model={model}", f"--batch={batch}", f"--precision={precision}")
    common += ("--block=10",)
    small = ("benchmark", *_SMALL, "--rows=last_layer,last_layer_active")
    if precision != "tf32":  # a CPU has no such units
        small += (f"--precision={precision}",)
    return Piece(
        name,
        f"{model}, batch {batch}, {precision}: cost of a step, share of the matrix rate, memory",
        8,
        (
            (*common, f"--rows={FULL}", f"--json={{results}}/{name}.json"),
            (
                *common,
                f"--meta_batch={batch // 4}",
                f"--rows={QUARTER}",
                f"--json={{results}}/{name}_quarter.json",
            ),
        ),
        ((*small, f"--json={{results}}/{name}.json"),),
    )


def _strategies(model: str, batch: int) -> Piece:
    name = f"strategies_{model}"
    end = (f"--json={{results}}/{name}.json",)
    return Piece(
        name,
        f"{model}: which is faster, the host's dispatch or a lax.switch in the program",
        10,
        (("strategies", *_sizes(model, batch), *end),),
        (("strategies", *_SMALL, *end),),
    )


def _joint_pass(model: str, batch: int) -> Piece:
    name = f"joint_pass_{model}"
    end = (f"--json={{results}}/{name}.json",)
    return Piece(
        name,
        f"{model}: does one pass of a frozen trunk with both batches beat two",
        3,
        (("joint_pass", *_sizes(model, batch), f"--meta_batch={batch // 4}", *end),),
        (("joint_pass", *_SMALL, *end),),
    )


def _trace(model: str, batch: int) -> Piece:
    name = f"trace_{model}"
    end = (f"--trace={{out}}/{name}", f"--json={{results}}/{name}.json")
    rows = "--rows=all_layers,last_block,last_layer_active"
    return Piece(
        name,
        f"{model}: a profile, to see what stands between the plain step and 40 % of the rate",
        6,
        (("benchmark", *_sizes(model, batch), rows, *end),),
        (("benchmark", *_SMALL, "--rows=last_layer_active", *end),),
    )


def _sizes(model: str, batch: int) -> Command:
    return (f"--model={model}", f"--batch={batch}", "--precision=bfloat16", "--block=10")


def _train(name: str, answers: str, minutes: int, config: str, *more: str) -> Piece:
    def command(config: str, *more: str) -> Command:
        return ("train", f"--config={config}", f"--workdir={{out}}/{name}", *BFLOAT16, *more)

    return Piece(
        name,
        answers,
        minutes,
        (command(config, "--config.data.data_dir={data}", *more),),
        (command("configs/accelerator.py:smoke"),),
    )


def _cells(noise: int, seed: int) -> Piece:
    return _train(
        f"wrn_28_10_{noise}_seed_{seed}",
        f"Table 1 at {noise} %, seed {seed}: CE, MW-Net on all layers, FaMUS, last layer, active step",
        150,
        f"configs/accelerator.py:wrn_28_10_{noise}",
        f"--config.seeds=({seed},)",
    )


PIECES: dict[str, Piece] = {
    piece.name: piece
    for piece in (
        *(_benchmark(m, n, p) for m, n in WORKLOADS.items() for p in PRECISIONS[::-1]),
        _strategies("wrn_28_10", 100),
        _strategies("wrn_28_2", 128),
        _joint_pass("wrn_28_10", 100),
        _joint_pass("wrn_28_2", 128),
        _trace("wrn_28_10", 100),
        *(
            _train(
                f"cifar10_60_{model}",
                f"{model}, 5,000 steps, all estimators, three seeds: gate or top, random, head?",
                120,
                f"configs/accelerator.py:{model}",
            )
            for model in ("wrn_28_2", "preact_resnet_18")
        ),
        *(_cells(60, seed) for seed in (0, 1, 2)),
        _cells(40, 0),
        _cells(20, 0),
    )
}
"""By name, in the order in which they are worth most."""
