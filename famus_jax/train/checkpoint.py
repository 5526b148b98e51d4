"""Checkpoints of a run; the only file that imports orbax.

A checkpoint is a folder of orbax's and, written last, a seal: the checksum of every file in the
folder, what the run is made from, and every array's shape and dtype. Without a seal it is not
complete; with one that does not fit it is damaged, and the one before it counts.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.parallel.processes import is_writer, text_of_first
from famus_jax.sealed import Damaged, file_checksum, read_sealed, write_sealed
from famus_jax.train.fingerprint import MadeFrom, refuse_others

PyTree = Any
SEAL = "seal.json"
KEPT = 2


class Checkpoints:
    """The newest two checkpoints of one run, in one folder. Whole or absent, never half-written.

    Args:
      folder: theirs. Opening it removes what an interrupted writer has left there, and what is
        damaged.
      made_from: what the run is made from, see `fingerprint`; a checkpoint of anything else is
        refused.

    Raises:
      ValueError: if every checkpoint there is damaged, or one is of another config or other data.
    """

    def __init__(self, folder: Path, made_from: MadeFrom | None = None):
        import orbax.checkpoint as ocp

        self._ocp, self._folder, self._made_from = ocp, folder.absolute(), dict(made_from or {})
        refused = _settle(self._folder) if is_writer() else ""
        if refused := text_of_first(refused):  # the others wait here until the folder is settled
            raise ValueError(refused)
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        self._manager = _manager_class(ocp)(self._folder, options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *unused: object) -> None:
        self._manager.close()

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: PyTree, record: dict[str, Any]) -> None:
        """Saves arrays (`state`, typed PRNG keys included) and a JSON-able `record`."""
        args = self._ocp.args
        composite = args.Composite(
            state=args.StandardSave(jax.tree.map(_key_data, state)), record=args.JsonSave(record)
        )
        self._manager.save(step, args=composite)
        if is_writer():
            _seal(self._folder / str(step), state, self._made_from)

    def restore(self, like: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """The newest checkpoint, with the structure, dtypes and key types of `like`.

        An array of numpy's stays one, in its own precision.

        Raises:
          ValueError: if there is none, or it holds another network or method, or other data.
        """
        step = self.latest_step()
        if step is None:
            raise ValueError(f"no checkpoint in {self._folder}")
        self._refuse_unlike(read_sealed(self._folder / str(step) / SEAL), like)
        args = self._ocp.args
        plain = jax.tree.map(_key_data, like)
        restored = self._manager.restore(
            step,
            args=args.Composite(state=args.StandardRestore(plain), record=args.JsonRestore()),
        )
        placed = jax.tree.map(_placed, plain, restored["state"])
        return jax.tree.map(_like_key, like, placed), restored["record"]

    def _refuse_unlike(self, seal: Mapping[str, Any], like: PyTree) -> None:
        refuse_others(seal["made_from"], self._made_from, self._folder)
        saved, wanted = seal["arrays"], _described(like)
        for name in {**wanted, **saved}:
            if saved.get(name) != wanted.get(name):
                raise ValueError(
                    f"{self._folder} was made with another network, optimizer or method (array "
                    f"{name} is {saved.get(name, 'absent')} there, {wanted.get(name, 'absent')} here): "
                    "give this one another --workdir, or delete that folder"
                )


def contents(step: Path) -> tuple[PyTree, dict[str, Any]]:
    """Arrays and record of the checkpoint in a folder, whatever was trained on whatever; for
    tools."""
    import orbax.checkpoint as ocp

    with (
        ocp.StandardCheckpointer() as arrays,
        ocp.Checkpointer(ocp.JsonCheckpointHandler()) as json,
    ):
        return arrays.restore(step.absolute() / "state"), json.restore(step.absolute() / "record")


def seals_in(folder: Path) -> list[Path]:
    """The seals of all checkpoints of all runs below a folder."""
    return sorted(folder.rglob(SEAL))


def _settle(folder: Path) -> str:
    """Leaves whole checkpoints only, and returns "", or why none can be used.

    The newest whole one counts. What is newer goes, since it would be in the way of its step's next
    save: without a seal it is of an interrupted writer, else it is damaged, and a warning says so.
    """
    if not folder.exists():
        return ""
    found = [path for path in folder.iterdir() if path.is_dir()]
    steps = sorted((path for path in found if path.name.isdecimal()), key=lambda p: -int(p.name))
    unsealed = [path for path in steps if not (path / SEAL).exists()]
    unfinished = [path for path in found if ".orbax-checkpoint-tmp" in path.name]
    damaged: list[tuple[Path, str]] = []
    for step in (path for path in steps if path not in unsealed):
        why = _damage(step)
        if not why:
            break
        damaged.append((step, why))
    else:
        if damaged:
            return (
                f"{damaged[0][1]}, and there is no whole checkpoint before it: delete {folder}, and "
                "this run begins anew"
            )
    for path in unsealed + unfinished:
        shutil.rmtree(path)
    for path, why in damaged:
        warnings.warn(f"{why}; the checkpoint before it is used", stacklevel=4)
        shutil.rmtree(path)
    return ""


def _seal(step: Path, state: PyTree, made_from: dict[str, str]) -> None:
    files = sorted(path for path in step.rglob("*") if path.is_file())
    write_sealed(
        step / SEAL,
        {
            "made_from": made_from,
            "arrays": _described(state),
            "files": {path.relative_to(step).as_posix(): file_checksum(path) for path in files},
        },
    )


def _damage(step: Path) -> str:
    """What is wrong with a sealed checkpoint, naming the file; empty if nothing is."""
    try:
        files = read_sealed(step / SEAL)["files"]
        for name, checksum in files.items():
            if (found := file_checksum(step / name)) != checksum:
                return f"{step / name} is damaged: its checksum is {found}, not {checksum}"
    except Damaged as error:
        return str(error)
    except OSError as error:
        return f"{error.filename} can't be read ({error.strerror})"
    return ""


def _described(tree: PyTree) -> dict[str, str]:
    """Every array's dtype and shape, by its path."""
    found = {}
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        found[name] = f"{getattr(x, 'dtype', type(x).__name__)} {list(np.shape(x))}"
    return found


def _manager_class(ocp: Any) -> Any:
    """orbax's manager, but for one thing: whether all processes are to stop is asked at every step, by
    a count of its own (`parallel.processes.all_end_here`) that orbax's asking would disturb."""

    class Manager(ocp.CheckpointManager):
        def reached_preemption(self, step: int) -> bool:
            del step
            return False

    return Manager


def _placed(like: Any, x: Any) -> Any:
    """Over a mesh where `like` is; of numpy where `like` is, since JAX would round it to 32 bits;
    else by JAX's default rule again: an array tied to a device would compile a second program."""
    if isinstance(like, np.ndarray | np.generic):
        return np.asarray(x, like.dtype)
    spread = isinstance(getattr(like, "sharding", None), jax.sharding.NamedSharding)
    return x if spread else jax.device_put(np.asarray(x))


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _key_data(x: Any) -> Any:
    return jax.random.key_data(x) if _is_key(x) else x


def _like_key(like: Any, x: Any) -> Any:
    if not _is_key(like):
        return x
    return jax.random.wrap_key_data(x, impl=jax.random.key_impl(like))
