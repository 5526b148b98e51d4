"""The table of all methods: from the work directories of `configs/methods.py` to one record and a page.

    python -m experiments.methods_table --choose runs/methods/*          prints CHOSEN for the config
    python -m experiments.methods_table runs/methods/* --json=results/methods.json
    python -m experiments.methods_table --json=results/methods.json --page=docs/methods_measured.md
    python -m experiments.methods_table --study=real_noise --json=results/real_noise.json ...

A folder is named by its variant: SETTING_GROUP, or SETTING_GROUP_low, _mid, _high for the tuning runs.
Folders of unfinished experiments are left out and named. What is in the record already is kept.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from famus_jax.files import read_json, write_atomically
from famus_jax.train.methods import METHODS

CONFIGS = Path(__file__).parent.parent / "configs"


class Study(NamedTuple):
    """What a config says of a study, and the start of its page.

    Attributes:
      config: the config's own names, `SETTINGS`, `VALUES`, `CHOSEN`, ...
      head: the page's beginning.
    """

    config: dict[str, Any]
    head: str

    @property
    def tuned(self) -> list[str]:
        """The settings with tuning runs of their own."""
        return [name for name in self.config["SETTINGS"] if name not in self.config["TUNED_ON"]]


def study_of(name: str) -> Study:
    """The study of `configs/NAME.py`: methods or real_noise."""
    return Study(runpy.run_path(str(CONFIGS / f"{name}.py")), HEADS[name])


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="methods_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", type=Path, help="finished work directories")
    parser.add_argument("--json", type=Path, help="the record, which is read and written")
    parser.add_argument("--page", type=Path, help="write the page of tables here")
    parser.add_argument(
        "--study", default="methods", choices=sorted(HEADS), help="a config (default: methods)"
    )
    parser.add_argument("--choose", action="store_true", help="print CHOSEN from tuning runs")
    args = parser.parse_args(list(argv))
    study = study_of(args.study)
    record = (
        read_json(args.json) if args.json and args.json.exists() else {"rows": [], "tuning": []}
    )
    for folder in args.folders:
        if not (folder / "summary.json").exists():
            print(f"not finished: {folder}", file=sys.stderr)
            continue
        setting, group, level = parts(folder.name, study)
        part = "tuning" if level else "rows"
        record[part] = merged(record[part], rows_of(folder, setting, group, level))
    if args.choose:
        print(json.dumps(chosen(record["tuning"], study), indent=4))
    if args.json and args.folders:
        write_atomically(args.json, json.dumps(record, indent=1).encode())
    if args.page:
        write_atomically(args.page, page(record, study).encode())
    elif not args.choose:
        print(page(record, study))
    return 0


def parts(name: str, study: Study) -> tuple[str, str, str]:
    """Setting, group and level ("" for none) of a variant's name.

    >>> parts("symmetric_60_one_low", study_of("methods"))
    ('symmetric_60', 'one', 'low')
    """
    level, settings = "", study.config["SETTINGS"]
    if name.endswith(study.config["LEVELS"]):
        name, level = name.rsplit("_", 1)
    setting, group = name.rsplit("_", 1)
    if setting not in settings:
        raise ValueError(
            f"{name}: a folder must be named SETTING_GROUP; settings: {list(settings)}"
        )
    return setting, group, level


def rows_of(folder: Path, setting: str, group: str, level: str) -> list[dict[str, Any]]:
    """What the table needs of a finished experiment."""
    summary = read_json(folder / "summary.json")
    made = summary["provenance"]
    rows = []
    for row in summary["rows"]:
        name = row["method"] + ("" if row["estimator"] == "none" else f"-{row['estimator']}")
        run = folder / "runs" / name.replace("/", ".") / f"seed_{row['seed']}"
        kept = {
            "setting": setting,
            "group": group,
            **({"level": level} if level else {}),
            **{key: row[key] for key in ("method", "estimator", "seed")},
            "last": row["acc_last"],
            "best": row["acc_best"],
            "selected": row["acc_selected"],
            "auroc": row.get("weight_auroc") or row.get("probability_auroc"),
            "cost": row["step_cost"],
            "seconds": row["seconds"],
            **{key: row.get(key) for key in ("noise_rate_realized", "noise_digest", "commit")},
            "jax": made["versions"]["jax"],
        }
        metrics = run / "metrics.jsonl"
        if level and metrics.exists():
            *_, last = metrics.read_text().splitlines()
            kept["validation_last"] = json.loads(last)["validation_accuracy"]
        rows.append(kept)
    return rows


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Old rows, replaced where a new one is of the same run, in a fixed order."""
    found = {_key(row): row for row in (*old, *new)}
    return [found[key] for key in sorted(found)]


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    names = ("setting", "group", "level", "method", "estimator", "seed")
    return tuple(str(row.get(name, "")) for name in names)


def chosen(tuning: list[dict[str, Any]], study: Study) -> dict[str, list[int]]:
    """Positions in `VALUES`, by setting: of the best accuracy on noisy labels at the last step.

    A value that several rows of its method read (estimators) is chosen by their mean. The middle one
    where nothing was run, and of equals.
    """
    return {
        setting: [_position(tuning, setting, key, study) for key in study.config["VALUES"]]
        for setting in study.tuned
    }


