"""famus_jax: learn, while training, how much each example's label deserves to count.

Three ways to use it: `reweighter` (weights for your own loss), `meta_reweight` (an optax
transformation), `train_step` (the whole compiled step). `famus_jax.models`, `famus_jax.data` and
`famus_jax.train` are imported by name; this module needs jax and optax only.
"""

from famus_jax.adapters import linen_forward, linen_init, nnx_forward, stateless_forward
from famus_jax.core.defaults import default_estimator
from famus_jax.core.draws import RandomDepth, RandomGroups
from famus_jax.core.estimators import (
    AllGroups,
    Block,
    Chosen,
    Estimator,
    TopK,
    block,
    chosen,
    exact,
    learned_gates,
    random_depth,
    random_groups,
    second_order,
    top_k,
)
from famus_jax.core.forwards import compute_in, rematerialise
from famus_jax.core.gates import LearnedGates
from famus_jax.core.groups import LayerGroups, group_by
from famus_jax.core.linearize import Linearized, linearize
from famus_jax.core.losses import logits_of, mean_of, softmax_cross_entropy
from famus_jax.core.meta_gradient import (
    fused_meta_gradient,
    layerwise_meta_gradient,
    second_order_meta_gradient,
)
from famus_jax.core.meta_state import MetaInfo, MetaState, init_meta
from famus_jax.core.meta_update import MetaUpdate, meta_update
from famus_jax.core.objective import Objective
from famus_jax.core.problem import Point, Problem
from famus_jax.core.reweighter import Reweighter, reweighter
from famus_jax.core.tracing import layer_groups
from famus_jax.core.train_step import TrainState, TrainStep, train_step
from famus_jax.core.transform import MetaReweightState, meta_reweight
from famus_jax.core.variants import Variant, mean_cost
from famus_jax.objectives import (
    class_weighted,
    cross_entropy,
    deferred,
    effective_number_weights,
    focal,
    l2r,
    ldam,
    meta_label_correction,
    mixmatch,
    mlc,
    mwnet,
    mwnet_weight,
    scaled_cross_entropy,
    transition_step,
)
from famus_jax.version import __version__

__all__ = [
    "AllGroups",
    "Block",
    "Chosen",
    "Estimator",
    "LayerGroups",
    "LearnedGates",
    "Linearized",
    "MetaInfo",
    "MetaReweightState",
    "MetaState",
    "MetaUpdate",
    "Objective",
    "Point",
    "Problem",
    "RandomDepth",
    "RandomGroups",
    "Reweighter",
    "TopK",
    "TrainState",
    "TrainStep",
    "Variant",
    "__version__",
    "block",
    "chosen",
    "class_weighted",
    "compute_in",
    "cross_entropy",
    "default_estimator",
    "deferred",
    "effective_number_weights",
    "exact",
    "focal",
    "fused_meta_gradient",
    "group_by",
    "init_meta",
    "l2r",
    "layer_groups",
    "layerwise_meta_gradient",
    "ldam",
    "learned_gates",
    "linearize",
    "linen_forward",
    "linen_init",
    "logits_of",
    "mean_cost",
    "mean_of",
    "meta_label_correction",
    "meta_reweight",
    "meta_update",
    "mixmatch",
    "mlc",
    "mwnet",
    "mwnet_weight",
    "nnx_forward",
    "random_depth",
    "random_groups",
    "rematerialise",
    "reweighter",
    "scaled_cross_entropy",
    "second_order",
    "second_order_meta_gradient",
    "softmax_cross_entropy",
    "stateless_forward",
    "top_k",
    "train_step",
    "transition_step",
]
