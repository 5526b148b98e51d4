"""Label issues: the labels that a run trusts least, as a list to work through and a picture of them.

The score of an example is the weight that the method gave it (1 = as in plain training), or the
probability that its label is right where there is one. The lowest comes first.
"""

from __future__ import annotations

import csv
import functools
import io
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from famus_jax.data.sources.numpy_files import read_arrays
from famus_jax.data.sources.tables import quote_formula
from famus_jax.files import write_atomically, write_figure
from famus_jax.printable import printable
from famus_jax.train.data_setup import SeedData
from famus_jax.train.figures import drawn, new_figure

COLUMNS = ("rank", "id", "label", "score", "seeds")
SHOWN = 40  # images in the picture


class LabelIssues(NamedTuple):
    """Examples in the order of how little their labels are trusted, the least first.

    Attributes:
      positions: int [M], in the training data. Examples without a score are not among them: trusted
        ones, those held out, those never drawn.
      scores: float64 [M], rising; the mean over the seeds that have one.
      seeds: int [M], how many have.
    """

    positions: np.ndarray
    scores: np.ndarray
    seeds: np.ndarray


def score_of(values: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Scores of a run: of `clean_probability` and `weights`, [N], the first that it has.

    None if it has neither, or all are alike: then it tells no label from another.
    """
    for name in ("clean_probability", "weights"):
        if name in values:
            scores = np.asarray(values[name], np.float64)
            known = scores[np.isfinite(scores)]
            return scores if len(known) and np.ptp(known) > 1e-6 else None
    return None


def find_label_issues(scores: Sequence[np.ndarray]) -> LabelIssues:
    """Ranks by the mean score over seeds (NaN: none); ties stay in the data's order.

    >>> find_label_issues([np.array([0.9, 0.1, np.nan, 0.4])]).positions.tolist()
    [1, 3, 0]
    """
    stacked = np.stack(scores)
    known = np.isfinite(stacked)
    counts = known.sum(0)
    mean = np.where(known, stacked, 0).sum(0) / np.maximum(counts, 1)
    order = np.argsort(np.where(counts > 0, mean, np.inf), kind="stable")[: (counts > 0).sum()]
    return LabelIssues(order, mean[order], counts[order])


def list_label_issues(
    folder: Path, seeded: Mapping[int, SeedData], ids: np.ndarray, names: Sequence[str]
) -> list[str]:
    """Writes `label_issues.csv` and `label_issues.png` for a method whose runs are all finished.

    One list of all seeds together if they are of the same labels (one's own noise), else one of each.

    Args:
      folder: of the method, with a folder `seed_S` for each seed.
      seeded: each seed's labels and images.
      ids, names: of all examples; of the classes, or empty.

    Returns:
      What could not be done, a message each: a file of weights that is damaged, a picture that can't be
      drawn. Neither may cost the results.
    """
    scores, trouble = {}, []
    for seed in seeded:
        path = folder / f"seed_{seed}" / "weights.npz"
        try:
            scores[seed] = score_of(_values(path)) if path.exists() else None
        except ValueError as error:
            trouble.append(f"no label issues of seed {seed}: {error}")
    scores = {seed: score for seed, score in scores.items() if score is not None}
    lists = {folder / f"seed_{seed}": [seed] for seed in scores}
    if len({seeded[seed].noisy.tobytes() for seed in scores}) == 1:
        lists = {folder: list(scores)}
    for where, seeds in lists.items():
        found = find_label_issues([scores[seed] for seed in seeds])
        labels, images = seeded[seeds[0]].noisy, seeded[seeds[0]].images
        table, content = where / "label_issues.csv", list_content(found, ids, labels, names)
        if not table.exists() or table.read_bytes() != content:
            _keep_changed(table)
            write_atomically(table, content)  # first: it can't fail by what it holds
        picture = where / "label_issues.png"
        if len(images.shape) == 4 and not picture.exists():  # features are nothing to look at
            trouble += drawn(picture, functools.partial(
                draw, found=found, images=images, labels=labels, names=names
            ))  # fmt: skip
    return trouble


def _keep_changed(path: Path) -> None:
    """A list that is not the one to be written is a damaged one, or has somebody's notes."""
    if path.exists():
        kept = next(free for free in _other_names(path) if not free.exists())
        path.replace(kept)
        warnings.warn(f"{path} was changed: it is kept as {kept}, and written anew", stacklevel=2)


def _other_names(path: Path) -> Iterator[Path]:
    """One after the other: what was kept before is never overwritten."""
    yield path.with_suffix(".changed.csv")
    for i in itertools.count(1):
        yield path.with_suffix(f".changed{i}.csv")


def _values(path: Path) -> dict[str, np.ndarray]:
    return read_arrays(path, [], ["clean_probability", "weights"])


def list_content(
    found: LabelIssues, ids: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> bytes:
    """A CSV with a line per example: rank, id, label (its name, if there is one), score, seeds.

    A text that a spreadsheet would run as a formula is quoted (`quote_formula`); as a noise table it is
    read back as it was.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, (at, score, seeds) in enumerate(zip(*found, strict=True), start=1):
        name, label = quote_formula(str(ids[at])), quote_formula(name_of(int(labels[at]), names))
        writer.writerow((rank, name, label, f"{score:.6g}", seeds))
    return text.getvalue().encode("utf-8", "backslashreplace")


def draw(
    path: Path, found: LabelIssues, images: Any, labels: np.ndarray, names: Sequence[str]
) -> None:
    """The first of the list as images with their labels and scores; a PNG.

    Args:
      path: where to.
      found: see `find_label_issues`.
      images: uint8 [N, H, W, 1 or 3], or anything whose `images[position]` is such an image.
      labels, names: of all N.

    Raises:
      ValueError: images of another number of channels.
    """
    shown = found.positions[:SHOWN]
    across = min(10, len(shown))
    down = -(-len(shown) // across)
    figure = new_figure((1.25 * across, 1.65 * down))
    axes = figure.subplots(down, across, squeeze=False)
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.35 / (1.65 * down), 0.08, 0.3)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, at, score in zip(axes.flat, shown, found.scores, strict=False):
        image = np.asarray(images[int(at)])
        if image.shape[-1] not in (1, 3):
            raise ValueError(f"images of {image.shape[-1]} channels; only 1 or 3 can be shown")
        gray = image.shape[-1] == 1
        # The range is that of the type: else each image would be stretched to its own.
        axis.imshow(
            image[..., 0] if gray else image, cmap="gray" if gray else None, vmin=0, vmax=255
        )
        axis.set_title(f"{printable(name_of(int(labels[at]), names), 24)}\n{score:.3g}", fontsize=8)
    write_figure(path, figure)


def name_of(label: int, names: Sequence[str]) -> str:
    """A class by its name, or by its number where it has none."""
    return names[label] if names else str(label)
