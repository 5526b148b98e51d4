"""The training set as an audit mends it: likely wrong labels get the suggestion, or are left out.

What a run of the method `mended` trains on. The audit is that of `famus audit`: it sees the training
examples and the trusted ones, and no others; color images of 32 pixels or more it sees through a
pretrained network, where its package is installed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from famus_jax.audit.items import UNLABELED, Items
from famus_jax.audit.run import Known, audit, mended_labels
from famus_jax.data.sources.classes import names_of
from famus_jax.models.image_features import image_features, is_for
from famus_jax.models.pretrained_efficientnet import weights_file
from famus_jax.progress import Progress
from famus_jax.sealed import Damaged, read_sealed, write_sealed
from famus_jax.train.data_setup import SeedData, Sources
from famus_jax.train.fingerprint import MadeFrom, refuse_others
from famus_jax.train.setting import Seeded

FILE = "mended.json"
Report = Callable[[str, int, int], None]


class Mended(NamedTuple):
    """A seed's data with mended labels.

    Attributes:
      data: `noisy` has the mended labels of training examples, `splits.train` those that are left.
      seconds: that the audit took.
    """

    data: SeedData
    seconds: float


def mended(sources: Sources, one: Seeded, folder: Path, progress: Progress) -> Mended:
    """Audits the training labels of a run once, and keeps what it says in the run's folder.

    Args:
      sources: what the data set holds, in memory.
      one: the run, its seed, splits and labels.
      folder: of the run, for `mended.json`.
      progress: says how far the audit is, and in the end what it did.

    Raises:
      ValueError: for labels that can't be audited (see `audit`); a file that was made from something
        else; fewer examples left than two.
    """
    seeded, name = one.data, f"{one.run.name} seed {one.seed}"
    train, trusted = seeded.splits.train, seeded.splits.trusted
    where = np.sort(np.concatenate([train, trusted]))

    def report(stage: str, done: int, of: int) -> None:
        progress.describe(f"{name}, audit: {stage}, {done} of {of}")
        progress.update(0)

    found = _kept(folder / FILE, one.made_from)
    if found is None:
        start = time.monotonic()
        labels = _audited(sources, seeded, where, one.seed, report).tolist()
        found = {"labels": labels, "seconds": round(time.monotonic() - start, 3)}
        write_sealed(folder / FILE, {**found, "made_from": dict(one.made_from)})
    noisy = seeded.noisy.copy()
    noisy[where] = np.asarray(found["labels"], np.int32)
    noisy[trusted] = seeded.noisy[trusted]
    left = train[noisy[train] != UNLABELED]
    if len(left) < 2:
        raise ValueError(
            f"{name}: the audit leaves {len(left)} of {len(train)} training examples: their labels "
            "tell too little to be mended; leave this run out"
        )
    changed, gone = int((noisy[left] != seeded.noisy[left]).sum()), len(train) - len(left)
    progress.describe(name)
    progress.say(f"{name}: the audit changed {changed} labels and left out {gone} examples")
    return Mended(
        data=seeded._replace(noisy=noisy, splits=seeded.splits._replace(train=left)),
        seconds=float(found["seconds"]),
    )


def _kept(path: Path, made_from: MadeFrom) -> dict | None:
    """What an earlier session found; a damaged file is made again, and the same."""
    if not path.exists():
        return None
    try:
        found = read_sealed(path)
    except Damaged as damaged:
        warnings.warn(f"{damaged}; it is made again, by the same audit", stacklevel=2)
        return None
    refuse_others(found["made_from"], made_from, path.parent)
    return found


def _audited(
    sources: Sources, seeded: SeedData, where: np.ndarray, seed: int, report: Report
) -> np.ndarray:
    """int32, the mended label of each of the positions `where`; -1 to leave the example out."""
    train = sources.train
    inputs = np.asarray(train.images[where])
    items = Items(
        kind="images" if inputs.dtype == np.uint8 else "features",
        inputs=inputs,
        labels=seeded.noisy[where].astype(np.int32),
        ids=train.ids[where],
        class_names=names_of(train.num_classes, train.class_names),
        name="the training set",
    )
    trusted = np.isin(where, seeded.splits.trusted)
    right = np.where(trusted, seeded.clean[where], UNLABELED).astype(np.int32)
    known = Known(right=right, wrong=np.zeros(len(where), bool), added=trusted)
    features = None
    if items.kind == "images" and _fits_pretrained(inputs):
        with Progress(len(inputs), "image") as looked_at:
            looked_at.describe("features of a pretrained network")
            features = image_features(inputs, progress=looked_at)
    found = audit(items, features=features, known=known, final=False, seed=seed, on_epoch=report)
    return mended_labels(found.issues, items.labels)


def _fits_pretrained(images: np.ndarray) -> bool:
    """Whether the pretrained network is made for such images, and there."""
    if not is_for(images):
        return False
    try:
        weights_file()
    except ModuleNotFoundError:
        return False
    return True
