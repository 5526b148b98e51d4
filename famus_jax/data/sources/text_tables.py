"""Tables in text, cell by cell: commas, tabs, or an object per line; every failure names the line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Cells = tuple[list[str], list[list[str]], list[int]]
"""The header, the rows, and the line that each row ends on (the header's is 1)."""


def cells_of_csv(text: str, path: Path, separator: str = ",") -> Cells:
    """The cells of a text with commas; empty lines are passed over.

    Raises:
      ValueError: a row of another length than the header, a quote that is never closed, two columns of
        one name.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    word = "comma" if separator == "," else "tab"
    rows, lines = [], []
    try:
        header = [name.strip() for name in next(reader, [])]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells, but the header has "
                    f"{len(header)}; put a cell that holds a {word} in double quotes"
                )
            rows.append(cells)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    _refuse_twice(header, path)
    return header, rows, lines


def cells_of_tsv(text: str, path: Path) -> Cells:
    r"""The cells of a text with tabs, whether its quotes are letters or put around cells.

    Where every line has as many cells as the header, a line is a row, and quotes are letters, unless
    they go around a whole cell as `csv` writes them. Else a quoted cell may hold tabs and line breaks.

    Raises:
      ValueError: see `cells_of_csv`.

    >>> cells_of_tsv('text\tlabel\n"Jaws", the film\tA\n"an ""odd"" name"\tB\n', Path("t.tsv"))[1]
    [['"Jaws", the film', 'A'], ['an "odd" name', 'B']]
    """
    if not lines_are_rows(text):
        return cells_of_csv(text, path, "\t")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    numbers = [i for i, line in enumerate(lines) if line]
    rows = [lines[i].split("\t") for i in numbers]
    header = [_unquoted(name).strip() for name in rows[0]]
    _refuse_twice(header, path)
    return (
        header,
        [[_unquoted(c) for c in cells] for cells in rows[1:]],
        [i + 1 for i in numbers[1:]],
    )


def lines_are_rows(text: str) -> bool:
    """Whether every line that is not empty has as many tabs as the first one."""
    tabs = [line.count("\t") for line in text.split("\n") if line.removesuffix("\r")]
    return bool(tabs) and all(count == tabs[0] for count in tabs)


def _unquoted(cell: str) -> str:
    inner = cell[1:-1].replace('""', "")
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner
    return cell[1:-1].replace('""', '"') if quoted else cell


def objects_of_jsonl(text: str, path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The objects of a text that has one on each line, and their lines; empty lines are passed over.

    Raises:
      ValueError: a line that is no JSON, or no object.
    """
    objects, lines = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from None
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise ValueError(
                f'{path}, line {number}: {kind}; expected an object, {{"text": …, "label": …}}'
            )
        objects.append(value)
        lines.append(number)
    return objects, lines


def columns_of(objects: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Objects as columns, in the order in which their keys first come.

    >>> columns_of([{"a": 1}, {"b": 2}])
    {'a': [1, None], 'b': [None, 2]}
    """
    names = dict.fromkeys(name for one in objects for name in one)
    return {name: [one.get(name) for one in objects] for name in names}


def _refuse_twice(header: list[str], path: Path) -> None:
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise ValueError(f"{path} has {header.count(twice[0])} columns {twice[0]!r}; rename one")
