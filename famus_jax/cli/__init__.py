"""The command `famus`: train, predict, ... `famus COMMAND --help` shows a command's flags.

A command is a module with `add_arguments(parser)` and `run(arguments) -> exit status`; its docstring
is its help. Exit statuses: 0, it is done; 1, it failed, and a line on standard error names the value
and the fix; 2, the command line was not understood; 128 + n, signal n ended it. What a command raises
becomes such a line here, and nowhere else; so does a warning.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from famus_jax.cli.extras import EXTRA, missing_packages
from famus_jax.cli.failures import one_line
from famus_jax.cli.overrides import UsageError, split_overrides
from famus_jax.cli.warned import told_warnings
from famus_jax.interruption import Interrupted, Interruption
from famus_jax.printable import printable
from famus_jax.version import __version__

COMMANDS = {
    "train": "famus_jax.cli.train",
    "runs": "famus_jax.report.list_runs",
    "report": "famus_jax.report.command",
    "audit": "famus_jax.audit.command",
    "mend": "famus_jax.audit.mend_command",
    "predict": "famus_jax.cli.predict",
    "methods": "famus_jax.cli.methods",
    "benchmark": "famus_jax.benchmark.command",
    "noise": "famus_jax.data.noise.cli",
}

_DESCRIPTION = """Learn, while training, how much each example's label deserves to count.

commands:
  train      run an experiment:  famus train --config=configs/quickstart.py --workdir=runs/quickstart
  runs       how far experiments are:  famus runs runs/
  report     a page of experiments:  famus report runs/quickstart --out=report.html
  audit      find wrong labels in your data:  famus audit photos/ --workdir=audits/photos
  mend       apply decisions about labels:  famus mend photos/ --decisions=decisions.csv --out=new.csv
  predict    classes of images or features:  famus predict runs/quickstart photos/ --method=ce
  methods    every method, what it needs, where it comes from:  famus methods --json
  benchmark  step cost of every estimator:  famus benchmark --model=wrn_28_2 --batch=32
  noise      write and inspect label-noise tables:  famus noise kinds

famus COMMAND --help lists a command's flags."""

_EXIT = """exit status: 0 done; 1 failed, standard error says why; 2 the command line was not
understood; 130, 143, 129 ended by SIGINT (Ctrl-C), SIGTERM, SIGHUP"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names; returns the exit status.

    Args:
      argv: the program's name and the words after it; by default `sys.argv`.
    """
    words = list(sys.argv if argv is None else argv)[1:]
    try:
        if words and words[0] in COMMANDS:
            return _run(words[0], words[1:])
        parser = _parser("famus", _DESCRIPTION, usage="famus COMMAND [FLAGS]")
        version = f"famus {__version__}"
        parser.add_argument("--version", action="version", version=version, help="print it")
        parser.parse_known_args(words)  # ends here for --help and --version
    except SystemExit as done:
        return int(done.code or 0)
    parser.print_help(sys.stderr)
    if words:
        close = difflib.get_close_matches(words[0], COMMANDS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        print(f"\nfamus: there is no command {words[0]!r}{hint}", file=sys.stderr)
    return 2


def _run(name: str, words: list[str]) -> int:
    """Runs one command; whatever it raises, and a signal, is told in a line."""
    status = _status_of(name, words)
    if status and "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized():
        sys.stdout.flush()
        os._exit(status)  # jax would wait for the others, whom our watch has told
    return status


def _status_of(name: str, words: list[str]) -> int:
    with Interruption(f"famus {name}") as interruption, told_warnings(f"famus {name}"):
        try:
            return _command(name, words, interruption)
        except UsageError as error:
            _show_traceback(words)
            return _failed(name, str(error), 2)
        except Interrupted as ended:
            said = str(ended) or f"ended by {ended.signal.name}; nothing was under way to be saved"
            return _failed(name, said, ended.exit_status)
        except BrokenPipeError:  # who reads our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except Exception as error:
            _show_traceback(words)
            return _failed(name, one_line(error))


def _show_traceback(words: list[str]) -> None:
    if "--traceback" in words:
        traceback.print_exc()


def _command(name: str, words: list[str], interruption: Interruption) -> int:
    others, overrides = split_overrides(words)
    command = importlib.import_module(COMMANDS[name])
    parser = _parser(f"famus {name}", command.__doc__ or "")
    command.add_arguments(parser)
    parser.add_argument("--traceback", action="store_true", help="show where a failure comes from")
    if overrides and name != "train":
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    # Looked at where failures are told; here it is left out, to be welcome after a sub-command too.
    arguments = parser.parse_args([word for word in others if word != "--traceback"])
    arguments.overrides, arguments.command_line = overrides, [f"famus {name}", *words]
    arguments.interruption = interruption
    if missing := missing_packages():
        return _failed(name, f"needs {', '.join(missing)}: pip install 'famus_jax[{EXTRA}]'")
    return command.run(arguments)


def _failed(name: str, why: str, status: int = 1) -> int:
    print(f"famus {name}: {printable(why)}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """Flags in full, as in the next version too; sub-parsers are of this class as well."""

    def __init__(self, **options: Any):
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """One line, where argparse would print all flags."""
        self.exit(2, f"{self.prog}: {printable(message)} ({self.prog} --help shows the flags)\n")


def _parser(name: str, description: str, usage: str | None = None) -> argparse.ArgumentParser:
    return _Parser(
        prog=name,
        usage=usage,
        description=description,
        epilog=_EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
