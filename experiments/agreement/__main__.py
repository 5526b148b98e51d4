"""How close cheaper meta gradients come to the exact one along real training runs.

    python -m experiments.agreement --config=configs/agreement.py --workdir=runs/agreement

Interrupted? The same command goes on where it was.
"""

from __future__ import annotations

import sys

from experiments.agreement.study import run_agreement


def main(argv: list[str]) -> int:
    """The command line; returns the exit status."""
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file(
        "config", None, "A config file.", flag_values=values, sys_argv=argv
    )
    workdir = flags.DEFINE_string("workdir", None, "An own folder.", flag_values=values)
    accuracy = flags.DEFINE_string(
        "accuracy", "", "A summary.json of `famus train`, to draw beside cost.", flag_values=values
    )
    flags.mark_flags_as_required([config.name, workdir.name], flag_values=values)
    try:
        values(argv)
        settings = config.value.to_dict()
    except (flags.Error, OSError, AttributeError, TypeError) as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 2
    try:
        run_agreement(settings, str(workdir.value), accuracy=accuracy.value or None, command=argv)
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(["python -m experiments.agreement", *sys.argv[1:]]))
