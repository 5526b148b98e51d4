"""A folder of class folders of images, as rows of an audit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from famus_jax.audit.items import UNLABELED
from famus_jax.audit.labels import classes_among
from famus_jax.audit.listing import Rows
from famus_jax.data.sources.classes import written
from famus_jax.data.sources.file_lists import names_of_folders
from famus_jax.data.sources.folders import visible_folders
from famus_jax.data.sources.own_data import list_path, split_folders

# A folder of this name beside class folders holds images without a label.
NO_LABEL = ("unlabelled", "unlabeled")


def rows_of_folder(source: Path, class_names: Sequence[str] = ()) -> Rows:
    """The images of a folder; of one that is split in "train", "test", …, those of all splits together.

    A class is a folder, also an empty one. Images in a folder `unlabeled` or `unlabelled` beside class
    folders have no label, unless `class_names` has that name.

    Raises:
      FileNotFoundError, ValueError: see `own_data.list_path`; images, but no class folders.
    """
    splits = split_folders(source)
    tops = [source / split for split in splits] or [source]
    if splits:
        _say_what_is_no_split(source, splits)
    folders = [written(folder.name) for top in tops for folder in visible_folders(top)]
    without = {name for name in folders if name.casefold() in NO_LABEL} - set(class_names)
    # No class folders at all: told by `list_path`, which then must not be given any.
    names = tuple(class_names) or classes_among([f for f in folders if f not in without])
    if not class_names and names:
        names_of_folders(list(names), source)  # warns
    files = list_path(source, "all", (*names, *sorted(without)) if names else ())
    labels = np.where(files.labels < len(names), files.labels, UNLABELED).astype(np.int32)
    return Rows(
        kind="images",
        ids=files.ids,
        labels=labels,
        class_names=names,
        name=f"{source.name} ({', '.join(splits)})" if splits else files.name,
        inputs=None,
        paths=files.paths,
        cells=[names[label] if label >= 0 else "" for label in labels.tolist()],
        example=np.arange(len(files.ids), dtype=np.int64),
        bad={},
        repeated=(),
    )


def _say_what_is_no_split(source: Path, splits: list[str]) -> None:
    others = [folder.name for folder in visible_folders(source) if folder.name not in splits]
    if others:
        warnings.warn(
            f"{source} is split in {splits}: the other folders, {others}, are not read",
            stacklevel=4,
        )
