"""One estimator beside the exact meta gradient, at one point of a run and on one pair of batches.

Symbols: V = the weights that MW-Net gives the training batch (they sum to 1), s = ∂L_val/∂V,
g_θ = the gradient of the weighting net's θ, ḡ_θ = its mean over batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.agreement.gradients import (
    Agreement,
    agreement,
    normalized_gradient,
    rows,
    theta_gradient,
    weight_gradient,
)
from famus_jax.core.active_layers import Draw, Seen
from famus_jax.core.checks import examples_heard, leading_size
from famus_jax.core.cost import program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.core.estimators import all_layers
from famus_jax.core.problem import Inputs, Problem
from famus_jax.gates import LearnedGates

PyTree = Any
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Scene(NamedTuple):
    """Where a run stands, and the batches of one comparison; a pytree of arrays.

    Attributes:
      params, model_state, opt_state: the network and its optimizer.
      theta, active, draws: the meta-model; see `MetaState`.
      rng, batch, meta_batch, step_size: see `Inputs`.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    theta: PyTree
    active: PyTree
    draws: PyTree
    rng: jax.Array
    batch: PyTree
    meta_batch: PyTree
    step_size: jax.Array


class Compared(NamedTuple):
    """One comparison: weight space, and the θ-gradient as a vector, float32 [size of θ]."""

    agreement: Agreement
    theta: jax.Array


class Comparer:
    """Compiled comparisons on one network, one program per estimator, whatever the point.

    Attributes:
      weights: `scene -> V`, float [n].
      exact: `(scene, V) -> s`, float [n].
    """

    def __init__(self, problem: Problem, optimizer: optax.GradientTransformation):
        self._problem = problem
        self._optimizer = optax.with_extra_args_support(optimizer)
        self._compiled: dict[Estimator, Callable[..., Compared]] = {}

        def weights(scene: Scene) -> jax.Array:
            where = (scene.params, scene.model_state, scene.rng, scene.batch)
            outputs, _ = problem.forward(*where)
            return problem.method.loss(scene.theta, outputs, scene.batch)[1]

        def whole(scene: Scene, v: jax.Array) -> jax.Array:
            return weight_gradient(problem, all_layers(), self._inputs(scene), v)

        self.weights, self.exact = jax.jit(weights), jax.jit(whole)

    def compare(
        self, estimator: Estimator, scene: Scene, v: jax.Array, s: jax.Array, key: jax.Array
    ) -> Compared:
        """The estimator on one scene; `key` draws its layers, where it draws them."""
        if estimator not in self._compiled:
            self._compiled[estimator] = jax.jit(self._comparison(estimator))
        return self._compiled[estimator](scene, v, s, key)

    def _inputs(self, scene: Scene) -> Inputs:
        def optimizer_update(gradient: PyTree) -> PyTree:
            return self._optimizer.update(gradient, scene.opt_state, scene.params)[0]

        return Inputs(
            params=scene.params,
            model_state=scene.model_state,
            rng=scene.rng,
            batch=scene.batch,
            meta_batch=scene.meta_batch,
            step_size=scene.step_size,
            optimizer_update=optimizer_update,
        )

    def _comparison(self, estimator: Estimator):
        problem = self._problem

        def run(scene: Scene, v: jax.Array, s: jax.Array, key: jax.Array) -> Compared:
            inputs, n = self._inputs(scene), v.shape[0]
            m = leading_size(scene.meta_batch, "meta batch")
            draw = drawn(problem, estimator, scene, key, n, m)
            mine = weight_gradient(problem, estimator, inputs, v, draw)
            # On a part of the batch: its examples, whose weights stood in for all.
            kept = rows(n, examples_heard(estimator, n))
            mine = mine[kept] * (v[kept].sum() / v.sum())
            close = agreement(
                normalized_gradient(mine, v[kept]), normalized_gradient(s[kept], v[kept])
            )
            theta = theta_gradient(problem, estimator, inputs, scene.theta, draw)
            flat = [jnp.ravel(x).astype(jnp.float32) for x in jax.tree.leaves(theta)]
            return Compared(close, jnp.concatenate(flat))

        return run


def drawn(
    problem: Problem, estimator: Estimator, scene: Scene, key: jax.Array, n: int, m: int
) -> Draw | None:
    """A new draw of the layers as the run stands; None where they are fixed.

    That of learned gates is from the newest pooled gradient that waits in the run's state.
    """
    kind, layers = estimator.active, problem.layers
    if not kind.drawn:
        return None
    assert layers is not None
    update = jnp.ones((), jnp.int32)  # not one of those that explore
    seen = Seen(layers, program_costs(problem, estimator, n, m), scene.step_size)
    draw = kind.draw(scene.active, key, update, seen)
    if not isinstance(kind, LearnedGates):
        return draw
    _, uniforms = draw.carry
    inputs = scene.draws.carry[0][-1]
    mask = kind.mask(kind.sample(scene.active.eta, inputs, uniforms, seen).hard, layers)
    return Draw(mask, kind.program(mask, update, layers), (inputs, uniforms))


def summarized(samples: Iterable[Compared], exact_mean: np.ndarray | None) -> dict[str, Any]:
    """Means and standard deviations over batches (and draws) of one estimator's comparisons.

    Args:
      samples: one per batch and draw.
      exact_mean: ḡ_θ of the exact gradient on the same batches; None for the exact one itself.

    Returns:
      `cosine`, `sign_agreement`, `relative_error` with their `..._sd`; `theta_variance` is
      E‖g_θ − ḡ_θ‖² / ‖ḡ_θ‖² (unbiased over samples); `theta_bias` is ‖ḡ_θ − exact_mean‖ over
      ‖exact_mean‖, noise of the finite number of samples included.
    """
    samples = list(samples)
    result: dict[str, Any] = {}
    for name in Agreement._fields:
        values = np.array([getattr(x.agreement, name) for x in samples], np.float64)
        result[name] = float(values.mean())
        result[f"{name}_sd"] = float(values.std(ddof=1))
    theta = np.stack([np.asarray(x.theta, np.float64) for x in samples])
    mean = theta.mean(0)
    length = float((mean**2).sum())
    spread = float(((theta - mean) ** 2).sum() / (len(theta) - 1))
    result["theta_variance"] = spread / length if length else None
    reference = mean if exact_mean is None else exact_mean
    norm = float(np.linalg.norm(reference))
    result["theta_bias"] = float(np.linalg.norm(mean - reference)) / norm if norm else None
    return result


def draws_of(estimator: Estimator, draws: int) -> int:
    """How often an estimator is asked on one batch: once, unless it draws its layers."""
    return draws if estimator.active.drawn else 1


def weights_record(
    scenes: Sequence[Scene], weights: Sequence[jax.Array], wrong: np.ndarray
) -> dict[str, Any]:
    """Weights times n (1 = plain training) of examples with right and wrong labels: quantiles."""
    index = np.concatenate([np.asarray(scene.batch["index"]) for scene in scenes])
    values = np.concatenate([np.asarray(v, np.float64) * len(v) for v in weights])
    bad = wrong[index]
    record: dict[str, Any] = {"quantiles": list(_QUANTILES)}
    for name, kept in (("clean", values[~bad]), ("wrong", values[bad])):
        some = len(kept) > 0
        record[name] = np.quantile(kept, _QUANTILES).tolist() if some else None
        record[f"{name}_mean"] = float(kept.mean()) if some else None
    return record
