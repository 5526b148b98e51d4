"""The rows of the parity table: methods, estimators, networks, ways to compile, devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import optax

from experiments.parity.network import EXAMPLES, SIZES
from famus_jax import (
    Estimator,
    Method,
    all_layers,
    last_layers,
    learned_gates,
    methods,
    random_depth,
    random_layers,
    second_order,
)

WAYS = ("jit", "shard_map", "pmap")
NETWORKS = ("mlp", "batchnorm")
N, M = 32, 16

METHODS: dict[str, Callable[[], Method]] = {
    "mwnet sum": lambda: methods.mwnet(
        hidden=7, start="random", monotone=False, meta_optimizer=optax.sgd(0.5, momentum=0.9)
    ),
    "mwnet n": lambda: methods.mwnet(
        hidden=7,
        start="random",
        monotone=False,
        normalize="n",
        meta_optimizer=optax.sgd(0.5, momentum=0.9),
    ),
    "l2r": methods.l2r,
    "mlc": lambda: methods.mlc(SIZES[-1]),
    "meta label correction": lambda: methods.meta_label_correction(
        SIZES[-1], SIZES[-2], hidden=5, embedding=3, meta_optimizer=optax.sgd(0.5)
    ),
    "mixmatch": lambda: methods.mixmatch(hidden=7, meta_optimizer=optax.sgd(0.5, momentum=0.9)),
    "cross_entropy": methods.cross_entropy,
    "elr": lambda: methods.elr(EXAMPLES, SIZES[-1]),
    "sop": lambda: methods.sop(EXAMPLES, SIZES[-1], deviation=0.1),
}

ESTIMATORS: dict[str, Estimator] = {
    "all layers": all_layers(),
    "all layers, a vjp each": all_layers(route="vjp"),
    "all layers, 8 examples": all_layers(examples=8),
    "all layers, through the optimizer": all_layers(through_optimizer=True),
    "second order": second_order(),
    "last layer": last_layers(1),
    "last 2 layers, active step": last_layers(2, virtual_step="active"),
    "last layer, actual step": last_layers(1, virtual_step="actual"),
    "last layer, control variate": last_layers(1, control_variate_every=2),
    "random depth": random_depth(0.5),
    "random layers": random_layers(1),
    "learned gates": learned_gates("paper", target=2, lag=1, hidden=6, max_programs=2),
    "learned gates, budget": learned_gates(
        "budget", target=1.9, virtual_step="active", lag=2, hidden=6, max_programs=2
    ),
    "all layers, every 2": all_layers(update_every=2),
    "carried direction, 8 examples": all_layers(
        virtual_step="carried", examples=8, renew_every=2, decay=0.5
    ),
    "finite difference": all_layers(route="finite_difference"),
    "darts": all_layers(route="darts"),
}
RECORDED = {
    "exact": "all layers",
    "exact, vjp": "all layers, a vjp each",
    "exact, a quarter": "all layers, 8 examples",
    "exact, optimizer": "all layers, through the optimizer",
    "top 1, full": "last layer",
    "top 2, active only": "last 2 layers, active step",
    "top 1, one-pass": "last layer, actual step",
    "top 1, corrected": "last layer, control variate",
    "random groups": "random layers",
    "exact, every 2": "all layers, every 2",
}
"""Estimators in files that were recorded before they had these names. ("top 1, coasting" is there too;
there is no such estimator any more.)"""
SMALL = (
    "all layers",
    "all layers, a vjp each",
    "last 2 layers, active step",
    "learned gates, budget",
)
_SMALL_NETWORKS = (("mwnet sum", "batchnorm"), ("l2r", "mlp"))


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: what is run, and how."""

    method: str
    estimator: str
    network: str
    way: str
    devices: int
    micro_batches: int = 1


def cases(
    small: bool = False, devices: Sequence[int] = (1, 2, 4, 8), ways: Sequence[str] = WAYS
) -> Iterator[Case]:
    """Every row of the table, or a small part of it that touches each kind of thing once."""
    for method in METHODS:
        for estimator in SMALL if small else ESTIMATORS:
            for network in NETWORKS:
                if small and (method, network) not in _SMALL_NETWORKS:
                    continue
                if network == "mlp" and method not in ("mwnet sum", "l2r"):
                    continue
                if fits(method, estimator):
                    for way in ways:
                        for count in devices:
                            yield Case(method, estimator, network, way, count)


def fits(method: str, estimator: str) -> bool:
    """Whether the pair has a meaning; a method without θ has one step, whatever the estimator."""
    if method in ("cross_entropy", "elr", "sop"):
        return estimator == "all layers"
    if method == "l2r" and estimator.endswith(", 8 examples"):
        return False
    carried = ("last layer, actual step", "last layer, control variate")
    return method not in ("l2r", "mlc") or estimator not in carried
