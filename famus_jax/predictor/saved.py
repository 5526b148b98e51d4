"""The folder of a predictor: `predictor.json`, sealed by a checksum, and `arrays.npz` beside it.

The arrays are read without unpickling, and nothing that the file names is run: a network is one of
`famus_jax.models`, or the caller brings it. Equal predictors are equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.data.sources.numpy_files import read_arrays
from famus_jax.files import write_atomically
from famus_jax.forward import linen_init
from famus_jax.predictor.probabilities import module_of
from famus_jax.predictor.types import (
    Features,
    Images,
    Inputs,
    Member,
    Network,
    Predictor,
    PretrainedImages,
    Texts,
    network_shape,
)
from famus_jax.sealed import Damaged, file_checksum, read_sealed, write_sealed

FORMAT = 1
DESCRIPTION, ARRAYS = "predictor.json", "arrays.npz"
_FIX = "make it again, or take another copy"


def is_predictor(folder: Path) -> bool:
    """Whether the folder holds a predictor, whole or not.

    >>> is_predictor(Path("nowhere"))
    False
    """
    return (folder / DESCRIPTION).is_file()


def save_predictor(folder: str | Path, predictor: Predictor) -> list[Path]:
    """Writes a predictor's two files; a predictor that is there already is replaced.

    Args:
      folder: theirs; made if it isn't there.
      predictor: its arrays must fit its network.

    Returns:
      The files.

    Raises:
      ValueError: arrays that are not those of the network, or numbers that are not finite; no member,
        class names or pre-processing that make no sense. Nothing is written then.

    Example: see `load_predictor`.

    >>> from famus_jax.predictor import Features, Network
    >>> nobody = Predictor(Network("mlp"), ("cat", "dog"), Features(2), members=())
    >>> save_predictor("nowhere", nobody)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...
    """
    folder = Path(folder)
    _check(predictor)
    arrays = dict(_arrays(predictor.members))
    described = {name: _described(x) for name, x in arrays.items()}
    _refuse_unlike(described, _wanted(predictor), "the predictor's members")
    content = io.BytesIO()
    np.savez(content, **{name: _plain(name, x) for name, x in arrays.items()})  # type: ignore[arg-type]
    write_atomically(folder / ARRAYS, content.getvalue())
    network, takes = predictor.network, predictor.inputs
    description = {
        "format": FORMAT,
        "network": {
            "name": network.name,
            "overrides": dict(network.overrides),
            "dtype": network.dtype,
        },
        "module": "" if network.module is None else type(network.module).__name__,
        "class_names": list(predictor.class_names),
        "inputs": {"kind": _KINDS[type(takes)], **takes._asdict()},
        "scale": predictor.scale,
        "backbone": predictor.backbone,
        "members": len(predictor.members),
        "made_from": dict(predictor.made_from),
        "arrays": described,
        "files": {ARRAYS: file_checksum(folder / ARRAYS)},
    }
    write_sealed(folder / DESCRIPTION, description)
    return [folder / DESCRIPTION, folder / ARRAYS]


def load_predictor(folder: str | Path, *, module: Any = None) -> Predictor:
    """A predictor as it was saved, its arrays on the device.

    Args:
      folder: with `predictor.json` in it: `WORKDIR/runs/METHOD/seed_S/predictor` of `famus train`.
      module: the Linen module, for a predictor of a module of one's own.

    Raises:
      FileNotFoundError: there is no predictor.
      ValueError: it is damaged, of a later version's format, or of another network than this version
        or `module` builds.

    Example:
      >>> import tempfile
      >>> import jax, numpy as np
      >>> from famus_jax.forward import linen_init
      >>> from famus_jax.models import build_model
      >>> from famus_jax.predictor import Features, Network, Predictor, predict, save_predictor
      >>> member = linen_init(build_model("mlp", 2), jax.random.key(0), np.zeros((1, 3), np.float32))
      >>> made = Predictor(Network("mlp"), ("cat", "dog"), Features(3), (member,))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     _ = save_predictor(folder, made)
      ...     loaded = load_predictor(folder)
      >>> probabilities = predict(loaded, np.ones((5, 3), np.float32))
      >>> probabilities.shape, loaded.class_names
      ((5, 2), ('cat', 'dog'))
    """
    folder = Path(folder)
    if not is_predictor(folder):
        raise FileNotFoundError(f"there is no predictor in {folder}: it has no {DESCRIPTION}")
    try:
        said = read_sealed(folder / DESCRIPTION)
        if said.get("format") != FORMAT:
            raise ValueError(
                f"{folder / DESCRIPTION} has format {said.get('format')!r}, and this famus_jax reads "
                f"{FORMAT}: install the famus_jax that wrote it, or a later one"
            )
        for name, checksum in said["files"].items():
            if not (folder / name).is_file() or file_checksum(folder / name) != checksum:
                raise Damaged(f"{folder / name} is missing or damaged")
    except Damaged as damaged:
        raise Damaged(f"{damaged}; {_FIX}") from damaged
    predictor = Predictor(
        network=_network(said, module, folder),
        class_names=tuple(said["class_names"]),
        inputs=_inputs(said["inputs"]),
        members=(({}, {}),) * said["members"],
        made_from=said["made_from"],
        scale=said["scale"],
        backbone=said["backbone"],
    )
    wanted = _wanted(predictor)
    _refuse_unlike(said["arrays"], wanted, str(folder))
    arrays = read_arrays(folder / ARRAYS, list(wanted))
    placed = {
        name: jax.device_put(arrays[name].astype(jnp.dtype(what.split()[0])))
        for name, what in wanted.items()
    }
    like = _shapes(predictor)
    names = [name for name, _ in _named(like, "")]
    members = [
        jax.tree.unflatten(jax.tree.structure(like), [placed[f"{i}/{name}"] for name in names])
        for i in range(said["members"])
    ]
    return predictor._replace(members=tuple(members))


_KINDS = {
    Images: "images",
    Features: "features",
    PretrainedImages: "pretrained_images",
    Texts: "texts",
}


def _inputs(said: dict[str, Any]) -> Inputs:
    if said["kind"] == "features":
        return Features(said["dimension"])
    if said["kind"] == "texts":
        return Texts(said["buckets"])
    if said["kind"] == "pretrained_images":
        return PretrainedImages(
            tuple(said["size"]), said["channels"], said["pixels"], said["dimension"]
        )
    size, channels = tuple(said["size"]), said["channels"]
    return Images(size, channels, tuple(said["mean"]), tuple(said["std"]))


def _network(said: dict[str, Any], module: Any, folder: Path) -> Network:
    if said["module"] and module is None:
        raise ValueError(
            f"{folder} is of a module of one's own, {said['module']}: give it, "
            f"load_predictor(folder, module={said['module']}(...))"
        )
    if module is not None and not said["module"]:
        raise ValueError(
            f"{folder} is of the network {said['network']['name']!r}: leave module= out"
        )
    return Network(**said["network"], module=module)


def _check(predictor: Predictor) -> None:
    network, takes, names = predictor.network, predictor.inputs, predictor.class_names
    if not predictor.members:
        raise ValueError("a predictor needs the arrays of a network: members is empty")
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"class_names must be two names or more, each once; got {list(names)}")
    if bool(network.name) == (network.module is not None):
        raise ValueError("a network has a name, or is a module of one's own: give one of the two")
    if network.dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype = {network.dtype!r}; choose 'float32' or 'bfloat16'")
    if min((*takes.shape, *network_shape(takes))) < 1:
        raise ValueError(f"inputs of the shape {list(takes.shape)}: every number must be positive")
    if isinstance(takes, Images):
        for what in (takes.mean, takes.std):
            if len(what) not in (1, takes.channels):
                raise ValueError(f"mean and std need a number per channel, or one; got {what}")
        if min(takes.std) <= 0:
            raise ValueError(f"std = {takes.std} must be positive")
    if not predictor.scale > 0:
        raise ValueError(f"scale = {predictor.scale} must be positive")


def _shapes(predictor: Predictor) -> Member:
    """The shapes of the network's parameters and model state; computes nothing."""
    network, shape = predictor.network, network_shape(predictor.inputs)
    try:
        module = module_of(network, len(predictor.class_names))
        example = np.zeros((1, *shape), np.float32)
        return jax.eval_shape(lambda key: linen_init(module, key, example), jax.random.key(0))
    except Exception as error:  # of flax or jax, of any type
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        name = network.name or type(network.module).__name__
        raise ValueError(
            f"network {name!r} with overrides {dict(network.overrides)} can't be built for examples "
            f"{list(shape)}: {why}"
        ) from error


