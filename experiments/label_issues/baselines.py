"""Other ways to find wrong labels: held-out probabilities for cleanlab, one plain training, neighbors.

All take the network, the inputs, the schedule and the batch size that the audit has chosen. Compute is
counted in passes: a forward pass of one example is 1, forward and backward are 3.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from famus_jax.audit.folds import Folds
from famus_jax.audit.gather import NEIGHBORS
from famus_jax.audit.networks import Choice
from famus_jax.audit.run import NETWORKS
from famus_jax.audit.training import predict, train_folds
from famus_jax.evidence.margins import margin
from famus_jax.evidence.neighbors import nearest_neighbors, votes

FOLDS = 5
METHODS = ("self_confidence", "normalized_margin")


def audit_passes(choice: Choice, count: int) -> int:
    """Of the audit's networks in folds: each sees three quarters, and is asked after every epoch.

    Networks of features are asked about all examples, those of images about what they leave out.
    """
    epochs = choice.plan.epochs
    asked = NETWORKS if choice.plan.vmapped else 1
    looks = epochs if choice.plan.vmapped else sum(
        e > choice.plan.skipped * epochs for e in range(1, epochs + 1)
    )  # fmt: skip
    return 3 * (NETWORKS - 1) * epochs * count + asked * looks * count


def fold_passes(epochs: int, count: int) -> int:
    """Of cross-validation: each network sees all folds but one, and predicts that one in the end."""
    return 3 * (FOLDS - 1) * epochs * count + count


def epochs_for(passes: float, count: int) -> int:
    """Whole epochs of cross-validation that cost about so many passes."""
    return max(1, round((passes / count - 1) / (3 * (FOLDS - 1))))


def held_out(choice: Choice, data, labels: np.ndarray, classes: int, epochs: int, seed: int):
    """float32 [N, C]: probabilities of the last epoch, of the network that has not seen the example."""
    from sklearn.model_selection import StratifiedKFold

    seen = np.ones((FOLDS, len(labels)), bool)
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels)
    for k, (_, left_out) in enumerate(split):
        seen[k, left_out] = False
    given = np.tile(labels.astype(np.int32), (FOLDS, 1))
    # Only what comes after the last epoch counts.
    plan = choice.plan._replace(epochs=epochs, skipped=(epochs - 0.5) / epochs)
    folds = Folds(seen, given, np.zeros_like(seen))
    trained = train_folds(choice.module, data, choice.inputs, folds, classes, plan, seed=seed)
    return trained.held_out


def cleanlab_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> float [N], high where the label looks wrong: both scores, plain and adjusted.

    Raises:
      ModuleNotFoundError: no cleanlab.
    """
    try:
        from cleanlab.rank import get_label_quality_scores  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the comparison needs cleanlab: pip install cleanlab (missing: {error.name})"
        ) from error
    total = np.maximum(probabilities.sum(1, keepdims=True), 1e-12)
    return {
        method + ("_adjusted" if adjusted else ""): 1
        - get_label_quality_scores(
            labels, probabilities / total, method=method, adjust_pred_probs=adjusted
        )
        for method in METHODS
        for adjusted in (False, True)
    }


def neighbor_score(data: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """float [N]: the share of the ten nearest neighbors whose label is another."""
    vote = votes(nearest_neighbors(data, NEIGHBORS), labels, classes)
    return 1 - vote[np.arange(len(labels)), labels]


class Plain(NamedTuple):
    """One training on all labels.

    Attributes:
      variables: of the network in the end.
      loss: float [N], mean over the epochs, as the training steps saw it.
      aum: float [N], mean margin of the logits, likewise.
    """

    variables: Any
    loss: np.ndarray
    aum: np.ndarray


def train_plain(choice: Choice, data, labels: np.ndarray, seed: int) -> Plain:
    """Trains one network by the choice's plan; examples with the label -1 are left out."""
    plan, own = choice.plan, np.flatnonzero(labels >= 0)
    batch = min(plan.batch_size, len(own))
    steps = len(own) // batch
    rate = optax.warmup_cosine_decay_schedule(
        0.1 * plan.learning_rate, plan.learning_rate, max(1, plan.epochs * steps // 10),
        plan.epochs * steps,
    )  # fmt: skip
    optimizer = optax.adamw(rate, weight_decay=plan.weight_decay)
    key = jax.random.key(seed)
    variables = dict(choice.module.init(key, choice.inputs(data[:2], key, False)))
    state = (variables, optimizer.init(variables["params"]), jnp.zeros((3, len(labels))))
    step = jax.jit(functools.partial(_step, choice.module, choice.inputs, optimizer))
    on_device, number = jnp.asarray(labels), 0
    for epoch in range(plan.epochs):
        order = np.random.default_rng((seed, epoch)).permutation(own)
        for at in order[: steps * batch].reshape(steps, batch):
            state = step(state, data, on_device, at, jax.random.fold_in(key, number))
            number += 1
    visits, loss, aum = np.asarray(state[2])
    visits = np.maximum(visits, 1)
    return Plain(state[0], loss / visits, aum / visits)


def _step(module, inputs, optimizer, state, data, labels, at, key):
    variables, slots, sums = state
    x, y = inputs(data[at], key, True), labels[at]
    rest = {name: v for name, v in variables.items() if name != "params"}

    def objective(params):
        logits, newer = module.apply(
            {"params": params, **rest}, x, train=True, mutable=list(rest),
            rngs={"dropout": jax.random.fold_in(key, 1)},
        )  # fmt: skip
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean(), (logits, losses, newer)

    gradient, (logits, losses, newer) = jax.grad(objective, has_aux=True)(variables["params"])
    updates, slots = optimizer.update(gradient, slots, variables["params"])
    params = optax.apply_updates(variables["params"], updates)
    seen = jnp.stack([jnp.ones_like(losses), losses, margin(logits, y)])
    return {"params": params, **newer}, slots, sums.at[:, at].add(seen)


def accuracy(choice: Choice, variables: Any, rows: np.ndarray, truth: np.ndarray) -> float:
    """Share of the rows whose most probable class is the true one."""
    at = np.arange(len(rows))
    said = predict(choice.module, variables, jnp.asarray(rows), choice.inputs, at)
    return float((said.argmax(1) == truth).mean())
