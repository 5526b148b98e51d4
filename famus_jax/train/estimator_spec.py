"""From a config's values to estimators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from famus_jax.core import estimators
from famus_jax.core.estimators import Estimator
from famus_jax.one_of import one_of

KINDS = {
    "exact": estimators.exact,
    "second_order": estimators.second_order,
    "top_k": estimators.top_k,
    "chosen": estimators.chosen,
    "block": estimators.block,
    "random_groups": estimators.random_groups,
    "random_depth": estimators.random_depth,
    "learned_gates": estimators.learned_gates,
}


def build_estimator(spec: Mapping[str, Any]) -> Estimator:
    """An estimator from `{"kind": ..., **arguments}`, the arguments of the function named like it.

    Raises:
      ValueError: for an unknown kind or argument.
    """
    kind = spec.get("kind")
    one_of(kind, KINDS, "estimator.kind")
    arguments: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k != "kind"
    }
    try:
        return KINDS[str(kind)](**arguments)
    except TypeError as error:
        raise ValueError(f"estimator {kind!r} can't take {arguments}: {error}") from error
