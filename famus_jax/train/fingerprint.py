"""What an experiment is made from, in hashes: whether a work directory goes with today's config and
data.

Kept with every result and every checkpoint, so that none is ever taken for one of other data.
Images in memory are hashed as they are trained on. Streamed ones are hashed as the files hold them,
where that is quick; of larger sets the sizes and times of change stand for the content.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from famus_jax.data.types import Examples
from famus_jax.sealed import files_checksum
from famus_jax.train.data_setup import SeedData, Sources
from famus_jax.train.lazy_images import LazyImages

# Hashed in seconds; reading a set that must be streamed could take hours.
READ_AT_MOST = 2**30
_BY_TIME = "by size and time "
_CONFIG = "config."

MadeFrom = Mapping[str, str]


def of_config(sections: Mapping[str, Any]) -> dict[str, str]:
    """A hash of each section of a config, by the section's name after `"config."`."""
    return {
        _CONFIG + name: _hash(json.dumps(value, sort_keys=True).encode())
        for name, value in sections.items()
    }


def of_data(
    sources: Sources, seeded: Mapping[int, SeedData], pretrained: Any = None
) -> dict[str, str]:
    """What each part of the data is: a number of examples, or a hash.

    Args:
      sources: of every seed.
      seeded: each seed's labels and splits.
      pretrained: a tree of weights that networks start from, or None.
    """
    parts = {"the class names": _texts(sources.train.class_names)}
    sets = {"training": sources.train, "test": sources.test, "second test": sources.second_test}
    for name, examples in sets.items():
        if examples is None:
            continue
        parts[f"the number of {name} examples"] = str(len(examples.labels))
        parts[f"the {name} labels"] = _arrays([examples.labels])
        parts[f"the {name} images"] = _images(examples)
        parts[f"the ids of the {name} examples"] = _texts(examples.ids)
    parts["the noisy labels"] = _arrays([data.noisy for data in seeded.values()])
    parts["the splits"] = _arrays([where for data in seeded.values() for where in data.splits])
    if pretrained is not None:
        parts["the pretrained weights"] = _arrays(jax.tree.leaves(pretrained))
    return parts


def shared(parts: MadeFrom) -> str:
    """What processes with copies of the files of their own must agree on."""
    return json.dumps({k: v for k, v in parts.items() if not v.startswith(_BY_TIME)})


def refuse_others(kept: Any, now: MadeFrom, where: Path) -> None:
    """Raises `ValueError` unless what is kept in `where` was made from the same config and data.

    Looks at what `now` has, the config's sections alone or the data too. The message says what
    differs, and what to do.
    """
    kept = kept if isinstance(kept, Mapping) else {}
    names = [name for name in now if kept.get(name) != now[name]]
    if not names:
        return
    settings = [name.removeprefix(_CONFIG) for name in names if name.startswith(_CONFIG)]
    if settings:
        why = f"holds another experiment (it differs in {', '.join(settings)})"
    else:
        told = ", ".join(_told(name, kept, now) for name in names[:3])
        told += ", ..." if len(names) > 3 else ""
        why = f"was made from other data (these differ: {told})"
    raise ValueError(f"{where} {why}: give this one another --workdir, or delete that folder")


def _told(name: str, kept: MadeFrom, now: MadeFrom) -> str:
    before, after = kept.get(name, ""), now[name]
    if before.isdecimal() and after.isdecimal():
        return f"{name} ({before} then, {after} now)"
    if after.startswith(_BY_TIME) and before.startswith(_BY_TIME):
        return f"{name} (their files' sizes or times of change)"
    return name


def _images(examples: Examples) -> str:
    if isinstance(examples.images, LazyImages):
        return _files(examples.images.files())
    return _arrays([np.asarray(examples.images)])


def _files(paths: Sequence[Path]) -> str:
    facts = [os.stat(path) for path in paths]
    if sum(fact.st_size for fact in facts) <= READ_AT_MOST:
        return files_checksum(paths)
    return _BY_TIME + _arrays([np.array([(fact.st_size, fact.st_mtime_ns) for fact in facts])])


def _texts(values: Sequence[str] | np.ndarray) -> str:
    return _hash(json.dumps([str(value) for value in values]).encode())


def _arrays(arrays: Sequence[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in map(np.ascontiguousarray, arrays):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
