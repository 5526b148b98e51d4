"""Noisy data of any kind, read for an audit: folders, tables, arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from famus_jax.audit.image_size import common_size, read_headers, refuse_what_does_not_fit
from famus_jax.audit.items import Items
from famus_jax.audit.list_arrays import rows_of_features, rows_of_npz
from famus_jax.audit.list_folder import rows_of_folder
from famus_jax.audit.list_table import rows_of_table
from famus_jax.audit.listing import Rows
from famus_jax.data.sources.images import (
    checked_size,
    decode_all,
)
from famus_jax.data.sources.own_data import fitted_images
from famus_jax.data.sources.tables import SUFFIXES
from famus_jax.data.sources.unreadable import check_tolerance, report_unreadable
from famus_jax.files import expanded
from famus_jax.one_of import nearest

Source = str | os.PathLike


def read_items(
    source: Source | None = None,
    *,
    features: Source | None = None,
    labels: Source | None = None,
    class_names: Sequence[str] = (),
    size: int | tuple[int, int] | None = None,
    tolerance: float = 0.02,
    text_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
) -> Items:
    """Examples and their labels, noisy and incomplete as they are.

    An example without a label (an empty cell, nan, NA, None, null, -1, -100) is kept, with the label
    -1; a class of such a name must be among `class_names`. Classes are in natural order; numbers are
    names like others. What can't be read is left out and named; so is what repeats an example with the
    same label. An example that occurs with several labels is kept with each: "a.png", "a.png#2".

    Args:
      source: one of
        a folder of folders of images, one for each class. `train`, `test`, … with class folders are
          read all together. A folder `unlabeled` or `unlabelled` beside class folders has no labels;
        a table (`.csv`, `.tsv`, `.jsonl`, `.parquet`) with a column `path` of images (relative to the
          table's folder) or `text`, a column `label` and, if it has one, `id`. Of both, `path` counts;
        an `.npz` with `images` (uint8 [N, H, W, C] or [N, H, W]) or `features` (floats [N, D]),
          `labels` and, if it has them, `ids` and `class_names`.
      features: instead of a source, an `.npy` or `.npz` of floats [N, D].
      labels: of `features`: a table, `.npy`, `.npz`, or `.txt` with one per line. Matched by id where
        both have ids, else by row.
      class_names: the classes there are, in their order; () takes those of the data.
      size: height and width to fit images to; None takes the medians, shrunk until the longer is at
        most 64. Images are gray if all are, else in color.
      tolerance: share of the rows that may be unreadable (no path, a damaged image, features that are
        not finite).
      text_column, label_column, id_column: of a table, instead of "text", "label", "id".

    Returns:
      `Items`, in the source's order.

    Raises:
      FileNotFoundError: no such source.
      ModuleNotFoundError: Parquet without pyarrow, images without Pillow.
      ValueError: a label that is no label ("2.5" among numbers) or no class; a missing column; more
        unreadable than tolerated; no examples; images that don't fit into memory. Names the file, the
        row, and the fix.
    """
    pair, tolerance = checked_size(size), check_tolerance(tolerance)
    rows = list_rows(
        source,
        features=features,
        labels=labels,
        class_names=class_names,
        text_column=text_column,
        label_column=label_column,
        id_column=id_column,
    )
    if rows.inputs is None:
        return _with_images(rows, pair, tolerance)
    _refuse_bad(rows, rows.bad, tolerance)
    inputs = rows.inputs if rows.kind != "images" else _fitted(rows.inputs, pair, rows.name)
    return _items(rows, inputs, np.arange(len(rows.ids)), rows.bad)


def list_rows(
    source: Source | None = None,
    *,
    features: Source | None = None,
    labels: Source | None = None,
    class_names: Sequence[str] = (),
    text_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
) -> Rows:
    """Ids and labels of a source's rows (arguments and errors: `read_items`); no image is opened."""
    if (source is None) == (features is None):
        raise ValueError("give a source, or features=… and labels=… instead (one of the two)")
    if (features is None) != (labels is None):
        raise ValueError("features=… and labels=… belong together: give both, or a source alone")
    class_names = tuple(class_names)
    columns = {"label_column": label_column, "id_column": id_column}
    if features is not None and labels is not None:
        pair = expanded(features), expanded(labels)
        return rows_of_features(*pair, class_names, **columns)
    assert source is not None
    path = expanded(source)
    if not path.exists():
        raise FileNotFoundError(f"no data at {path.absolute()}{_neighbor(path)}")
    if path.is_dir():
        return rows_of_folder(path, class_names)
    if path.suffix.lower() == ".npz":
        return rows_of_npz(path, class_names)
    if path.suffix.lower() in SUFFIXES:
        return rows_of_table(path, class_names, text_column=text_column, **columns)
    known = ", ".join((*SUFFIXES, ".npz"))
    hint = ": give features=… and labels=… instead" if path.suffix.lower() == ".npy" else ""
    raise ValueError(f"{path.name!r}: expected a folder, or one of {known}{hint}")


def _neighbor(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    hint = nearest(path.name, [other.name for other in path.parent.iterdir()])
    return hint if hint != "." else ""


def _with_images(rows: Rows, pair: tuple[int, int] | None, tolerance: float) -> Items:
    """Image files, decoded to one size."""
    headers = [header for header in read_headers(rows.paths) if header is not None]
    channels = 1 if headers and all(header.gray for header in headers) else 3
    if pair is None and headers:
        pair = common_size([h.height for h in headers], [h.width for h in headers])
    if pair is not None:
        refuse_what_does_not_fit(len(rows.paths), pair, channels, rows.name)
    images, kept, reasons = decode_all(rows.paths, rows.ids, size=pair, channels=channels)
    bad = rows.bad | reasons
    _refuse_bad(rows, bad, tolerance)
    return _items(rows, images, kept, bad)


def _fitted(images: np.ndarray, pair: tuple[int, int] | None, name: str) -> np.ndarray:
    """Images of arrays at the size that those of files would have."""
    count, height, width, channels = images.shape
    if pair is None and count and channels in (1, 3):
        pair = common_size([height], [width])
    refuse_what_does_not_fit(count, pair or (height, width), channels, name)
    return fitted_images(images, pair, name)


def _refuse_bad(rows: Rows, bad: dict[str, str], tolerance: float) -> None:
    noun = "images" if rows.kind == "images" else "rows"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `left_out` has them, for whoever shows it
        count = len(rows.ids) + len(rows.bad)
        report_unreadable(bad, count, tolerance, noun, flag="famus audit: --tolerance")


def _items(rows: Rows, inputs: np.ndarray, kept: np.ndarray, bad: dict[str, str]) -> Items:
    if not len(inputs):
        raise ValueError(f"{rows.name} has no examples that can be read")
    left_out = (*bad.items(), *rows.repeated)
    return Items(
        kind=rows.kind,
        inputs=inputs,
        labels=rows.labels[kept],
        ids=np.asarray([rows.ids[row] for row in kept], dtype=np.str_),
        class_names=rows.class_names,
        name=rows.name,
        paths=[str(rows.paths[row]) for row in kept] if len(rows.paths) else (),
        left_out=left_out,
    )
