"""Trains the networks of all folds, and gathers evidence while they train.

What a network says of examples that it leaves out comes from a forward pass after every epoch. What it
says of those that it trains on comes from the training step itself, at no cost; of small networks,
which train with dropout, from that forward pass too. All are means over the training: early on a
network is right about labels that it will learn by heart.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from famus_jax.audit.folds import Folds
from famus_jax.evidence import sums as evidence_sums
from famus_jax.evidence.sums import Sums

_ROWS = 1024  # of a forward pass without gradients


class Plan(NamedTuple):
    """How the networks are trained.

    Attributes:
      epochs: at most so many.
      batch_size: examples of a step.
      learning_rate: of Adam at its highest; it rises for a step in ten and falls as a cosine.
      weight_decay: decoupled.
      vmapped: whether all networks take a step in one program. A convolution with weights of its own
        for each network is slow on a CPU, so that these take turns.
      seconds: the time there is; fewer epochs are run if they would not fit, but three at least. None:
        no limit.
      skipped: share of the epochs, at the start, whose forward passes don't count. 1: there are none.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    vmapped: bool = True
    seconds: float | None = None
    skipped: float = 0.1


class Trained(NamedTuple):
    """What the K networks say of N examples.

    Attributes:
      sums: what each network said of the examples that it trained on, stacked: [K, N, ...].
      held_out: float32 [N, C], mean probabilities of networks that have not seen the example; 0 where
        there is none.
      variables: of the networks at the end, stacked.
      epochs: how many were run.
      seconds: what they took.
    """

    sums: Sums
    held_out: np.ndarray
    variables: Any
    epochs: int
    seconds: float


Inputs = Callable[[jax.Array, jax.Array, bool], jax.Array]


