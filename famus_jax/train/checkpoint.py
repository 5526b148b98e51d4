"""Checkpoints of a run; the only file that imports orbax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


class Checkpoints:
    """The newest checkpoint of one run, in one folder. Complete or absent, never half-written."""

    def __init__(self, folder: Path):
        import orbax.checkpoint as ocp

        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = _manager_class(ocp)(folder.absolute(), options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *unused: object) -> None:
        self._manager.close()

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: PyTree, record: dict[str, Any]) -> None:
        """Saves arrays (`state`, typed PRNG keys included) and a JSON-able `record`."""
        args = self._ocp.args
        composite = args.Composite(
            state=args.StandardSave(jax.tree.map(_key_data, state)), record=args.JsonSave(record)
        )
        self._manager.save(step, args=composite)

    def restore(self, like: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """The newest checkpoint, with the structure, dtypes and key types of `like`.

        Raises:
          ValueError: if there is none, or it holds another network or method.
        """
        step = self.latest_step()
        if step is None:
            raise ValueError(f"no checkpoint in {self._manager.directory}")
        args = self._ocp.args
        plain = jax.tree.map(_key_data, like)
        try:
            restored = self._manager.restore(
                step,
                args=args.Composite(state=args.StandardRestore(plain), record=args.JsonRestore()),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"the checkpoint in {self._manager.directory} was made with another network, "
                f"optimizer or method: use another --workdir or delete it. ({error})"
            ) from error
        placed = jax.tree.map(_placed, plain, restored["state"])
        return jax.tree.map(_like_key, like, placed), restored["record"]


def _manager_class(ocp: Any) -> Any:
    """orbax's manager, but for one thing: whether all processes are to stop is asked at every step, by
    a count of its own (`parallel.processes.all_end_here`) that orbax's asking would disturb."""

    class Manager(ocp.CheckpointManager):
        def reached_preemption(self, step: int) -> bool:
            del step
            return False

    return Manager


def _placed(like: Any, x: Any) -> Any:
    """Over a mesh where `like` is; of numpy where `like` is, since JAX would round it to 32 bits; else
    by JAX's default rule again: an array tied to a device would compile a second program."""
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
