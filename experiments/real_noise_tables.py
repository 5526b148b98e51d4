"""Folders of texts with labels that rules gave, for `configs/real_noise.py`.

    python -m experiments.real_noise_tables --texts=DIR --out=runs/real_noise

DIR holds the sets as tables: `trec_train.tsv` and `trec_test.tsv` (questions by topic, labels by
majority of 68 keyword rules), `hausa_topics_train.tsv` and `hausa_topics_test.tsv` (news titles, labels
by a gazetteer), with the columns "text", "label" (what the rules say, in the training table) and
"true_label" (what a person says). What becomes of them is `OUT/trec/train.tsv` and `test.tsv`, and so
on, with both labels in all. Where no rule speaks a question has no label: it is left out of the
training table, and counted.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from famus_jax.data.sources.tables import read_columns
from famus_jax.files import write_atomically

SETS = ("trec", "hausa_topics")
HEADER = ("id", "text", "label", "true_label")


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="real_noise_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--texts", type=Path, required=True, help="the folder with the sets' tables"
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    args = parser.parse_args(list(argv))
    for name in SETS:
        (args.out / name).mkdir(parents=True, exist_ok=True)
        for split in ("train", "test"):
            kept, left_out = rows_of(args.texts / f"{name}_{split}.tsv", split)
            target = args.out / name / f"{split}.tsv"
            write_atomically(target, as_tsv(kept).encode())
            wrong = sum(row[2] != row[3] for row in kept)
            print(
                f"{target}: {len(kept)} texts, {wrong} with a wrong label, {left_out} without a label "
                "left out"
            )
    return 0


def rows_of(path: Path, split: str) -> tuple[list[tuple[str, str, str, str]], int]:
    """Id, text, label and true label of every row that has a label, and how many have none.

    Where a table has only right labels, both are those. A test row needs no label by rules.
    """
    table = read_columns(path, ["text"], ["id", "label", "true_label"])
    columns = table.columns
    texts = columns["text"]
    ids = columns.get("id", [f"{split}_{row:05d}" for row in range(len(texts))])
    right = columns.get("true_label", columns.get("label", []))
    said = columns.get("label", right)
    if split == "test":
        said = right
    rows = list(zip(ids, texts, said, right, strict=True))
    kept = [row for row in rows if row[2]]
    return kept, len(rows) - len(kept)


def as_tsv(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """A table with a header."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
    writer.writerows([HEADER, *rows])
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
