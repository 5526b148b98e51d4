"""What a person decided about labels: `decisions.csv`, as the page saves it.

Columns `id`, `label` (the given one, empty if there is none), `decision` ("right", "wrong" or
"relabel"; empty while undecided) and `new_label` (of a "relabel", else empty). "wrong" says that the
label is wrong, and not which one is right.

An id or a name may hold what no CSV in UTF-8 can: the byte 0, or a byte of a file name that is not
UTF-8. The file has those escaped (`written`), and reading compares with ids and names escaped alike.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from famus_jax.data.sources.tables import Table, quote_formula, read_columns
from famus_jax.files import write_atomically
from famus_jax.one_of import nearest

COLUMNS = ("id", "label", "decision", "new_label")
RIGHT, WRONG, RELABEL = "right", "wrong", "relabel"
WORDS = (RIGHT, WRONG, RELABEL)

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


class Decision(NamedTuple):
    """What a person says of one label.

    Attributes:
      id: of the example.
      label: the name of its given label, "" if it has none.
      decision: "right", "wrong" or "relabel".
      new_label: of a "relabel" the name of the right class, else "".
    """

    id: str
    label: str
    decision: str
    new_label: str = ""


def written(text: str) -> str:
    r"""A text as files and pages have it: the character 0 and lone surrogates are escaped.

    >>> written("cat/1.png"), written("a\0b"), written("a\udc80")
    ('cat/1.png', 'a\\x00b', 'a\\udc80')
    """
    return _UNWRITABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def written_once(texts: Iterable[str], what: str) -> dict[str, int]:
    """Texts as they are written -> their positions.

    Raises:
      ValueError: two are written alike; names both.
    """
    texts = list(texts)
    positions = {written(text): at for at, text in enumerate(texts)}
    if len(positions) < len(texts):
        for at, text in enumerate(texts):
            other = positions[written(text)]
            if other != at:
                raise ValueError(
                    f"two {what} are written alike in a file of decisions: {text!r} and "
                    f"{texts[other]!r}; rename one"
                )
    return positions


def read_decisions(
    path: str | Path,
    ids: Sequence[str] | np.ndarray,
    class_names: Sequence[str],
    labels: Sequence[int] | np.ndarray | None = None,
) -> dict[str, Decision]:
    """The decisions of a file, each checked against the data that they are about.

    Args:
      path: a table with the columns `id`, `label`, `decision` and `new_label`.
      ids: N, unique.
      class_names: C names.
      labels: today's label of each id, in [0, C), or -1 for none; None: not compared.

    Returns:
      id -> its decision, in the file's order, ids and names as they were given here. What is undecided
      is left out.

    Raises:
      FileNotFoundError: no such file.
      ValueError: an id or a class that there is not, an unknown word, an id decided twice and not
        alike, a label that is no longer the given one, a decision that its other cells contradict.
        Names the line and the fix.
    """
    path = Path(path)
    table = read_columns(path, COLUMNS)
    ids = [str(name) for name in ids]
    of_id, of_class = written_once(ids, "ids"), written_once(class_names, "class names")
    if labels is not None and len(labels) != len(ids):
        raise ValueError(f"{len(labels)} labels for {len(ids)} ids; give one of each")
    found: dict[str, Decision] = {}
    rows: dict[str, int] = {}
    for row, cells in enumerate(zip(*(table.columns[name] for name in COLUMNS), strict=True)):
        name, label, word, new_label = ("" if cell is None else str(cell) for cell in cells)
        where = table.at(row)
        if name not in of_id:
            raise ValueError(
                f"{where}: the data has no id {name!r}{_nearest(name, of_id)} Remove the line, or name "
                "the data that was decided about"
            )
        given = _class(where, "label", label, of_class)
        new = _class(where, "new_label", new_label, of_class)
        at = of_id[name]
        if labels is not None and given != int(labels[at]):
            today = int(labels[at])
            said = f"the label {class_names[today]!r}" if today >= 0 else "no label"
            raise ValueError(
                f"{where}: {name!r} has {said} today, and had {label!r} when this was decided: the "
                "data changed since; remove the line and decide anew"
            )
        _check(where, word, given, new, label)
        if not word:
            continue
        before = class_names[given] if given >= 0 else ""
        decision = Decision(ids[at], before, word, class_names[new] if new >= 0 else "")
        earlier = found.setdefault(ids[at], decision)
        if earlier != decision:
            raise ValueError(
                f"{where}: {name!r} is decided twice: {_said(decision)!r} here, {_said(earlier)!r} at "
                f"{_place(table, rows[ids[at]])}; keep one of the two"
            )
        rows.setdefault(ids[at], row)
    return found


def _nearest(name: str, known: Iterable[str]) -> str:
    """`nearest`, but among many only those that begin alike: it compares with each, and slowly."""
    known = list(known)
    if len(known) > 2000:
        known = [other for other in known if other[:3] == name[:3]][:2000]
    return nearest(name, known)


def _class(where: str, column: str, name: str, of_class: dict[str, int]) -> int:
    """A class by its written name, -1 for an empty cell."""
    if name and name not in of_class:
        raise ValueError(
            f"{where}: there is no class {name!r} ({column}){_nearest(name, of_class)} The data has "
            f"{len(of_class)} classes; correct the name"
        )
    return of_class[name] if name else -1


def _check(where: str, word: str, given: int, new: int, label: str) -> None:
    """Raises `ValueError` unless the cells of one line go together."""
    if word and word not in WORDS:
        raise ValueError(
            f"{where}: {word!r} is no decision{nearest(word, WORDS)} Write right, wrong or relabel, or "
            "nothing while it is undecided"
        )
    if word == RELABEL and new < 0:
        raise ValueError(f"{where}: 'relabel' without a new_label; name the class, or write wrong")
    if word == RELABEL and new == given:
        raise ValueError(f"{where}: relabeled to the label that it has, {label!r}; write right")
    if word != RELABEL and new >= 0:
        what = f"{word!r}" if word else "an empty decision"
        raise ValueError(f"{where}: {what} with a new_label; write relabel, or empty the new_label")
    if word in (RIGHT, WRONG) and given < 0:
        raise ValueError(
            f"{where}: {word!r}, but there is no label; relabel it, or leave the decision empty"
        )


def _said(decision: Decision) -> str:
    return f"{decision.decision} {decision.new_label}".strip()


def _place(table: Table, row: int) -> str:
    return table.at(row).removeprefix(f"{table.path}, ")


def decisions_content(decisions: Iterable[Decision]) -> bytes:
    """`decisions.csv`, as the page saves it too: UTF-8, RFC 4180, formulas quoted.

    >>> decisions_content([Decision("=1", "cat", "relabel", "dog, big")])
    b'id,label,decision,new_label\\r\\n\\'=1,cat,relabel,"dog, big"\\r\\n'
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    rows.writerows([quote_formula(written(cell)) for cell in decision] for decision in decisions)
    return text.getvalue().encode()


def write_decisions(path: str | Path, decisions: Iterable[Decision]) -> None:
    """Writes `decisions_content`, whole or not at all."""
    write_atomically(Path(path), decisions_content(decisions))


def check_decision(
    name: str, label: str, word: str, new_label: str, of_class: dict[str, int]
) -> None:
    """Checks a decision that is in memory as `read_decisions` checks those of a file.

    Args:
      name: the id.
      label: the given one, "" for none.
      word: "right", "wrong", "relabel", or "".
      new_label: "" for none.
      of_class: written names -> positions (`written_once`).

    Raises:
      ValueError: see `read_decisions`; names the id.
    """
    where = f"the decision about {name!r}"
    given = _class(where, "label", written(label), of_class)
    new = _class(where, "new_label", written(new_label), of_class)
    _check(where, word, given, new, label)
