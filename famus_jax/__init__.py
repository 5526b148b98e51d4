"""famus_jax: learn, while training, how much each example's label deserves to count.

Say once what is learned, `problem(forward, method)`; then take it one of three ways: `reweighter`
(weights for your own loss), `reweight` (an optax transformation) or `train_step` (the whole compiled
step). Methods are in `famus_jax.methods`, losses in `famus_jax.losses`. `famus_jax.models`,
`famus_jax.data` and `famus_jax.train` are imported by name; this module needs jax and optax only.

Which labels are wrong: `Classifier(...).fit(X, y).label_issues_`, or `label_issues` of evidence that
your own training gathers (`famus_jax.evidence`). These are loaded when they are first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from famus_jax import losses, methods
from famus_jax.core.active_layers import ActiveLayers
from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import (
    all_layers,
    default_estimator,
    last_layers,
    look_ahead,
    named_layers,
    random_depth,
    random_layers,
    second_order,
)
from famus_jax.core.meta_gradient import fused_meta_gradient, layerwise_meta_gradient
from famus_jax.core.method import Method, mean_of
from famus_jax.core.problem import Inputs, Problem, problem
from famus_jax.core.second_order import second_order_meta_gradient
from famus_jax.core.state import MetaState, StepInfo
from famus_jax.forward import (
    compute_in,
    linen_forward,
    linen_init,
    nnx_forward,
    rematerialize,
    stateless_forward,
)
from famus_jax.gates import learned_gates
from famus_jax.layers.find import find_layers
from famus_jax.layers.partition import Layers, layers_by
from famus_jax.methods import l2r, mwnet
from famus_jax.uses.reweighter import reweighter
from famus_jax.uses.seeds import seeds_together
from famus_jax.uses.train_state import TrainState
from famus_jax.uses.train_step import train_step
from famus_jax.uses.transformation import reweight
from famus_jax.version import __version__

if TYPE_CHECKING:
    from famus_jax import evidence as evidence
    from famus_jax.classifier import Classifier
    from famus_jax.evidence.label_issues import label_issues

__all__ = [
    "ActiveLayers",
    "Classifier",
    "Estimator",
    "Inputs",
    "Layers",
    "MetaState",
    "Method",
    "Problem",
    "StepInfo",
    "TrainState",
    "__version__",
    "all_layers",
    "compute_in",
    "default_estimator",
    "find_layers",
    "fused_meta_gradient",
    "l2r",
    "label_issues",
    "last_layers",
    "layers_by",
    "layerwise_meta_gradient",
    "learned_gates",
    "linen_forward",
    "linen_init",
    "look_ahead",
    "losses",
    "mean_of",
    "methods",
    "mwnet",
    "named_layers",
    "nnx_forward",
    "problem",
    "random_depth",
    "random_layers",
    "rematerialize",
    "reweight",
    "reweighter",
    "second_order",
    "second_order_meta_gradient",
    "seeds_together",
    "stateless_forward",
    "train_step",
]

_LATER = {"Classifier": "famus_jax.classifier", "label_issues": "famus_jax.evidence.label_issues"}


def __getattr__(name: str) -> Any:
    """What needs more than jax and optax, at its first use."""
    if name == "evidence":
        return importlib.import_module("famus_jax.evidence")
    if name not in _LATER:
        raise AttributeError(f"module 'famus_jax' has no attribute {name!r}")
    found = getattr(importlib.import_module(_LATER[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "evidence"})
