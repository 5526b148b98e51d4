"""Predicts classes of images, features or texts with what `famus train` or `famus audit` has trained.

  famus predict runs/quickstart photos/ --method=ce --out=predictions.csv
  famus predict runs/quickstart/runs/ce/seed_0 a.png b.png table.csv features.npy
  famus predict audits/texts/predictor new_texts.csv

CHECKPOINT is a work directory of famus train, a method's or a run's folder in it, or a predictor's.
FILES are images, folders of images (at any depth), tables with a column "path" (.csv, .parquet), and
arrays of images or features (.npz, .npy); for a network that takes texts, tables with a column "text"
(and "id"), or .txt files with a text on every line. The table that is written has a line per example:
id, predicted class, its probability, and the probability of every class.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from famus_jax.cli.overrides import UsageError
from famus_jax.files import check_folder, expanded, write_atomically
from famus_jax.progress import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="what to predict with, a folder")
    add("files", metavar="FILES", nargs="+", help="what to predict")
    add("--out", default="predictions.csv", metavar="FILE", help="the table (predictions.csv)")
    add("--overwrite", action="store_true", help="replace --out if it is there")
    add("--method", default="", metavar="NAME", help="which, if the work directory has several")
    add("--seed", type=int, metavar="S", help="which, if the method has several")
    add(
        "--top",
        type=int,
        metavar="K",
        help="tell the best K classes and their probabilities only, not a column for every class",
    )
    add(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the images that may be unreadable; they are named and left out (0)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Does what the parsed arguments say.

    Returns:
      The exit status, 0.

    Raises:
      UsageError: if a flag's value makes no sense.
      FileNotFoundError, ValueError, OSError: what can't be read, used or written.
    """
    out = expanded(arguments.out)
    if not 0 <= arguments.tolerance < 1:
        raise UsageError(
            f"--tolerance={arguments.tolerance:g} must be a share of the images, in [0, 1)"
        )
    if arguments.top is not None and arguments.top < 1:
        raise UsageError(f"--top={arguments.top} must be 1 or more")
    if out.suffix.lower() != ".csv":
        raise UsageError(f"--out={arguments.out} must end in .csv")
    if out.is_dir() or (os.path.lexists(out) and not arguments.overwrite):
        fix = "name a file" if out.is_dir() else "name another, or add --overwrite"
        raise UsageError(f"--out={arguments.out} is there already: {fix}")
    check_folder(out.parent)

    import numpy as np

    from famus_jax.predictor import load_predictor, logits
    from famus_jax.predictor.inputs import find_inputs, read_batches
    from famus_jax.predictor.probabilities import BATCH
    from famus_jax.predictor.table import predictions_content
    from famus_jax.train.predictors import find_predictor

    folder = find_predictor(arguments.checkpoint, arguments.method, arguments.seed)
    predictor = load_predictor(folder)
    names = predictor.class_names
    if arguments.top is not None and arguments.top > len(names):
        raise UsageError(f"--top={arguments.top}: there are {len(names)} classes")
    inputs = find_inputs(arguments.files, predictor, arguments.tolerance)
    size = min(BATCH, 1 << (inputs.total - 1).bit_length())
    written = 0

    def scored() -> Iterator[tuple[list[str], np.ndarray]]:
        nonlocal written
        with Progress(inputs.total, "example") as progress:
            progress.describe("predicting")
            for ids, batch in read_batches(inputs, predictor, size):
                yield ids, logits(predictor, batch, batch_size=size)
                written += len(ids)
                progress.update(len(ids))

    content = predictions_content(scored(), names, arguments.top)
    write_atomically(out, content)
    print(f"written: {out}, {written} of {inputs.total} examples, by {folder}")
    return 0
