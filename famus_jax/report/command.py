"""Makes one page of one or several work directories of famus train, finished or not.

  famus report runs/quickstart --out=report.html
  famus report runs/methods/* --out=methods.html
  famus report runs/quickstart --out=report.html --follow

The page needs no network. With --follow it is made again every 30 seconds (--follow=10: every 10), as
long as one of the experiments is running, and the page in the browser reads itself anew.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

from famus_jax.cli.overrides import UsageError
from famus_jax.files import check_folder, expanded, write_atomically
from famus_jax.report.page import page_content
from famus_jax.report.read import read_directory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("workdir", nargs="+", metavar="WORKDIR", help="of famus train")
    parser.add_argument("--out", required=True, metavar="FILE", help="the page to write, .html")
    parser.add_argument(
        "--follow",
        nargs="?",
        type=float,
        const=30.0,
        metavar="SECONDS",
        help="write it again and again while an experiment runs",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the page.

    Returns:
      The exit status, 0.

    Raises:
      UsageError: for a pause that is none, or an --out that is no .html.
      ValueError: for a folder without an experiment.
    """
    out = expanded(arguments.out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out={arguments.out}: name a file that ends in .html")
    pause = arguments.follow
    if pause is not None and not (math.isfinite(pause) and pause >= 1):
        raise UsageError(f"--follow={pause:g}: give at least 1 second")
    check_folder(out.parent)
    folders = list(dict.fromkeys(expanded(name) for name in arguments.workdir))
    follow(folders, out, pause)
    print(f"written: {out}")
    return 0


def follow(
    folders: list[Path],
    out: Path,
    pause: float | None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Writes the page; with a `pause`, again until no experiment is running, then once more."""
    while True:
        directories = [read_directory(folder) for folder in folders]
        running = any(one.state == "running" for one in directories)
        again = pause if running else None
        write_atomically(out, page_content(directories, again))
        if again is None:
            return
        sleep(again)
