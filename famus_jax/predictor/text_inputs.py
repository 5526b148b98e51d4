"""Texts to predict, as they are given on a command line: tables with a column "text", and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from famus_jax.data.sources.classes import is_missing, spelled, written
from famus_jax.data.sources.tables import SUFFIXES as TABLES
from famus_jax.data.sources.tables import read_columns
from famus_jax.data.sources.texts import text_of_cell

COLUMN, ID = "text", "id"
LINES = ".txt"


def texts_of(path: Path) -> tuple[list[str], np.ndarray]:
    """Ids and texts (dtype object) of a table, or of a `.txt` with a text on every line.

    The ids are the table's column "id", if it has one, else `row_0000000` and so on.

    Raises:
      ValueError: a file of another kind, no column "text", a row without an id, a cell that is no text.
    """
    suffix = path.suffix.lower()
    if path.is_dir() or suffix not in (*TABLES, LINES):
        raise ValueError(
            f"{path}: the network takes texts: give a table with a column {COLUMN!r} "
            f"({', '.join(TABLES)}), or a {LINES} with a text on every line"
        )
    if suffix == LINES:
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no text in UTF-8 ({error}): save it as such") from error
        if not lines:
            raise ValueError(f"{path} holds no line")
        return _numbered(len(lines)), _objects(lines)
    table = read_columns(path, [COLUMN], [ID])
    texts = [_text(value, table.at(row)) for row, value in enumerate(table.columns[COLUMN])]
    if ID not in table.columns:
        return _numbered(len(texts)), _objects(texts)
    ids = []
    for row, value in enumerate(table.columns[ID]):
        if is_missing(written(value)):
            raise ValueError(f"{table.at(row)}: there is no id; fill it in or leave the row out")
        ids.append(spelled(value if isinstance(value, str) else written(value)))
    return ids, _objects(texts)


def _text(value: Any, where: str) -> str:
    try:
        return text_of_cell(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _numbered(count: int) -> list[str]:
    return [f"row_{row:07d}" for row in range(count)]


def _objects(texts: list[str]) -> np.ndarray:
    found = np.empty(len(texts), object)
    found[:] = texts
    return found