def _position(
    tuning: list[dict[str, Any]], setting: str, key: tuple[str, str], study: Study
) -> int:
    method, means = study.config["CHOOSES"][key], []
    for level in study.config["LEVELS"]:
        found = [
            row["validation_last"]
            for row in tuning
            if (row["setting"], row["method"], row["level"]) == (setting, method, level)
        ]
        means.append(statistics.mean(found) if found else 0.0)
    return max((1, 0, 2), key=lambda i: means[i])


def page(record: dict[str, Any], study: Study) -> str:
    """All tables, as Markdown."""
    rows, titles = record["rows"], study.config["TITLES"]
    settings = [name for name in titles if any(row["setting"] == name for row in rows)]
    trusted = study.config.get("TRUSTED", {})
    lines = [study.head, "## Last accuracy\n", *_overview(rows, settings, titles, trusted), ""]
    for setting in settings:
        here = [row for row in rows if row["setting"] == setting]
        wrong = 100 * here[0]["noise_rate_realized"]
        table = _whole(here, str(trusted.get(setting, 200)))
        lines += [f"## {titles[setting]} ({wrong:.1f} % wrong)\n", *table, ""]
    return "\n".join(lines)


def _overview(
    rows: list[dict[str, Any]],
    settings: list[str],
    titles: dict[str, str],
    trusted: dict[str, int],
) -> list[str]:
    """A line per row; where the settings differ in trusted labels, their titles say how many."""
    head = ["", "trusted labels", *(titles[name] for name in settings), "passes"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in _names(rows):
        of = [row for row in rows if _name(row) == name]
        cells = [
            _spread([r["last"] for r in of if r["setting"] == setting]) for setting in settings
        ]
        some = "some" if trusted else "200"
        lines.append(_line([_title(of[0]), _trusts(of[0], some), *cells, _cost(of)]))
    return lines


def _whole(rows: list[dict[str, Any]], trusted: str) -> list[str]:
    head = ["", "trusted labels", "last", "best", "selected", "AUROC", "passes", "seconds"]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in _names(rows):
        of = [row for row in rows if _name(row) == name]
        cells = [_spread([row[key] for row in of]) for key in ("last", "best", "selected")]
        known = [row["auroc"] for row in of if row["auroc"] is not None]
        seconds = f"{statistics.median(row['seconds'] for row in of):.0f}"
        lines.append(
            _line(
                [_title(of[0]), _trusts(of[0], trusted), *cells, _spread(known), _cost(of), seconds]
            )
        )
    return lines


def _names(rows: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    order = list(METHODS)
    return sorted({_name(row) for row in rows}, key=lambda name: (order.index(name[0]), name[1]))


def _name(row: dict[str, Any]) -> tuple[str, str]:
    return row["method"], row["estimator"]


def _title(row: dict[str, Any]) -> str:
    title, label = METHODS[row["method"]].title, row["estimator"]
    return title if label == "none" else f"{title}; {label.replace('_', ' ')}"


def _trusts(row: dict[str, Any], some: str) -> str:
    if row["method"] == "clean":
        return "all"
    return some if METHODS[row["method"]].trusts() else "none"


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{100 * values[0]:.1f}"
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"


def _cost(rows: list[dict[str, Any]]) -> str:
    return f"{statistics.mean(row['cost'] for row in rows):.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


HEADS = {
    "methods": """# Methods, measured

<!-- Generated by `python -m experiments.methods_table` from results/methods.json. Don't edit. -->

Every method on 12,500 images of CIFAR-10 as a pretrained network sees them, an MLP, 3,000 steps of 128:
long enough that plain training learns every wrong label by heart. 200 trusted labels for the rows that
use them. What the settings are, how each method was tuned and the commands:
[configs/methods.py](../configs/methods.py). Test accuracy in %, mean ± standard deviation over three
seeds, of the [record](../results/methods.json); "selected": at the best accuracy on held-out *noisy*
labels; AUROC: how well learned weights (of two networks, the mixture's probabilities) tell right labels
from wrong ones; passes: of a step over a plain one's. What it says: [Methods](methods.md#measured).
""",
    "real_noise": """# Labels that rules gave, measured

<!-- Generated by `python -m experiments.methods_table --study=real_noise`. Don't edit. -->

Texts whose labels keyword rules gave, which are wrong in the way that labels are wrong in life: by what
the text says. Hashed words, an MLP; what the sets and settings are, how each method was tuned and the
commands: [configs/real_noise.py](../configs/real_noise.py). Accuracy in % on people's labels, mean ±
standard deviation over three seeds, of the [record](../results/real_noise.json); "selected": at the
best accuracy on held-out *noisy* labels; AUROC: how well learned weights (of two networks, the
mixture's probabilities) tell right labels from wrong ones; passes: of a step over a plain one's. What
it says: [Real noise](real_noise.md).
""",
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
