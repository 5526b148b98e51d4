"""Tables of texts with labels, as `Examples` of hashed words (`data.hashed_texts`)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from famus_jax.data import hashing
from famus_jax.data.hashed_texts import hashed_texts
from famus_jax.data.sources.classes import is_missing, number_classes, spelled, written
from famus_jax.data.sources.tables import SUFFIXES, Table, column_names, read_columns
from famus_jax.data.types import Examples
from famus_jax.files import expanded

PATH, TEXT, LABEL, ID = "path", "text", "label", "id"
BUCKETS = 2**11
"""Of words, and as many of parts of words: 4,096 numbers a text, which an MLP takes as they are."""
_MOST_BYTES = 8 * 2**30


class TextTable(NamedTuple):
    """Texts, not yet numbers.

    Attributes:
      texts: N strings.
      labels: int32 [N].
      ids: N unique strings.
      class_names: C names.
      name: of the file, for messages.
    """

    texts: list[str]
    labels: np.ndarray
    ids: np.ndarray
    class_names: tuple[str, ...]
    name: str


def is_text_table(path: str | os.PathLike) -> bool:
    """Whether a path is a table that has a column "text" and none of image paths, "path"."""
    source = expanded(path)
    if source.suffix.lower() not in SUFFIXES or not source.is_file():
        return False
    present = column_names(source)
    return TEXT in present and PATH not in present


def list_texts(
    path: str | os.PathLike, *, label_column: str = LABEL, class_names: Sequence[str] = ()
) -> TextTable:
    """A table with the columns "text", a label and, if it has one, "id".

    Args:
      path: a table, see `read_columns`.
      label_column: of the labels; class numbers or names.
      class_names: the classes there are, in their order; () takes them from the labels.

    Raises:
      FileNotFoundError, ModuleNotFoundError, ValueError: see `read_columns`, `number_classes`; a cell
        that is no text, a row without text or id, an id that occurs twice.
    """
    table = read_columns(expanded(path), [TEXT, label_column], [ID])
    labels, names = number_classes(
        table.columns[label_column], str(table.path), at=table.at, class_names=class_names
    )
    texts = [_present(value, table, row) for row, value in enumerate(table.columns[TEXT])]
    return TextTable(texts, labels, _ids(table, len(texts)), names, table.path.name)


def as_examples(table: TextTable, buckets: int = BUCKETS) -> Examples:
    """Hashed words as float32 "images" [N, 2 B], rows of length 1.

    Raises:
      ValueError: more than 8 GiB of numbers; says how many buckets would do.
      ModuleNotFoundError: no scikit-learn; says what to install.

    >>> texts = ["a red cat", "a blue car"]
    >>> table = TextTable(texts, np.array([0, 1]), np.array(["a", "b"]), ("cat", "car"), "t.csv")
    >>> as_examples(table, buckets=8).images.shape
    (2, 16)
    """
    n = len(table.texts)
    if 8 * n * buckets > _MOST_BYTES:
        raise ValueError(
            f"{table.name}: {n:,} texts of {2 * buckets:,} numbers take {8 * n * buckets / 2**30:.0f} "
            f"GiB: lower data.text_buckets to {_MOST_BYTES // (8 * n)} or less"
        )
    return Examples(
        images=hashed_texts(table.texts, buckets).toarray(),
        labels=table.labels,
        ids=table.ids,
        num_classes=len(table.class_names),
        name=table.name,
        class_names=table.class_names,
        buckets=buckets,
    )


def text_of_cell(value: Any) -> str:
    """A cell as text; no value is an empty one.

    Raises:
      ValueError: a list and the like.

    >>> text_of_cell(3.0), text_of_cell(None)
    ('3', '')
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | tuple | dict | set):
        raise ValueError(f"{type(value).__name__} {str(value)[:60]!r} is no text")
    return written(value)


def table_of_split(folder: Path, split: str) -> Path | None:
    """The table of a folder that is called like a split, `train.tsv`; None if there is none.

    Raises:
      ValueError: several.
    """
    found = [folder / f"{split}{suffix}" for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        names = [path.name for path in found]
        raise ValueError(f"{folder} has {names}, each of which could be {split!r}: leave one")
    return found[0] if found else None


def _present(value: Any, table: Table, row: int) -> str:
    try:
        text = text_of_cell(value)
    except ValueError as error:
        raise ValueError(f"{table.at(row)}: {error}") from None
    if not text.strip():
        raise ValueError(f"{table.at(row)}: there is no text; fill it in or leave the row out")
    return text


def _ids(table: Table, count: int) -> np.ndarray:
    if ID not in table.columns:
        return np.array([f"row_{row:07d}" for row in range(count)])
    ids = []
    for row, value in enumerate(table.columns[ID]):
        if is_missing(written(value)):
            raise ValueError(f"{table.at(row)}: there is no id; fill it in or leave the row out")
        ids.append(spelled(value if isinstance(value, str) else written(value)))
    return np.asarray(hashing.checked_ids(ids, count), dtype=np.str_)