def train_folds(
    module: nn.Module,
    data: jax.Array,
    inputs: Inputs,
    folds: Folds,
    num_classes: int,
    plan: Plan,
    *,
    seed: int = 0,
    on_epoch: Callable[[int, int], None] | None = None,
) -> Trained:
    """Trains K networks side by side, epoch by epoch.

    Args:
      module: a Linen network, `module.apply(variables, x, train=bool)` gives logits [n, C].
      data: [N, ...], all examples on the device.
      inputs: `inputs(rows of data, key, train)` are the network's inputs (scaled, augmented).
      folds: see `make_folds`.
      num_classes: C.
      plan: see `Plan`.
      seed: of the first parameters, of the order of the batches and of the augmentation.
      on_epoch: called with the epochs that are done and those that there will be.

    Raises:
      ValueError: a network that sees no example.
      FloatingPointError: a network that has diverged.
    """
    start = time.monotonic()
    seed %= 2**31  # generators take no number below 0
    count, size = folds.seen.shape
    network = _Network(module, inputs, plan.weight_decay)
    states: Any = [network.init(jax.random.key(seed * 1000 + k), data[:2], size, num_classes)
                   for k in range(count)]  # fmt: skip
    labels, seen = jnp.asarray(folds.labels), jnp.asarray(folds.seen)
    said: Any = None
    own = int(folds.seen.sum(1).min())
    if not own:
        raise ValueError("a network sees no example: there are too few labels")
    batch = min(plan.batch_size, own)
    steps = max(1, own // batch)
    left_out = [np.flatnonzero(~folds.seen[k]) for k in range(count)]
    held_out, passes = np.zeros((size, num_classes)), np.zeros(size)
    if plan.vmapped:
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    epochs, epoch, first = plan.epochs, 0, 0.0
    while epoch < epochs:
        order = np.stack([_batches(folds.seen[k], seed, epoch, k, steps, batch)
                          for k in range(count)], 1)  # fmt: skip
        rates = np.asarray([
            _rate(plan.learning_rate, (epoch * steps + s) / (epochs * steps)) for s in range(steps)
        ], np.float32)  # fmt: skip
        key = jax.random.fold_in(jax.random.key(seed), epoch)
        if plan.vmapped:
            states = _epoch_of_all(network, states, data, labels, order, rates, key)
            if plan.skipped < 1:
                states, said = _look_at_all(network, states, data, labels, seen)
                said = np.asarray(said)
        else:
            for step in range(steps):
                for k in range(count):
                    states[k] = _step_of_one(
                        network, states[k], data, labels[k], order[step, k], rates[step],
                        jax.random.fold_in(jax.random.fold_in(key, step), k),
                    )  # fmt: skip
        epoch += 1
        if epoch > plan.skipped * epochs:
            for k, at in enumerate(left_out):
                if plan.vmapped:
                    held_out[at] += said[k, at]
                else:
                    held_out[at] += predict(module, states[k].variables, data, inputs, at)
                passes[at] += 1
        jax.block_until_ready(states)
        taken = time.monotonic() - start
        if epoch == 1:
            first = taken
        elif plan.seconds is not None:  # the first epoch holds the compilation
            each = max((taken - first) / (epoch - 1), 1e-9)
            epochs = min(epochs, max(epoch, 3, int(epoch + (plan.seconds - taken) / each)))
        if on_epoch is not None:
            on_epoch(epoch, epochs)
    if not plan.vmapped:
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    mean = held_out / np.maximum(passes, 1)[:, None]
    leaves = [*jax.tree.leaves(jax.tree.map(np.asarray, states.variables)), mean]
    if not all(np.isfinite(leaf).all() for leaf in leaves):
        raise FloatingPointError(
            "the networks diverged: an input is far beyond the others, or the learning rate "
            f"{plan.learning_rate:g} is too high"
        )
    sums = jax.tree.map(np.asarray, states.sums)
    took = time.monotonic() - start
    return Trained(sums, mean.astype(np.float32), states.variables, epochs, took)


class _State(NamedTuple):
    variables: Any
    optimizer: Any
    sums: Sums


class _Network(NamedTuple):
    """What a compiled step depends on; compared and hashed by its content."""

    module: nn.Module
    inputs: Inputs
    weight_decay: float

    def optimizer(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_adam(), optax.add_decayed_weights(self.weight_decay)
        )  # the rate is applied in the step, since the number of epochs is known late

    def init(self, key: jax.Array, some: jax.Array, size: int, num_classes: int) -> _State:
        variables = dict(self.module.init(key, self.inputs(some, key, False)))
        optimizer = self.optimizer().init(variables["params"])
        return _State(variables, optimizer, evidence_sums.init(size, num_classes))

    def step(self, state: _State, data, labels, at, rate, key) -> tuple[_State, jax.Array]:
        x, y = self.inputs(data[at], key, True), labels[at]
        rest = {name: v for name, v in state.variables.items() if name != "params"}

        def loss(params):
            logits, newer = self.module.apply(
                {"params": params, **rest}, x, train=True, mutable=list(rest),
                rngs={"dropout": jax.random.fold_in(key, 1)},
            )  # fmt: skip
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
            return losses.mean(), (logits, newer)

        params = state.variables["params"]
        gradient, (logits, newer) = jax.grad(loss, has_aux=True)(params)
        updates, optimizer = self.optimizer().update(gradient, state.optimizer, params)
        params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
        return _State({"params": params, **newer}, optimizer, state.sums), logits

    def look(self, state: _State, data, labels, seen) -> tuple[_State, jax.Array]:
        """Evidence on all that the network trains on, and probabilities of all examples [N, C]."""
        x = self.inputs(data, jax.random.key(0), False)
        logits: Any = self.module.apply(state.variables, x, train=False)
        at = jnp.where(seen, jnp.arange(len(data)), -1)
        return state._replace(sums=evidence_sums.update(state.sums, at, logits, labels)), (
            jax.nn.softmax(logits)
        )


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _step_of_one(network, state, data, labels, at, rate, key):
    state, logits = network.step(state, data, labels, at, rate, key)
    return state._replace(sums=evidence_sums.update(state.sums, at, logits, labels[at]))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _look_at_all(network, states, data, labels, seen):
    return jax.vmap(network.look, in_axes=(0, None, 0, 0))(states, data, labels, seen)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _epoch_of_all(network, states, data, labels, order, rates, key):
    """All steps of an epoch, of all networks. order [steps, K, n], rates [steps]."""

    def body(states, step):
        at, rate, number = step
        of_step = jax.random.fold_in(key, number)
        keys = jax.vmap(lambda k: jax.random.fold_in(of_step, k))(jnp.arange(len(at)))
        step_all = jax.vmap(network.step, in_axes=(0, None, 0, 0, None, 0))
        return step_all(states, data, labels, at, rate, keys)[0], None

    number = jnp.arange(len(rates))
    return jax.lax.scan(body, states, (order, rates, number))[0]


@functools.partial(jax.jit, static_argnums=(0, 3))
def _probabilities(module, variables, rows, inputs):
    logits = module.apply(variables, inputs(rows, jax.random.key(0), False), train=False)
    return jax.nn.softmax(logits)


def predict(
    module: nn.Module, variables: Any, data: Any, inputs: Inputs, at: np.ndarray
) -> np.ndarray:
    """Probabilities float32 [n, C] of the examples `at`, without gradients, in pieces of one size."""
    if not len(at):
        return np.zeros((0, 1), np.float32)
    size = min(_ROWS, len(at))
    found = []
    for start in range(0, len(at), size):
        some = at[start : start + size]
        padded = np.pad(some, (0, size - len(some)), mode="edge")
        rows = _probabilities(module, variables, data[padded], inputs)
        found.append(np.asarray(rows)[: len(some)])
    return np.concatenate(found)


def _batches(
    seen: np.ndarray, seed: int, epoch: int, network: int, steps: int, batch: int
) -> np.ndarray:
    """int32 [steps, n]: the network's examples in an order of its own; what is over waits."""
    generator = np.random.default_rng((seed, epoch, network))
    own = generator.permutation(np.flatnonzero(seen))
    return own[: steps * batch].reshape(steps, batch).astype(np.int32)


def _rate(highest: float, done: float) -> float:
    """Of a share `done` of the training: up for a tenth of it, then down as a cosine."""
    if done < 0.1:
        return highest * (0.1 + done * 9)
    return highest * 0.5 * (1 + float(np.cos(np.pi * (done - 0.1) / 0.9)))
