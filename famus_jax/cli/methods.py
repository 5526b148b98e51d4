"""Lists every method that a config can name, with what it needs and where it comes from.

  famus methods
  famus methods --json

Needs: "trusted": a few examples with labels that you trust; "estimator": of the meta gradient, named in
the run; "memory": it keeps something of every training example on the device; "two networks";
"features", "class counts", "cosines": of the network and the labels, which famus train sees to, but for
cosines (model.overrides.cosine_head). Config: a file of the repository that runs it, as famus train
--config takes it.
"""

from __future__ import annotations

import argparse
import json
import re
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "--json", action="store_true", help="a list of objects, one for each method"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the list.

    Returns:
      The exit status, 0.
    """
    print(json.dumps(listed(), indent=2) if arguments.json else table(listed()))
    return 0


def listed() -> list[dict[str, Any]]:
    """Every row of the table of methods, as plain values.

    Returns:
      For each `name`, `title`, `kind`, `trusted_labels`, `estimator`, `memory`, `networks`, `needs`,
      `continues`, `source`, `link` and `config`.

    Example:
      >>> [one["needs"] for one in listed() if one["name"] in ("mwnet", "elr")]
      [['trusted', 'estimator'], ['memory']]
    """
    from famus_jax.train.methods import METHODS

    found = []
    for name, method in METHODS.items():
        needs = {
            "trusted": method.trusts(),
            "estimator": method.learns,
            "memory": method.remembers,
            "two networks": method.networks == 2,
            "features": method.reads_features,
            "class counts": method.reads_counts,
            "cosines": method.scales_logits,
        }
        link = re.search(r"https://\S+", method.source)
        found.append(
            {
                "name": name,
                "title": method.title,
                "kind": method.kind,
                "trusted_labels": method.trusts(),
                "estimator": method.learns,
                "memory": method.remembers,
                "networks": method.networks,
                "needs": [need for need, needed in needs.items() if needed],
                "continues": method.needs,
                "source": method.source,
                "link": link[0] if link else None,
                "config": method.config,
            }
        )
    return found


def table(methods: list[dict[str, Any]]) -> str:
    """The list for people: a line each, columns as wide as they must be."""
    rows = [("name", "kind", "needs", "config", "source")]
    rows += [
        (
            one["name"],
            one["kind"],
            ", ".join(one["needs"] + ([f"a run of {one['continues']}"] * bool(one["continues"])))
            or "-",
            one["config"],
            one["source"] or "-",
        )
        for one in methods
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]])
        for row in rows
    ]
    return "\n".join(lines)
