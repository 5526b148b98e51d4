"""Measurements for Weights & Biases, for those who look at runs there; off unless asked for.

What is logged is what `metrics.jsonl` holds. It is no value of the config, since it changes nothing of
the experiment: an experiment goes on with it or without. Account, server and offline mode are W&B's own
settings (`wandb login`, `WANDB_MODE=offline`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Log = Callable[[Mapping[str, Any]], None]


def check_wandb(project: str) -> None:
    """Raises `ValueError`, before any work is done, if there is no package to log with."""
    if project:
        _wandb()


@contextlib.contextmanager
def wandb_writer(
    project: str, name: str, seed: int, folder: Path, config: Mapping[str, Any]
) -> Iterator[Log]:
    """One run of W&B for one method and seed; the same one again where the experiment goes on.

    Args:
      project: of W&B; "" for none: then nothing is done.
      name: of the method with its estimator; it groups the seeds.
      seed: of the run.
      folder: of the run in the work directory; W&B keeps its files in the folder `wandb` there.
      config: a nested dict of plain values.

    Yields:
      `log(record)`: the numbers of an evaluation; `record["step"]` says when.

    Raises:
      ValueError: if W&B is not installed: what to install.
    """
    if not project:
        yield lambda record: None
        return
    folder.mkdir(parents=True, exist_ok=True)
    run = _wandb().init(
        project=project,
        name=f"{name} seed {seed}",
        group=name,
        dir=str(folder),
        config=dict(config),
        id=hashlib.blake2b(str(folder.absolute()).encode(), digest_size=8).hexdigest(),
        resume="allow",
        settings={"silent": True, "console": "off"},
    )
    try:
        yield lambda record: run.log(_numbers(record), step=record["step"], commit=True)
    finally:
        run.finish()


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers alone.

    >>> _numbers({"step": 5, "loss": 0.5, "weight_clean": None, "warnings": ["no"]})
    {'loss': 0.5}
    """
    return {k: v for k, v in record.items() if k != "step" and isinstance(v, int | float)}


def _wandb() -> Any:
    try:
        import wandb  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(
            "--wandb needs the package wandb: pip install 'famus_jax[wandb]', or leave --wandb out "
            f"({error})"
        ) from error
    return wandb
