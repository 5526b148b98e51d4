"""The command `famus`: train, benchmark, fidelity, noise. `famus COMMAND --help` shows the flags."""

from __future__ import annotations

import sys
from collections.abc import Callable

USAGE = """usage: famus COMMAND [FLAGS]

  train      run an experiment:  famus train --config=configs/quickstart.py --workdir=runs/quickstart
  benchmark  step cost of every estimator:  famus benchmark --model=wrn_28_2 --batch=32
  fidelity   estimators beside the exact meta gradient along runs:  famus fidelity
             --config=configs/fidelity.py --workdir=runs/fidelity
  noise      write and inspect label-noise tables

famus COMMAND --help lists a command's flags."""


def train(argv: list[str]) -> int:
    """`famus train`: runs the experiment of a config file in a work directory, or resumes it.

    With `--max_minutes` it stops at the first evaluation after that time, exit status 0.
    """
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file(
        "config", None, "A config file.", flag_values=values, sys_argv=argv
    )
    workdir = flags.DEFINE_string(
        "workdir", None, "The experiment's own folder.", flag_values=values
    )
    minutes = flags.DEFINE_float(
        "max_minutes",
        None,
        "Stop at the first evaluation after so long; the same command goes on.",
        flag_values=values,
    )
    devices = flags.DEFINE_enum(
        "devices", "one", ["one", "all"], "Which devices share every batch.", flag_values=values
    )
    fsdp = flags.DEFINE_bool(
        "fsdp", False, "Spread parameters and optimiser state too.", flag_values=values
    )
    distributed = flags.DEFINE_bool(
        "distributed", False, "One of several processes; implies --devices=all.", flag_values=values
    )
    coordinator = flags.DEFINE_string(
        "coordinator",
        None,
        "host:port of process 0, where the cluster can't tell.",
        flag_values=values,
    )
    processes = flags.DEFINE_integer("processes", None, "How many processes.", flag_values=values)
    process = flags.DEFINE_integer("process", None, "Which one this is.", flag_values=values)
    flags.mark_flags_as_required([config.name, workdir.name], flag_values=values)
    try:
        values(argv)
        settings = config.value.to_dict()
    except (flags.Error, OSError, AttributeError, TypeError) as error:
        print(f"famus train: {error}", file=sys.stderr)
        return 2
    from famus_jax import parallel
    from famus_jax.train.clock import TimeIsUp
    from famus_jax.train.experiment import run_experiment
    from famus_jax.train.placement import Placement
    from famus_jax.train.processes import is_writer, start

    try:
        if distributed.value:
            start(coordinator.value, processes.value, process.value)
        many = distributed.value or devices.value == "all"
        mesh = parallel.data_mesh() if many else None
        placement = Placement(mesh, fsdp.value)
        run_experiment(
            settings,
            str(workdir.value),
            command=argv,
            max_minutes=minutes.value,
            placement=placement,
        )
    except TimeIsUp as up:
        if is_writer():
            print(f"famus train: {up}")
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        print(f"famus train: {error}", file=sys.stderr)
        return 1
    return 0


def benchmark(argv: list[str]) -> int:
    """`famus benchmark`: step cost of every estimator against a plain step and second order."""
    from famus_jax.bench.main import main as run

    return run(argv[1:])


def fidelity(argv: list[str]) -> int:
    """`famus fidelity`: every estimator beside the exact meta gradient along real runs."""
    from famus_jax.bench.fidelity import main as run

    return run(argv)


def noise(argv: list[str]) -> int:
    """`famus noise`: writes and inspects label-noise tables."""
    import argparse

    from famus_jax.data.noise import cli as noise_cli

    parser = argparse.ArgumentParser(prog="famus noise", description=noise_cli.__doc__)
    noise_cli.add_arguments(parser)
    return noise_cli.run(parser.parse_args(argv[1:])) or 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "benchmark": benchmark,
    "fidelity": fidelity,
    "noise": noise,
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command that the first argument names; returns the exit status."""
    argv = sys.argv if argv is None else argv
    name = argv[1] if len(argv) > 1 else ""
    if name not in COMMANDS:
        asked = name in ("-h", "--help", "help")
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    return COMMANDS[name]([f"famus {name}", *argv[2:]])


if __name__ == "__main__":
    sys.exit(main())
