"""A table with some cells changed or rows dropped, and all else as it was: in text, to the byte."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from famus_jax.data.sources.classes import whole_number
from famus_jax.data.sources.tables import import_parquet, quote_formula, read_text
from famus_jax.data.sources.text_tables import cells_of_csv, lines_are_rows, objects_of_jsonl

_MARK = b"\xef\xbb\xbf"
Changes = Mapping[str, Mapping[int, str]]
"""Column -> row (from 0) -> the new cell, "" for none."""


def rewritten(path: Path, changes: Changes, dropped: Collection[int] = ()) -> bytes:
    """The content of a table with changes.

    Args:
      path: `.csv`, `.tsv`, `.jsonl` or `.parquet`; rows count as in `tables.read_columns`.
      changes: of columns that the table has.
      dropped: rows to leave out.

    Raises:
      ValueError: the table can't be read; a column can't hold a new cell.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path, changes, dropped)
    text = read_text(path)
    if suffix == ".jsonl":
        new = _json_lines(text, path, changes, dropped)
    elif suffix == ".tsv" and lines_are_rows(text):
        new = _tab_lines(text, changes, dropped)
    else:
        new = _quoted_cells(text, path, changes, dropped, "\t" if suffix == ".tsv" else ",")
    mark = _MARK if path.read_bytes().startswith(_MARK) else b""
    return mark + new.encode()


def _quoted_cells(
    text: str, path: Path, changes: Changes, dropped: Collection[int], separator: str
) -> str:
    header, rows, ends = cells_of_csv(text, path, separator)
    lines = list(io.StringIO(text, newline=""))  # as the reader counts them
    reader = csv.reader(lines, strict=True, delimiter=separator)
    next(reader, None)
    out, start = lines[: reader.line_num], reader.line_num
    for row, (cells, end) in enumerate(zip(rows, ends, strict=True)):
        raw, start = lines[start:end], end
        if row in dropped:
            continue
        new = list(cells)
        for column, of_rows in changes.items():
            if row in of_rows:
                new[header.index(column)] = quote_formula(of_rows[row])
        out += raw if new == cells else [_line(new, separator, raw[-1])]
    return "".join(out + lines[start:])


def _line(cells: list[str], separator: str, before: str) -> str:
    """A row as text that ends as the line it replaces."""
    ending = before[len(before.rstrip("\r\n")) :]
    text = io.StringIO(newline="")
    # Cells with a letter of the line's end are quoted: both must be among them.
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + ending


def _tab_lines(text: str, changes: Changes, dropped: Collection[int]) -> str:
    out, header, row = [], None, -1
    for line in text.split("\n"):
        end = "\r" if line.endswith("\r") else ""
        cells = line.removesuffix("\r").split("\t")
        if cells == [""]:
            out.append(line)
            continue
        if header is None:
            header = [name.strip('"').strip() for name in cells]
        elif row in dropped:
            row += 1
            continue
        else:
            for column, of_rows in changes.items():
                if row in of_rows:
                    cells[header.index(column)] = _tab_cell(of_rows[row])
        row += 1
        out.append("\t".join(cells) + end)
    return "\n".join(out)


def _tab_cell(text: str) -> str:
    if any(c in text for c in "\t\n\r"):
        raise ValueError(f"{text!r} holds a tab or a line break, which this .tsv can't; rename it")
    quoted = quote_formula(text)
    return '"' + quoted.replace('"', '""') + '"' if quoted.startswith('"') else quoted


def _json_lines(text: str, path: Path, changes: Changes, dropped: Collection[int]) -> str:
    objects, numbers = objects_of_jsonl(text, path)
    lines = text.split("\n")
    kinds = {c: {type(one.get(c)) for one in objects} - {type(None)} for c in changes}
    gone = set()
    for row, (one, number) in enumerate(zip(objects, numbers, strict=True)):
        if row in dropped:
            gone.add(number - 1)
            continue
        new = {
            column: _value(of_rows[row], kinds[column])
            for column, of_rows in changes.items()
            if row in of_rows
        }
        if new:
            old = lines[number - 1]
            end = "\r" if old.endswith("\r") else ""
            lines[number - 1] = json.dumps({**one, **new}, ensure_ascii=old.isascii()) + end
    return "\n".join(line for i, line in enumerate(lines) if i not in gone)


def _value(text: str, kinds: set[type]) -> Any:
    """A cell of the type that the others of its column have."""
    if not text:
        return None
    if kinds == {bool} and text in ("True", "False"):
        return text == "True"
    number = whole_number(text)
    if number is not None and kinds and kinds <= {int, float}:
        return number if int in kinds else float(number)
    return text


def _parquet(path: Path, changes: Changes, dropped: Collection[int]) -> bytes:
    parquet = import_parquet()
    import pyarrow

    table = parquet.read_table(path)
    for column, of_rows in changes.items():
        at = table.schema.get_field_index(column)
        field = table.schema.field(at)
        values = table.column(at).to_pylist()
        kinds = {type(value) for value in values} - {type(None)}
        for row, text in of_rows.items():
            values[row] = _value(text, kinds)
        try:
            array = pyarrow.array(values, _plain_type(field.type))
            array = array.cast(field.type) if array.type != field.type else array
        except (pyarrow.ArrowException, TypeError) as error:
            raise ValueError(
                f"{path}: column {column!r} holds {field.type} and can't hold the new cells ({error}); "
                "save it as text"
            ) from None
        field = field.with_nullable(field.nullable or array.null_count > 0)
        table = table.set_column(at, field, array)
    if dropped:
        table = table.take([row for row in range(table.num_rows) if row not in dropped])
    content = io.BytesIO()
    parquet.write_table(table, content)
    return content.getvalue()


def _plain_type(kind: Any) -> Any:
    import pyarrow

    return kind.value_type if pyarrow.types.is_dictionary(kind) else kind
