"""A table of image paths or of texts, as rows of an audit; which of them follows from its columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from famus_jax.audit.labels import read_labels
from famus_jax.audit.listing import Rows, distinct, numbered
from famus_jax.data.sources.classes import is_missing, spelled, written
from famus_jax.data.sources.file_lists import on_disk
from famus_jax.data.sources.tables import Table, read_columns
from famus_jax.data.sources.texts import text_of_cell

PATH, TEXT, LABEL, ID = "path", "text", "label", "id"


def rows_of_table(
    source: Path,
    class_names: Sequence[str] = (),
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
) -> Rows:
    """A table with a column `path` (of images) or `text`, a column `label` and, if it has one, `id`.

    Relative paths start at the table's folder. Without `id`, an image is named by its path, a text by
    its row. With both `path` and `text` it is a table of images, unless `text_column` is given.

    Raises:
      FileNotFoundError, ModuleNotFoundError, ValueError: see `read_columns`, `read_labels`; neither
        column, and the ones that there are.
    """
    label, text, name = label_column or LABEL, text_column or TEXT, id_column or ID
    given = [column for column in (text_column, id_column) if column]
    table = read_columns(source, [label, *given], [PATH, text, name])
    labels, names = read_labels(
        table.columns[label], str(source), at=table.at, class_names=class_names
    )
    cells = table.columns[label]
    if text_column or PATH not in table.columns:
        if text not in table.columns:
            raise ValueError(
                f"{source} has neither a column {PATH!r} (of images) nor {text!r} (of texts); it has "
                f"{table.present}: name the texts' one, text_column=… (famus audit: --text-column)"
            )
        return _texts(table, text, name, labels, names, cells)
    return _images(table, name, labels, names, cells)


def _images(table: Table, name: str, labels: np.ndarray, names: tuple[str, ...], cells) -> Rows:
    values, base = table.columns[PATH], table.path.parent
    bad: dict[str, str] = {}
    texts = ["" if is_missing(written(value)) else str(value) for value in values]
    given = table.columns.get(name, texts)
    ids = [spelled(i if isinstance(i, str) else written(i)) for i in given]
    good = np.ones(len(ids), bool)
    for row, text in enumerate(texts):
        if not text or not ids[row]:
            good[row], bad[table.at(row)] = False, f"there is no {name if text else PATH}"
    keys = [spelled(os.path.normpath(base / text)) for text in texts]
    found = distinct(ids, keys, labels, good)
    return Rows(
        kind="images",
        ids=found.ids,
        labels=labels[found.kept],
        class_names=names,
        name=table.path.name,
        inputs=None,
        paths=[on_disk(base / texts[row]) for row in found.kept],
        cells=cells,
        example=found.example,
        bad=bad,
        repeated=found.repeated,
    )


def _texts(
    table: Table, text: str, name: str, labels: np.ndarray, names: tuple[str, ...], cells
) -> Rows:
    bad: dict[str, str] = {}
    values = table.columns[text]
    has_ids = name in table.columns
    ids = [written(i) for i in table.columns[name]] if has_ids else numbered(len(values))
    good = np.ones(len(ids), bool)
    texts = []
    for row, value in enumerate(values):
        why = "" if ids[row] else f"there is no {name}"
        try:
            texts.append(text_of_cell(value))
        except ValueError as error:
            texts.append("")
            why = str(error)
        if why:
            good[row], bad[table.at(row)] = False, why
    # What two people wrote alike are two examples, unless their ids say that they are one.
    found = distinct(ids, list(zip(ids, texts, strict=True)), labels, good)
    inputs = np.empty(len(found.kept), object)
    inputs[:] = [texts[row] for row in found.kept]
    return Rows(
        kind="texts",
        ids=found.ids,
        labels=labels[found.kept],
        class_names=names,
        name=table.path.name,
        inputs=inputs,
        paths=(),
        cells=cells,
        example=found.example,
        bad=bad,
        repeated=found.repeated,
    )
