"""CIFAR-10 as a small network's input: features of a pretrained network, and tables of people's labels.

    python -m experiments.cifar10_features --data_dir=~/tensorflow_datasets --out=runs/cifar10

writes into the folder

    features.npz      "images" float32 [N, 256], "labels", "ids": the first N images of the training set
                      by id, as EfficientNet-Lite0 (trained on ImageNet, never here) sees them at 96 by
                      96 pixels: the 256 largest principal components of its 1,280 features
    aggregate.csv     with --human_labels=FILE, CIFAR-10N's arrays in an .npz: the labels that people
    worst.csv         gave those images, as noise tables

A study of thirty methods on images would take days on a CPU; on such features a run takes seconds, and
plain training learns wrong labels by heart as it does on images. Labels are not read for the features.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from famus_jax.data import load_source
from famus_jax.data.noise.files import write_table
from famus_jax.data.noise.table import make_table
from famus_jax.files import write_atomically
from famus_jax.models.image_features import image_features
from famus_jax.progress import Progress

COMPONENTS = 256
PIXELS = 96
HUMAN = {"aggregate": "aggre_label", "worst": "worse_label"}


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="cifar10_features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data_dir", default="", help="where tfds keeps its data")
    parser.add_argument("--human_labels", type=Path, help="CIFAR-10N's arrays, an .npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=12_500)
    args = parser.parse_args(list(argv))
    args.out.mkdir(parents=True, exist_ok=True)
    source = load_source("cifar10", "train", data_dir=args.data_dir or None)
    rows = np.argsort(source.ids)[: args.examples]
    ids, labels = source.ids[rows], source.labels[rows]
    if args.human_labels is not None:
        people = np.load(args.human_labels, allow_pickle=False)
        places = [int(i.removeprefix("train_")) for i in ids]
        if (people["clean_label"][places] != labels).any():
            raise ValueError(f"{args.human_labels}: its clean labels are not those of CIFAR-10")
        for name, array in HUMAN.items():
            given = people[array][places].astype(np.int32)
            write_table(args.out / f"{name}.csv", make_table(ids, given))
    with Progress(len(rows), "image") as progress:
        progress.describe("features")
        seen = image_features(source.images[rows], size=PIXELS, progress=progress)
    centered = seen - seen.mean(0)
    _, _, directions = np.linalg.svd(centered.T @ centered)
    components = (centered @ directions[:COMPONENTS].T).astype(np.float32)
    save(args.out / "features.npz", {"images": components, "labels": labels, "ids": ids})
    print(f"written: {args.out}/features.npz, float32 {list(components.shape)}")
    return 0


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An `.npz`, whole or not at all."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    write_atomically(path, file.getvalue())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
