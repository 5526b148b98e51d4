"""The flags that say which data are meant, alike for every command of an audit."""

from __future__ import annotations

import argparse
from typing import Any

from famus_jax.cli.words import listed


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the source, and what else says how it is read."""
    add = parser.add_argument
    add("source", nargs="?", help="a folder of images, a table, or an .npz")
    add("--features", metavar="FILE", help="instead of a source: floats [N, D], .npy or .npz")
    add("--labels", metavar="FILE", help="of the features: a table, .npy, .npz or .txt")
    names = {"type": listed, "metavar": "A,B,…", "help": "the classes, in order"}
    add("--class-names", "--class_names", default=(), **names)
    for name in ("text", "label", "id"):
        add(f"--{name}-column", metavar="NAME", help=f"of a table, instead of {name!r}")


def columns_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The names of columns, as `read_items` and `list_rows` take them."""
    return {
        f"{name}_column": getattr(arguments, f"{name}_column") for name in ("text", "label", "id")
    }
