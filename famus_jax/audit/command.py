"""Finds the labels that are likely wrong, in data of any kind; needs no config.

  famus audit photos/ --workdir=audits/photos               a folder with a folder of images per class
  famus audit table.csv --workdir=audits/table              columns path,label or text,label
  famus audit set.npz --workdir=audits/set                  arrays images or features, and labels
  famus audit --features=emb.npy --labels=labels.csv --workdir=audits/emb

The work directory then has label_issues.csv (every example, the most likely wrong label first),
audit.html (a page to look through them and decide, with keys), audit.json, and a predictor for famus
predict. Save decisions.csv from the page, and give it back with --decisions=decisions.csv; or mend the
data with famus mend. With --compare a table says which way to train is best on these data.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from famus_jax.audit.source_flags import add_source_flags, columns_of
from famus_jax.cli.overrides import UsageError
from famus_jax.files import (
    check_folder,
    expanded,
    finite,
    remove_parts,
    write_atomically,
    write_json,
)
from famus_jax.lock import alone_in
from famus_jax.progress import Progress

NETWORKS = ("auto", "small", "pretrained")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    add = parser.add_argument
    add_source_flags(parser)
    add("--workdir", required=True, metavar="FOLDER", help="where the results go")
    add("--trusted", metavar="SOURCE", help="more examples, whose labels are right")
    add("--decisions", metavar="FILE", help="decisions.csv, as the page saves it")
    add(
        "--propose-trusted",
        type=int,
        default=0,
        metavar="K",
        help="write proposed.csv: the K examples to look at first, of every class",
    )
    add("--minutes", type=float, metavar="N", help="train for at most about so long")
    add(
        "--network",
        choices=NETWORKS,
        default="auto",
        help="for images: a small one of its own, or the features of a pretrained one (needs "
        "famus_jax[features]); auto: the latter for color images of 32 pixels or more",
    )
    add(
        "--compare",
        action="store_true",
        help="in the end, train in other ways too, and say which is best on these data (takes longer "
        "than the audit; --minutes doesn't count it)",
    )
    add("--size", type=int, metavar="PIXELS", help="fit images to this height and width")
    add(
        "--tolerance",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="of rows that may be unreadable; they are named and left out (0.02)",
    )
    add("--seed", type=int, default=0, help="of all that is random (0)")


def run(arguments: argparse.Namespace) -> int:
    """Does what the parsed arguments say.

    Returns:
      The exit status, 0.

    Raises:
      UsageError: if flags make no sense, or don't go together.
      Exception: what `read_items`, `read_decisions` and `audit` raise.
    """
    _check(arguments)
    workdir = expanded(arguments.workdir)
    check_folder(workdir)
    from famus_jax.audit.known import known_by_decisions, of_the_first, with_trusted
    from famus_jax.audit.read import read_items
    from famus_jax.audit.run import nothing_known

    items = read_items(
        arguments.source,
        features=arguments.features,
        labels=arguments.labels,
        **columns_of(arguments),
        class_names=arguments.class_names,
        size=arguments.size,
        tolerance=arguments.tolerance,
    )
    own = len(items.labels)
    known = (
        known_by_decisions(expanded(arguments.decisions), items)
        if arguments.decisions
        else nothing_known(own)
    )
    together, known_of_all = items, known
    if arguments.trusted:
        size = items.inputs.shape[1:3] if items.kind == "images" else None
        trusted = read_items(
            arguments.trusted,
            **columns_of(arguments),
            class_names=items.class_names,
            size=size,
            tolerance=arguments.tolerance,
        )
        together, known_of_all = with_trusted(items, trusted, known)
    with alone_in(workdir):
        remove_parts(workdir)
        features = _features(together, arguments.network)
        found, texts = _audit(together, features, known_of_all, arguments)
        answer = of_the_first(own, found, items.labels)
        _write(workdir, items, answer, known, arguments, features, texts)
        if arguments.compare:
            _compare(workdir, together, features, found, known_of_all, own, arguments)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.workdir.strip():
        raise UsageError("--workdir is empty: name a folder")
    if (arguments.source is None) == (arguments.features is None):
        raise UsageError("give a source, or --features and --labels: one of the two")
    if arguments.minutes is not None and not 0 < arguments.minutes < math.inf:
        raise UsageError(f"--minutes={arguments.minutes}: give a number above 0")
    if arguments.propose_trusted < 0:
        raise UsageError(f"--propose-trusted={arguments.propose_trusted}: give 0 or more")
    if arguments.trusted and arguments.features:
        raise UsageError(
            "--trusted goes with a source, not with --features: give features of trusted examples in "
            "the same file, and a file of --decisions that says 'right' of them"
        )


def _audit(
    items: Any, features: np.ndarray | None, known: Any, arguments: argparse.Namespace
) -> tuple[Any, Any]:
    """The audit, and the classifier of texts where the items are such, with their progress."""
    from famus_jax.audit.run import audit, mended_labels
    from famus_jax.audit.text_classifier import train_text_classifier

    seconds = None if arguments.minutes is None else 60 * arguments.minutes
    texts, classifier = items.kind == "texts", None
    with Progress(1, "epoch") as progress:
        stages: dict[str, int] = {}

        def on_epoch(stage: str, done: int, of: int) -> None:
            stages[stage] = of
            progress.total = sum(stages.values())
            progress.describe(stage)
            progress.update()

        found = audit(
            items, features=features, known=known, seed=arguments.seed, seconds=seconds,
            on_epoch=on_epoch, final=not texts,
        )  # fmt: skip
    mended = mended_labels(found.issues, items.labels)
    if texts and (mended >= 0).any():
        classifier = train_text_classifier(items.inputs, mended, len(items.class_names))
        found = found._replace(seconds=found.seconds + classifier.seconds)
    return found, classifier


def _features(items: Any, network: str) -> np.ndarray | None:
    if items.kind == "texts":
        from famus_jax.audit.text_features import text_features

        return text_features([str(text) for text in items.inputs])
    if items.kind != "images" or network == "small":
        return None
    from famus_jax.models.image_features import image_features, is_for
    from famus_jax.models.pretrained_efficientnet import weights_file

    if network == "auto" and not is_for(items.inputs):
        return None
    try:
        weights_file()
    except ModuleNotFoundError as missing:
        if network == "pretrained":
            raise
        print(f"famus audit: a small network of its own looks at the images ({missing})")
        return None
    with Progress(len(items.labels), "image") as progress:
        progress.describe("features of a pretrained network")
        return image_features(items.inputs, progress=progress)


def _compare(
    workdir: Path,
    items: Any,
    features: np.ndarray | None,
    found: Any,
    known: Any,
    own: int,
    arguments: argparse.Namespace,
) -> None:
    """The comparison, with its progress, and what it writes and prints."""
    from famus_jax.audit.compare import compare
    from famus_jax.audit.compare_report import lines_of, write_comparison
    from famus_jax.provenance import provenance

    with Progress(1, "step") as progress:

        def on_steps(row: str, steps: int, total: int) -> None:
            progress.total = total
            progress.describe(row)
            progress.update(steps)

        compared = compare(
            items, found, known, own=own, features=features, seed=arguments.seed,
            seconds=None if arguments.minutes is None else 60 * arguments.minutes,
            on_steps=on_steps,
        )  # fmt: skip
    written = write_comparison(workdir, compared, provenance(arguments.command_line))
    print()
    for line in lines_of(compared):
        print(line)
    print(f"\nwritten: {written[0]}, {written[1]}")


def _write(
    workdir: Path,
    items: Any,
    found: Any,
    known: Any,
    arguments: argparse.Namespace,
    features: np.ndarray | None,
    texts: Any,
) -> None:
    from famus_jax.audit.decisions import write_decisions
    from famus_jax.audit.known import proposed
    from famus_jax.audit.report import json_of, lines_of, page_of
    from famus_jax.audit.saved import save
    from famus_jax.audit.tables import write_label_issues
    from famus_jax.provenance import provenance
    from famus_jax.sealed import files_checksum

    warnings = list(found.issues.summary.warnings)
    written = write_label_issues(workdir, items, found.issues)  # first: nothing may cost it
    said = json_of(items, found, known, warnings)
    write_json(workdir / "audit.json", finite({**said, **provenance(arguments.command_line)}))
    page = workdir / "audit.html"
    write_atomically(page, page_of(items, found, known, warnings))
    if found.variables is not None or texts is not None:
        made_from = {"label_issues": files_checksum([written[0]])}
        save(workdir / "predictor", items, found, made_from, features=features, texts=texts)
    if arguments.propose_trusted:
        chosen = proposed(items, found.issues, known, arguments.propose_trusted)
        write_decisions(workdir / "proposed.csv", chosen)
    for line in lines_of(items, found, known, warnings):
        print(line)
    print(f"\nwritten: {written[0]}, {page}")
    print(f"Open {page} in a browser to look through them and decide.")