def _wanted(predictor: Predictor) -> dict[str, str]:
    """Every array's dtype and shape, by its name in the file."""
    like = _shapes(predictor)
    named = _arrays((like,) * len(predictor.members))
    return {name: _described(x) for name, x in named}


def _arrays(members: tuple[Member, ...]) -> Iterator[tuple[str, Any]]:
    for i, (params, state) in enumerate(members):
        yield from _named((params, state), f"{i}/")


def _named(member: Member, before: str) -> list[tuple[str, Any]]:
    """Arrays with their paths, "params/Dense_0/kernel"."""
    found = []
    for part, tree in zip(("params", "state"), member, strict=True):
        for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            found.append((f"{before}{part}/{name}", x))
    return found


def _described(x: Any) -> str:
    return f"{x.dtype} {list(x.shape)}"


def _plain(name: str, x: Any) -> np.ndarray:
    """As numpy keeps it without pickling; bfloat16 fits into float32."""
    array = np.asarray(x)
    if array.dtype == jnp.bfloat16:
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite: nothing can be predicted")
    return array


def _refuse_unlike(has: dict[str, str], wanted: dict[str, str], where: str) -> None:
    for name in {**wanted, **has}:
        if has.get(name) != wanted.get(name):
            raise ValueError(
                f"{where}: array {name} is {has.get(name, 'absent')}, and the network has "
                f"{wanted.get(name, 'none of that name')}: it is of another network, or of another "
                "version's"
            )
