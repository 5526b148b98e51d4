"""`famus noise`: write label-noise tables and look at them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from famus_jax.cli.words import listed
from famus_jax.data.noise.files import read_table, write_table
from famus_jax.data.noise.kinds import apply_noise
from famus_jax.data.noise.presets import all_names, named_noise
from famus_jax.data.noise.table import make_table, noisy_from_table
from famus_jax.data.noise.transition import NoisyLabels, expected_rate
from famus_jax.data.sources.classes import names_of
from famus_jax.data.sources.load import Labels, load_labels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands `write`, `inspect` and `kinds` to `parser`."""
    commands = parser.add_subparsers(dest="noise_command", required=True)
    write = commands.add_parser("write", help="corrupt the labels of a data set into a table")
    write.add_argument("--out", required=True, help="file to write, .json or .csv")
    write.add_argument("--kind", required=True, help="see `famus noise kinds`")
    write.add_argument("--rate", required=True, type=float, help="in [0, 1]")
    write.add_argument("--seed", type=int, default=0)
    write.add_argument(
        "--exact", choices=["no", "all", "class"], default="no", help="exact counts (ours only)"
    )
    inspect = commands.add_parser("inspect", help="rate, transition matrix and digest of a table")
    inspect.add_argument("table")
    inspect.add_argument("--order", choices=["ids", "torchvision"], default="ids")
    inspect.add_argument("--key", default=None, help="column or array of the labels")
    for command, source in ((write, "famus_digits"), (inspect, None)):
        command.add_argument("--source", default=source, help="data set with the clean labels")
        command.add_argument("--split", default="train")
        command.add_argument("--data_dir", default=None, help="tfds folder")
        command.add_argument(
            "--class_names",
            default=(),
            type=listed,
            help="the classes of your own data, in their order, with commas between: NA,ZA",
        )
    commands.add_parser("kinds", help="list the kinds of noise")


def _clean_labels(arguments: argparse.Namespace) -> Labels:
    return load_labels(
        arguments.source,
        arguments.split,
        arguments.data_dir,
        class_names=arguments.class_names,
    )


def _matrix_lines(matrix: np.ndarray, limit: int = 20) -> Sequence[str]:
    if len(matrix) > limit:
        kept = np.diagonal(matrix)
        return [
            f"labels kept, by class: lowest {kept.min():.3f}, mean {kept.mean():.3f}, "
            f"highest {kept.max():.3f} ({len(matrix)} classes; matrix not shown)"
        ]
    head = "clean\\noisy " + " ".join(f"{k:5d}" for k in range(len(matrix)))
    rows = [f"{c:11d} " + " ".join(f"{v:5.3f}" for v in row) for c, row in enumerate(matrix)]
    return [head, *rows]


def _report(noisy: NoisyLabels, clean: np.ndarray, expected: float | None) -> None:
    wrong = int((noisy.labels != clean).sum())
    print(f"examples        {len(clean)}")
    print(f"wrong labels    {wrong} ({100 * noisy.realized_rate:.2f} %)")
    if expected is not None:
        print(f"expected        {100 * expected:.2f} %")
    print(f"digest          {noisy.digest}")
    print("\n".join(_matrix_lines(noisy.realized_transition)))


def run(arguments: argparse.Namespace) -> int:
    """Do what the parsed arguments say.

    Returns:
      The exit status, 0.
    """
    _COMMANDS[arguments.noise_command](arguments)
    return 0


def _kinds(arguments: argparse.Namespace) -> None:
    del arguments
    print("\n".join(all_names()))


def _write(arguments: argparse.Namespace) -> None:
    examples = _clean_labels(arguments)
    spec = named_noise(arguments.kind, examples.num_classes, arguments.rate, arguments.exact)
    noisy = apply_noise(spec, examples.labels, examples.ids, arguments.seed)
    about = {
        "source": examples.name,
        "kind": spec.name,
        "rate": spec.rate,
        "exact": spec.exact,
        "seed": arguments.seed,
        "realized_rate": noisy.realized_rate,
        "num_classes": examples.num_classes,
    }
    table = make_table(
        examples.ids, noisy.labels, class_names=_words(examples.class_names), **about
    )
    write_table(arguments.out, table)
    print(f"wrote           {arguments.out}")
    _report(noisy, examples.labels, expected_rate(spec.transition, examples.labels))


def _inspect(arguments: argparse.Namespace) -> None:
    table = read_table(arguments.table, order=arguments.order, key=arguments.key)
    for key, value in table.about.items():
        print(f"{key:15s} {value}")
    if arguments.source is None:
        print(f"examples        {len(table.ids)}")
        print(f"digest          {table.digest}")
        present, counts = np.unique(table.labels, return_counts=True)
        names = [table.class_names[c] if table.class_names else c for c in present]
        print("labels          " + ", ".join(f"{c}: {n}" for c, n in zip(names, counts)))
        print("(name the clean labels with --source to see the rate)")
        return
    examples = _clean_labels(arguments)
    names = names_of(examples.num_classes, examples.class_names)
    noisy = noisy_from_table(table, examples.labels, examples.ids, examples.num_classes, names)
    _report(noisy, examples.labels, None)


def _words(class_names: Sequence[str]) -> Sequence[str]:
    """The names, unless they are 0, 1, 2, …: numbers say as much, and are what others write."""
    return () if list(class_names) == [str(c) for c in range(len(class_names))] else class_names


_COMMANDS = {"kinds": _kinds, "write": _write, "inspect": _inspect}
