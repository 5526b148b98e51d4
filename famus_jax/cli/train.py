"""Runs the experiment of a config file in a work directory, or goes on with it.

  famus train --config=configs/quickstart.py --workdir=runs/quickstart
  famus train --config=configs/cifar10.py:40 --workdir=runs/cifar10 --config.schedule.steps=2000

Interrupted? The same command goes on where it was. Ctrl-C, SIGTERM and SIGHUP save after the step
under way; a second Ctrl-C ends at once. With --max_minutes it stops at the first evaluation after that
time, exit status 0.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from famus_jax.cli.failures import one_line
from famus_jax.cli.overrides import UsageError, load_config
from famus_jax.files import check_folder
from famus_jax.interruption import Interrupted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    add = parser.add_argument
    add(
        "--config",
        required=True,
        metavar="FILE[:VARIANT]",
        help="a config file, and the argument of its get_config",
    )
    parser.add_argument_group(
        "values of the config", "--config.SECTION.NAME=VALUE changes one, of the same type"
    )
    add("--workdir", required=True, metavar="FOLDER", help="the experiment's own folder")
    add(
        "--max_minutes",
        type=float,
        metavar="MINUTES",
        help="stop at the first evaluation after so long; the same command goes on",
    )
    add(
        "--wandb",
        default="",
        metavar="PROJECT",
        help="log to Weights & Biases as well (the extra wandb; WANDB_MODE=offline sends nothing)",
    )
    add("--devices", choices=["one", "all"], default="one", help="which share every batch")
    add("--fsdp", action="store_true", help="spread parameters and optimizer state too")
    add(
        "--distributed",
        action="store_true",
        help="one of several processes; implies --devices=all",
    )
    add("--coordinator", metavar="HOST:PORT", help="of process 0, where the cluster can't tell")
    add("--processes", type=int, metavar="COUNT", help="how many processes")
    add("--process", type=int, metavar="INDEX", help="which one this is")


def run(arguments: argparse.Namespace) -> int:
    """Does what the parsed arguments say.

    `arguments.overrides` are words that change the config, `arguments.command_line` what to record.

    Returns:
      The exit status, 0.

    Raises:
      UsageError: if the config file can't be read, or flags don't go together.
      Interrupted: if a signal ended it; the message says how to go on.
      Exception: what `run_experiment` raises.
    """
    _check(arguments)
    settings = load_config(arguments.config, arguments.overrides)
    import jax

    from famus_jax import parallel
    from famus_jax.parallel.processes import is_writer, start, tell_all
    from famus_jax.train.clock import TimeIsUp
    from famus_jax.train.experiment import run_experiment
    from famus_jax.train.placement import Placement

    watch = None
    if arguments.distributed:
        watch = start(arguments.coordinator, arguments.processes, arguments.process)
        arguments.interruption.forward = tell_all
    many = arguments.distributed or arguments.devices == "all"
    try:
        check_folder(Path(arguments.workdir))
        run_experiment(
            settings,
            arguments.workdir,
            command=arguments.command_line,
            max_minutes=arguments.max_minutes,
            placement=Placement(parallel.data_mesh() if many else None, arguments.fsdp),
            interruption=arguments.interruption,
            wandb=arguments.wandb,
        )
    except TimeIsUp as up:
        if is_writer():
            print(f"famus train: {up}")
    except (Exception, Interrupted) as error:
        together = isinstance(error, Interrupted) and str(error)  # then all have saved, and end
        if watch is not None and together:
            watch.leave()
        elif watch is not None:
            if isinstance(error, jax.errors.JaxRuntimeError):
                time.sleep(2)  # maybe another's end broke the connection: the watch then says whose
            watch.leave(f"has ended: {one_line(error)}")
        raise
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Flags that would be without effect, or without sense."""
    if not arguments.workdir.strip():
        raise UsageError("--workdir is empty: name a folder")
    for flag in ("coordinator", "processes", "process"):
        if getattr(arguments, flag) is not None and not arguments.distributed:
            raise UsageError(
                f"--{flag} is for several processes: add --distributed, or leave it out"
            )
    if arguments.fsdp and arguments.devices == "one" and not arguments.distributed:
        raise UsageError("--fsdp spreads over several devices: add --devices=all, or leave it out")
