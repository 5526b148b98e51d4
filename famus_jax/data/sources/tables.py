"""Tables in files (`.csv`, `.tsv`, `.jsonl`, `.parquet`), as columns whose rows can be named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from famus_jax.data.sources.text_tables import (
    cells_of_csv,
    cells_of_tsv,
    columns_of,
    objects_of_jsonl,
)
from famus_jax.one_of import nearest

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
# A spreadsheet takes a cell that begins so for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_OTHER_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}


class Table(NamedTuple):
    """Some columns of a table.

    Attributes:
      path: the file.
      columns: name -> N cells, text in a `.csv` and a `.tsv`.
      lines: of a text file, the line that each row ends on (the header's is 1); None of others.
      present: the names of all columns that the file has.
    """

    path: Path
    columns: dict[str, list[Any]]
    lines: list[int] | None
    present: list[str]

    def at(self, row: int) -> str:
        """A row's place for a message: its line where it has one, else its number from 0."""
        return f"{self.path}, " + (f"line {self.lines[row]}" if self.lines else f"row {row}")


def quote_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that begins like it is quoted.

    >>> quote_formula("=1+1"), quote_formula("cat/1.png")
    ("'=1+1", 'cat/1.png')
    """
    return f"'{text}" if _may_run(text) else text


def unquote_formula(text: str) -> str:
    """What `quote_formula` was given."""
    return text[1:] if text.startswith("'") and _may_run(text) else text


def _may_run(text: str) -> bool:
    """Whether it begins like a formula, quoted or not: what is quoted already is quoted once more."""
    return text.lstrip("'").lstrip(" ").startswith(_FORMULA)


def read_text(path: Path) -> str:
    """A text file in UTF-8, with a byte order mark or without.

    Raises:
      ValueError: another encoding; names the file, the byte and the way out.
    """
    content = path.read_bytes()
    fix = (
        "save it as UTF-8 (in a spreadsheet: 'CSV UTF-8'), or convert it: "
        "iconv -f {} -t UTF-8 OLD > NEW"
    )
    for mark, name in _OTHER_BOMS.items():
        if content.startswith(mark):
            raise ValueError(f"{path} is {name}, not UTF-8: {fix.format(name)}")
    if b"\0" in content:
        at = content.index(b"\0")
        raise ValueError(f"{path}: byte 0x00 at position {at} is not text: {fix.format('UTF-16')}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, line = content[error.start], content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}: byte 0x{byte:02x} at position {error.start} (line {line}) is not UTF-8: "
            + fix.format("WINDOWS-1252")
        ) from None


def read_columns(path: Path, wanted: Iterable[str], optional: Iterable[str] = ()) -> Table:
    """Columns of a `.csv`, `.tsv`, `.jsonl` or `.parquet` file.

    Args:
      path: the file. Text is UTF-8; a `.csv` has commas, a `.tsv` tabs, and both have a header line; a
        `.jsonl` has an object per line, and None in the place of a key that an object lacks.
      wanted: names of columns, at least one.
      optional: of such as may be missing.

    Raises:
      FileNotFoundError: no such file.
      ModuleNotFoundError: Parquet without pyarrow; says what to install.
      ValueError: a missing column (the present ones are listed), no rows, another suffix or
        encoding, a row of another length than the header.
    """
    wanted, optional = list(wanted), list(optional)
    table = _read(path, [*wanted, *optional])
    for name in wanted:
        if name not in table.present:
            raise ValueError(f"{path} has no column {name!r}; {_what_it_has(table.present, name)}")
    kept = [name for name in [*wanted, *optional] if name in table.present]
    columns = {name: table.columns[name] for name in kept}
    if not columns[wanted[0]]:
        raise ValueError(f"{path} has no rows")
    return table._replace(columns=columns)


def column_names(path: Path) -> list[str]:
    """The names of a table's columns; raises as `read_columns` does."""
    return _read(path, []).present


def _read(path: Path, named: list[str]) -> Table:
    """A table with all of its columns, of a `.parquet` with those that are named."""
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path.absolute()}")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _read_cells(path)
    if suffix == ".jsonl":
        objects, lines = objects_of_jsonl(read_text(path), path)
        columns = columns_of(objects)
        return Table(path, columns, lines, list(columns))
    if suffix == ".parquet":
        return _read_parquet(path, named)
    raise ValueError(f"{path.name!r}: tables are {', '.join(SUFFIXES)}")


def _what_it_has(present: list[str], name: str) -> str:
    if len(present) == 1:
        for separator, words in ((";", "semicolons"), ("\t", "tabs")):
            if separator in present[0]:
                return f"its columns are separated by {words}: save it with commas"
    return f"it has {present}{nearest(name, present)}"


def _read_cells(path: Path) -> Table:
    read = cells_of_tsv if path.suffix.lower() == ".tsv" else cells_of_csv
    present, rows, lines = read(read_text(path), path)
    columns = {
        name: [unquote_formula(cells[i]) for cells in rows] for i, name in enumerate(present)
    }
    return Table(path, columns, lines, present)


def import_parquet() -> Any:
    """`pyarrow.parquet`.

    Raises:
      ModuleNotFoundError: there is no pyarrow, or one that a file can make run code.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading Parquet needs pyarrow: pip install pyarrow (or save the table as .csv)"
        ) from error
    if int(pyarrow.__version__.partition(".")[0]) < 15:
        raise ModuleNotFoundError(
            f"pyarrow {pyarrow.__version__} can be made to run code by a Parquet file "
            "(CVE-2023-47248): pip install 'pyarrow>=15'"
        )
    return pyarrow.parquet


def _read_parquet(path: Path, wanted: list[str]) -> Table:
    parquet = import_parquet()
    import pyarrow

    try:
        present = list(parquet.read_schema(path).names)
        kept = [name for name in wanted if name in present]
        columns = parquet.read_table(path, columns=kept).to_pydict()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} can't be read as Parquet: {error}") from error
    return Table(path, columns, None, present)
