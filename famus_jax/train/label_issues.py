"""Label issues of a method: the labels that its runs speak against, as a list, a text and a picture.

The list has a row for every training example. Examples that no run tells of (held out for validation,
say) come last with rank 0 and nothing but their label; so do trusted ones, which are right.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from famus_jax.evidence.label_issues import label_issues
from famus_jax.evidence.table import csv_of, in_order, issue_columns, name_of
from famus_jax.evidence.types import Evidence, LabelIssues
from famus_jax.files import write_atomically, write_figure
from famus_jax.printable import printable
from famus_jax.train.data_setup import SeedData
from famus_jax.train.evidence import mean_evidence, read_evidence
from famus_jax.train.figures import drawn, new_figure

SHOWN = 40  # images in the picture


class Listed(NamedTuple):
    """What came of the lists of a method.

    Attributes:
      warnings: what the reader must know before reading a list.
      trouble: what could not be done.
      lists: the `.csv` files.
    """

    warnings: list[str]
    trouble: list[str]
    lists: list[Path]


def list_label_issues(
    folder: Path, seeded: Mapping[int, SeedData], ids: np.ndarray, names: Sequence[str]
) -> Listed:
    """Writes `label_issues.csv`, `.txt` and `.png` for a method whose runs are all finished.

    One list of all seeds together if they are of the same labels (one's own noise), else one of each.
    None for a method whose runs tell nothing of the labels.

    Args:
      folder: of the method, with a folder `seed_S` for each seed.
      seeded: each seed's labels and images.
      ids, names: of all examples; of the classes, or empty.

    Returns:
      Messages. A file of weights that is damaged, or a picture that can't be drawn, costs no results.
    """
    found, listed = {}, Listed([], [], [])
    for seed in seeded:
        try:
            evidence = read_evidence(folder / f"seed_{seed}" / "weights.npz")
        except ValueError as error:
            listed.trouble.append(f"no label issues of seed {seed}: {error}")
            continue
        if evidence is not None:
            found[seed] = evidence
    lists = {folder / f"seed_{seed}": [seed] for seed in found}
    if len({seeded[seed].noisy.tobytes() for seed in found}) == 1:
        lists = {folder: list(found)}
    for where, seeds in lists.items():
        data = [seeded[seed] for seed in seeds]
        try:
            issues, told = issues_of([found[seed] for seed in seeds], data)
        except ValueError as error:
            listed.trouble.append(f"no label issues in {where}: {error}")
            continue
        labels, images = data[0].noisy, data[0].images
        _write_list(where / "label_issues.csv", list_content(issues, told, ids, labels, names))
        write_atomically(where / "label_issues.txt", text_of(issues).encode())
        listed.lists.append(where / "label_issues.csv")
        listed.warnings.extend(f"label issues in {where}: {w}" for w in issues.summary.warnings)
        picture = where / "label_issues.png"
        if len(images.shape) == 4 and not picture.exists():  # features are nothing to look at
            listed.trouble.extend(drawn(picture, functools.partial(
                draw, issues=issues, images=images, ids=ids, labels=labels, names=names
            )))  # fmt: skip
    return listed


def issues_of(
    evidence: Sequence[Evidence], data: Sequence[SeedData]
) -> tuple[LabelIssues, np.ndarray]:
    """Label issues of the mean evidence of seeds whose labels are the same.

    Args:
      evidence: of each seed.
      data: of each seed.

    Returns:
      `LabelIssues` of all N examples, and int [N], how many seeds tell of each. Where none does, p and
      suggestion are NaN and -1; trusted examples of all seeds are right with probability 1.

    Raises:
      ValueError: what `label_issues` raises, for evidence that tells no label from another.
    """
    mean, told = mean_evidence(evidence)
    labels = data[0].noisy
    sure = np.ones(len(labels), bool)
    for one in data:
        sure &= np.isin(np.arange(len(labels)), one.splits.trusted)
    # What is trusted has mostly not been trained on, or more than the rest: its evidence says nothing
    # of what other right labels look like.
    ranked = (told > 0) & ~sure
    issues = label_issues(mean, np.where(ranked, labels, -1))
    p_wrong = np.where(sure, 0.0, issues.p_wrong)
    suggested = np.where(sure, labels, np.where(ranked, issues.suggested_label, -1))
    p_suggested = np.where(sure, 1.0, np.where(ranked, issues.p_suggested, np.nan))
    return issues._replace(
        p_wrong=p_wrong, suggested_label=suggested.astype(np.int32), p_suggested=p_suggested
    ), told


def _write_list(table: Path, content: bytes) -> None:
    if table.exists() and table.read_bytes() == content:
        return
    _keep_changed(table)
    write_atomically(table, content)


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


def list_content(
    issues: LabelIssues,
    told: np.ndarray,
    ids: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
) -> bytes:
    """A CSV: the columns of `issue_columns`, and `seeds`, how many tell of the example (0: none does).

    A text that a spreadsheet would run as a formula is quoted (`quote_formula`); as a noise table it is
    read back as it was.
    """
    columns = issue_columns(issues, list(ids), labels, names)
    return csv_of({**columns, **in_order({"seeds": told.tolist()}, issues.rank)})


def text_of(issues: LabelIssues) -> str:
    """What to know before reading the list: warnings first, then how many labels look wrong and how
    each kind of evidence did in the self-test."""
    summary, ranked = issues.summary, int((issues.rank > 0).sum())
    lines = [
        *summary.warnings,
        f"{summary.num_issues} of {ranked} labels look wrong; they come first in label_issues.csv. "
        f"Estimated share of wrong labels: {summary.share_wrong:.1%} (95 % interval "
        f"{summary.share_low:.1%} to {summary.share_high:.1%}; a network that has learned wrong labels "
        "as if they were right finds too few).",
        "",
        "Self-test: does the evidence rank those labels low that the other evidence is surest are "
        "wrong? (AUROC 0.50 is a coin's; weight 0 does not count)",
    ]
    for test in summary.self_tests:
        auroc = f"AUROC {test.auroc:.2f}" if np.isfinite(test.auroc) else "not tested"
        lines.append(f"  {test.name}: {auroc}, weight {test.weight:.2f}")
    return "\n".join(lines) + "\n"


def draw(
    path: Path,
    issues: LabelIssues,
    images: Any,
    ids: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
) -> None:
    """The first of the list as images, each with its id, given and suggested label, p_wrong; a PNG.

    Args:
      path: where to.
      issues: of all N.
      images: uint8 [N, H, W, 1 or 3], or anything whose `images[position]` is such an image.
      ids, labels, names: of all N; of the classes.

    Raises:
      ValueError: images of another number of channels.
    """
    order = np.argsort(np.where(issues.rank > 0, issues.rank, len(labels) + 1), kind="stable")
    shown = order[: min(SHOWN, int((issues.rank > 0).sum()))]
    across = min(8, len(shown))
    down = -(-len(shown) // across)
    figure = new_figure((1.6 * across, 2.1 * down))
    axes = figure.subplots(down, across, squeeze=False)
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.6 / (2.1 * down), 0.08, 0.48)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, at in zip(axes.flat, shown, strict=False):
        image = np.asarray(images[int(at)])
        if image.shape[-1] not in (1, 3):
            raise ValueError(f"images of {image.shape[-1]} channels; only 1 or 3 can be shown")
        gray = image.shape[-1] == 1
        # The range is that of the type: else each image would be stretched to its own.
        axis.imshow(
            image[..., 0] if gray else image, cmap="gray" if gray else None, vmin=0, vmax=255
        )
        axis.set_title(caption(issues, int(at), ids, labels, names), fontsize=7)
    write_figure(path, figure)


def caption(
    issues: LabelIssues, at: int, ids: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> str:
    """Id, given -> suggested label, p_wrong. Of a long id the end, which tells the files apart."""
    name = printable(str(ids[at]))
    given, suggested = (
        printable(name_of(int(label), names), 12)
        for label in (labels[at], issues.suggested_label[at])
    )
    return (
        f"{name if len(name) <= 24 else '…' + name[-23:]}\n{given} → {suggested}\n"
        f"p_wrong {issues.p_wrong[at]:.2f}"
    )
