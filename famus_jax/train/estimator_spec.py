"""From a config's values to estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from famus_jax.core import estimators as core
from famus_jax.core.estimator import Estimator
from famus_jax.gates import learned_gates
from famus_jax.one_of import one_of


def _named_layers(names: Sequence[str] | str, **how: Any) -> Estimator:
    """A config has no positional arguments: `{"kind": "named_layers", "names": (...)}`."""
    return core.named_layers(*((names,) if isinstance(names, str) else names), **how)


KINDS = {
    "all_layers": core.all_layers,
    "second_order": core.second_order,
    "last_layers": core.last_layers,
    "named_layers": _named_layers,
    "random_layers": core.random_layers,
    "random_depth": core.random_depth,
    "learned_gates": learned_gates,
}


def build_estimator(spec: Mapping[str, Any]) -> Estimator:
    """An estimator from `{"kind": ..., **arguments}`, the arguments of the function named like it.

    Raises:
      ValueError: for an unknown kind or argument.

    Example:
      >>> build_estimator({"kind": "last_layers", "k": 1, "virtual_step": "active"}).label
      'last_layers_1_active_step'
    """
    kind = spec.get("kind")
    one_of(kind, KINDS, "estimator.kind")
    arguments: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k != "kind"
    }
    if spec.get("virtual_step") == "unrolled":
        raise ValueError(
            f"estimator {dict(spec)} looks ahead over a window of batches, but famus train draws one "
            "batch a step: use famus_jax.look_ahead in a loop of your own"
        )
    try:
        return KINDS[str(kind)](**arguments)
    except TypeError as error:
        raise ValueError(f"estimator {kind!r} can't take {arguments}: {error}") from error
