"""Our finished runs, from the files in results/, and what makes two experiments' settings the same."""

from __future__ import annotations

import dataclasses
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from famus_jax.files import read_json
from famus_jax.train.config import parse_config
from famus_jax.train.estimator_spec import build_estimator

SECTIONS = (
    "data",
    "model",
    "schedule",
    "meta",
    "transition",
    "label_correction",
    "long_tail",
    "pseudo_clean",
)
OWN_SECTIONS = {
    "mentormix": "mentormix",
    "mentornet": "mentormix",
    "mixup": "mixup",
    "co_teaching": "co_teaching",
    "elr_plus": "elr_plus",
    "m_correction": "m_correction",
}
"""Sections that count where a method of the experiment reads them; older files don't have them."""
NO_SETTING = {
    "model": ("dtype",),
    "data": ("data_dir", "path", "workers", "threads"),
    "schedule": ("eval_every", "checkpoint_every"),
}
"""What may differ: the number format (told in the notes), where data lies and how it is read, how often
it is evaluated and saved."""


BEFORE: dict[str, dict[str, Any]] = {
    "data": {"second_test": "", "second_split": "validation", "balanced": False},
    "schedule": {"ema": 0.0},
    "meta": {
        "start": "random",
        "monotone": False,
        "groups": 3,
        "loss": "same",
        "temperature": 0.2,
        "examples": "trusted",
        "per_class": 10,
        "decay": 0.9,
        "select_every": 0,
    },
}
"""What fields amounted to in files from before they were there."""


class Result(NamedTuple):
    """One row of one file: a finished run. Without a setting (an older form) it is in no table."""

    file: str
    row: dict[str, Any]
    estimator: dict[str, Any] | None
    setting: str | None
    provenance: dict[str, Any]


def read_results(folder: Path) -> list[Result]:
    """Every run in the folder's summaries; files of other kinds (benchmarks) are left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        summary = read_json(path)
        if not {"rows", "config", "provenance"} <= summary.keys():
            continue
        config, setting, estimators = summary["config"], None, {}
        if _in_todays_words(config):
            setting, runs = setting_of(config), config["runs"]
            estimators = {(r["method"], _label(r["estimator"])): r["estimator"] for r in runs}
        for row in summary["rows"]:
            if "acc_best" not in row:
                continue
            estimator = estimators.get((row["method"], row["estimator"]))
            found.append(Result(path.name, row, estimator, setting, summary["provenance"]))
    return found


def _in_todays_words(config: dict[str, Any]) -> bool:
    """Older files lack sections, or call estimators and fields by other names: they are in no table."""
    return set(SECTIONS) <= config.keys() and "normalize" in config["meta"]


def settings_of(configs: Path) -> Callable[[str], str]:
    """`"table1.py:cifar10_mwnet_60" -> setting`, of the config files in a folder."""
    files: dict[str, Any] = {}

    def setting(name: str) -> str:
        file, variant = name.split(":")
        if file not in files:
            files[file] = runpy.run_path(str(configs / file))["get_config"]
        parsed = parse_config(files[file](variant).to_dict())
        return setting_of(dataclasses.asdict(parsed))

    return setting


def setting_of(config: dict[str, Any]) -> str:
    """All of an experiment's config that makes its setting, as text to compare."""
    methods = {run["method"] for run in config.get("runs", ())}
    own = [section for method, section in OWN_SECTIONS.items() if method in methods]
    kept = {
        name: {
            k: v
            for k, v in {**BEFORE.get(name, {}), **config[name]}.items()
            if k not in NO_SETTING.get(name, ())
        }
        for name in (*SECTIONS, *own)
    }
    return json.dumps(kept, sort_keys=True)


def _label(estimator: dict[str, Any]) -> str:
    return build_estimator(estimator).label if estimator else "none"
