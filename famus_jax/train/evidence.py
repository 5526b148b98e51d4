"""Evidence on labels of a run: what its steps record, what its files hold, the mean over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from famus_jax.data.sources.numpy_files import read_arrays
from famus_jax.evidence import sums
from famus_jax.evidence.score import tells
from famus_jax.evidence.types import Evidence
from famus_jax.losses import logits_of
from famus_jax.train.methods import MethodSpec
from famus_jax.uses.record import Record

PyTree = Any
MOST_BYTES = 2**28
KINDS = ("aum", "probability", "probability_margin", "last_margin")
# What else a run tells of a label, by its name in `weights.npz`.
_LEARNED = {"weights": "weight", "clean_probability": "clean_probability"}


def recorder(num_examples: int, num_classes: int) -> Record | None:
    """What the steps of a run record; None if it would take more than `MOST_BYTES`."""
    if too_large(num_examples, num_classes):
        return None

    def update(recorded: sums.Sums, outputs: PyTree, batch: PyTree) -> sums.Sums:
        return sums.update(recorded, batch["index"], logits_of(outputs), batch["label"])

    return Record(lambda: sums.init(num_examples, num_classes), update)


def too_large(num_examples: int, num_classes: int) -> str:
    """Why no evidence is recorded, or ""."""
    size = 4 * num_examples * num_classes
    if size <= MOST_BYTES:
        return ""
    return (
        f"no label issues are listed: probabilities of {num_examples} examples and {num_classes} "
        f"classes would take {size / 2**20:.0f} MiB of the device's memory, and at most "
        f"{MOST_BYTES / 2**20:.0f} are taken for them"
    )


def tells_of_labels(method: MethodSpec) -> bool:
    """Whether the method trains on the labels as they were given: else its network is no witness. Nor
    are logits of mixtures (mixup), but where the losses of the whole training set are looked at now and
    then, to split it (two networks) or to fit a mixture (M-correction)."""
    return method.batches in ("noisy", "noisy+trusted", "noisy+m_correction", "mixed")


def arrays_of(recorded: Sequence[PyTree]) -> dict[str, np.ndarray]:
    """The evidence of a run's networks, each example's mean over them, as `weights.npz` has it.

    Returns:
      `KINDS`, float32 [N], and `probabilities`, float32 [N, C]; NaN for what was never seen. {} if
      nothing was recorded.
    """
    read = [sums.read(one) for one in recorded if isinstance(one, sums.Sums)]
    if not read:
        return {}
    told = [{**one.kinds, "probabilities": one.probabilities} for one in read]
    return {name: _mean([one[name] for one in told]).astype(np.float32) for name in told[0]}


def read_evidence(path: Path) -> Evidence | None:
    """The evidence in a run's `weights.npz`; None if there are no probabilities, or no kind of
    evidence tells one label from another.

    Raises:
      ValueError: a damaged file.
    """
    if not path.exists():
        return None
    found = read_arrays(path, [], [*_LEARNED, *KINDS, "probabilities"])
    kinds = {_LEARNED.get(name, name): found[name] for name in (*KINDS, *_LEARNED) if name in found}
    if "probabilities" not in found or not any(map(tells, kinds.values())):
        return None
    return Evidence(kinds, found["probabilities"], seen=True)


def mean_evidence(evidence: Sequence[Evidence]) -> tuple[Evidence, np.ndarray]:
    """The mean over seeds whose labels are the same, and int [N], how many seeds tell of each.

    Kinds that not every seed has are left out.
    """
    names: Mapping[str, Any] = {
        name: None for name in evidence[0].kinds if all(name in one.kinds for one in evidence)
    }
    kinds = {name: _mean([one.kinds[name] for one in evidence]) for name in names}
    known = np.stack([np.isfinite(one.probabilities).all(1) for one in evidence])
    return Evidence(kinds, _mean([one.probabilities for one in evidence]), seen=True), known.sum(0)


def _mean(values: Sequence[np.ndarray]) -> np.ndarray:
    """Of those that are finite; NaN where none is."""
    stacked = np.stack([np.asarray(jax.device_get(value), np.float64) for value in values])
    known = np.isfinite(stacked)
    with np.errstate(invalid="ignore"):
        return np.where(known, stacked, 0).sum(0) / known.sum(0)
