"""The features that a prepared tfds set names, before tfds looks at them.

tfds imports the module of a feature that it does not know, so that a folder of data could run code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from famus_jax.data.sources.tables import read_text

# As tfds writes it, as its reader takes it too, and as older versions wrote it.
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")


def refuse_foreign_features(folder: Path) -> None:
    """Raises `ValueError` if a prepared set names a feature that is not one of tfds's own.

    Args:
      folder: of the set's version, with `features.json` and `dataset_info.json`.
    """
    for file in ("features.json", "dataset_info.json"):
        path = folder / file
        if not path.is_file():
            raise ValueError(f"{folder} has no {file}: prepare the set again")
        try:
            value = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not JSON ({error}): prepare the set again") from error
        for name in _named_classes(value):
            if not name.startswith("tensorflow_datasets."):
                raise ValueError(
                    f"{path} names the feature {name!r}, which is not tfds's own; to read it would "
                    "import, and so run, that module. Prepare the set again with features of tfds"
                )


def _named_classes(value: Any) -> Iterator[str]:
    """All names of Python classes in a description of features, also of those that nest as text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _CLASS_KEYS and isinstance(inner, str) and (key != "type" or "." in inner):
                yield inner
            yield from _named_classes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named_classes(inner)
    elif isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            inner = json.loads(value)
        except ValueError:
            return
        yield from _named_classes(inner)
