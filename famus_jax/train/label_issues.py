"""The labels that a run trusts least, as a list to work through and a picture to look at.

A method's word on an example is the weight that it gave it (1 = as in plain training), or the
probability that its label is right where there is one. The least comes first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from famus_jax.files import write_atomically, write_figure

COLUMNS = ("rank", "id", "label", "score", "seeds")
SHOWN = 40  # images in the picture


class Suspects(NamedTuple):
    """Examples in order of suspicion, the least trusted first.

    Attributes:
      positions: int [M], in the training data. Examples without a score are not among them: trusted
        ones, those held out, those never drawn.
      scores: float64 [M], rising; the mean over the seeds that have one.
      seeds: int [M], how many have.
    """

    positions: np.ndarray
    scores: np.ndarray
    seeds: np.ndarray


def score_of(told: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """What a run tells of its labels: of `clean_probability` and `weights`, [N], the first that it has.

    None if it has neither, or all are alike: then nothing was judged.
    """
    for name in ("clean_probability", "weights"):
        if name in told:
            values = np.asarray(told[name], np.float64)
            known = values[np.isfinite(values)]
            return values if len(known) and np.ptp(known) > 1e-6 else None
    return None


def suspects(scores: Sequence[np.ndarray]) -> Suspects:
    """Ranks by the mean score over seeds (NaN: none); ties stay in the data's order."""
    stacked = np.stack(scores)
    known = np.isfinite(stacked)
    counts = known.sum(0)
    mean = np.where(known, stacked, 0).sum(0) / np.maximum(counts, 1)
    order = np.argsort(np.where(counts > 0, mean, np.inf), kind="stable")[: (counts > 0).sum()]
    return Suspects(order, mean[order], counts[order])


def write_list(
    path: Path, found: Suspects, ids: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> None:
    """A CSV with a line per example: rank, id, label (its name, if there is one), score, seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, (at, score, seeds) in enumerate(zip(*found, strict=True), start=1):
        writer.writerow((rank, ids[at], name_of(int(labels[at]), names), f"{score:.6g}", seeds))
    write_atomically(path, text.getvalue().encode())


def draw(
    path: Path, found: Suspects, images: Any, labels: np.ndarray, names: Sequence[str]
) -> None:
    """The first of the list as images with their labels and scores; a PNG.

    Args:
      path: where to.
      found: see `suspects`.
      images: uint8 [N, H, W, 1 or 3], or anything whose `images[position]` is such an image.
      labels, names: of all N.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = found.positions[:SHOWN]
    across = min(10, len(shown))
    down = -(-len(shown) // across)
    figure = Figure((1.25 * across, 1.65 * down))
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, squeeze=False)
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.35 / (1.65 * down), 0.08, 0.3)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, at, score in zip(axes.flat, shown, found.scores, strict=False):
        image = np.asarray(images[int(at)])
        axis.imshow(image.squeeze(), cmap="gray" if image.shape[-1] == 1 else None)
        axis.set_title(f"{name_of(int(labels[at]), names)}\n{score:.3g}", fontsize=8)
    write_figure(path, figure)


def name_of(label: int, names: Sequence[str]) -> str:
    """A class by its name, or by its number where it has none."""
    return names[label] if names else str(label)
