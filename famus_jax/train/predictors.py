"""The predictor that a run keeps when it is finished, and where it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax

from famus_jax.data.sources.classes import names_of
from famus_jax.files import expanded
from famus_jax.one_of import nearest
from famus_jax.predictor import Features, Images, Network, Predictor, Texts, is_predictor
from famus_jax.predictor.types import Inputs
from famus_jax.sealed import Damaged, read_sealed
from famus_jax.train.evaluation import Member
from famus_jax.train.kept import PREDICTOR, RESULT
from famus_jax.train.methods import METHODS
from famus_jax.train.setting import Seeded, Setting


def predictor_of(setting: Setting, seeded: Seeded, members: Sequence[Member]) -> Predictor:
    """The predictor of a run whose networks `members` are, in any placement.

    Every process must call it where there are several.
    """
    model, classes = setting.config.model, setting.sources.train
    inputs: Inputs
    if classes.buckets:
        inputs = Texts(classes.buckets)
    elif seeded.data.normalize is None:
        inputs = Features(*setting.image_shape)
    else:
        height, width, channels = setting.image_shape
        mean, std = (tuple(map(float, part)) for part in seeded.data.normalize)
        inputs = Images((height, width), channels, mean, std)
    scaled = METHODS[seeded.run.method].scales_logits
    return Predictor(
        network=Network(model.name, model.overrides, model.dtype),
        class_names=names_of(classes.num_classes, classes.class_names),
        inputs=inputs,
        members=tuple(jax.device_get(setting.placement.everywhere(tuple(members)))),
        made_from=seeded.made_from,
        scale=setting.config.long_tail.scale if scaled else 1.0,
    )


def find_predictor(path: str | Path, method: str = "", seed: int | None = None) -> Path:
    """The folder of the predictor that a path means.

    Args:
      path: a predictor's folder, a run's, a method's with its seeds, or a work directory.
      method: which of several; the name of a folder in `runs`.
      seed: which of several.

    Raises:
      FileNotFoundError: there is none; says what to do.
      ValueError: several, with what there is to choose from.
    """
    place = expanded(path)
    if not place.is_dir():
        what = "is a file, not a folder" if place.exists() else "is not there"
        raise FileNotFoundError(
            f"{place} {what}: give the folder of a predictor, of a run, or --workdir of famus train"
        )
    if is_predictor(place):
        return place
    if (place / "runs").is_dir():
        place = _chosen(place / "runs", method, "method")
    if seeds := _folders(place, "seed_"):
        wanted = "" if seed is None else f"seed_{seed}"
        place = _one(place, wanted, seeds, "seed", "seed_")
    if is_predictor(place / PREDICTOR):
        return place / PREDICTOR
    raise FileNotFoundError(_why_none(place))


def _chosen(runs: Path, method: str, flag: str) -> Path:
    names = _folders(runs)
    if not method:  # those that were stopped early are not in the way
        names = [name for name in names if not _early_stop(name)] or names
    return _one(runs, method, names, flag)


def _one(above: Path, wanted: str, names: list[str], flag: str, prefix: str = "") -> Path:
    choices = ", ".join(f"--{flag}={name.removeprefix(prefix)}" for name in names)
    if wanted and wanted not in names:
        raise FileNotFoundError(
            f"{above} has no {wanted!r}{nearest(wanted, names)} There is: {choices or 'nothing'}"
        )
    if not wanted and len(names) != 1:
        raise ValueError(
            f"{above} has several: choose one, {choices}" if names else f"{above} is empty"
        )
    return above / (wanted or names[0])


def _folders(place: Path, prefix: str = "") -> list[str]:
    inside = (p.name for p in place.iterdir() if p.is_dir() and p.name.startswith(prefix))
    return sorted((n for n in inside if not n.startswith(".")), key=lambda n: (len(n), n))


def _early_stop(name: str) -> bool:
    return name in METHODS and METHODS[name].early_stop


def _why_none(run: Path) -> str:
    method = run.parent.name
    if _early_stop(method):
        parent = METHODS[method].needs
        return (
            f"{run}: {method!r} is {parent!r} looked at where its validation accuracy was best; it "
            f"keeps no parameters of its own: give {run.parent.parent / str(parent) / run.name}, whose "
            "parameters are those of the last step"
        )
    if (run / RESULT).is_file():
        try:
            read_sealed(run / RESULT)
        except Damaged as damaged:
            return f"{damaged}: the same famus train command makes it again, with a predictor"
        return (
            f"{run} is finished but has no predictor: it is of an earlier famus_jax. Delete "
            f"{run / RESULT}, and the same famus train command makes it again from the run's "
            "checkpoint, with a predictor"
        )
    if (run / "checkpoints").is_dir():
        return f"{run} is not finished: the same famus train command goes on with it"
    return (
        f"there is no predictor in {run}: give the folder of a predictor, of a run of famus train, or "
        "its --workdir"
    )
