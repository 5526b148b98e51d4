"""How close cheaper meta gradients come to the exact one along real training runs.

    python -m experiments.agreement --config=configs/agreement.py --workdir=runs/agreement

Interrupted? The same command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from experiments.agreement.study import run_agreement
from famus_jax.cli.overrides import UsageError, load_config, split_overrides

PROGRAM = "python -m experiments.agreement"


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status: 1 for what can't work, 2 for what can't be read."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", required=True, metavar="FILE[:VARIANT]", help="see configs/agreement.py")
    parser.add_argument_group(
        "values of the config", "--config.SECTION.NAME=VALUE changes one, of the same type"
    )
    add("--workdir", required=True, metavar="FOLDER", help="the study's own folder")
    add("--accuracy", default=None, help="a summary.json of famus train, to draw beside cost")
    words, overrides = split_overrides(argv)
    try:
        args = parser.parse_args(words)
        settings = load_config(args.config, overrides)
    except UsageError as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 2
    except SystemExit as done:  # for --help, and what argparse refuses
        return int(done.code or 0)
    try:
        run_agreement(settings, args.workdir, accuracy=args.accuracy, command=[PROGRAM, *argv])
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
