"""How well does bfloat16 keep the meta gradient?  python -m experiments.mixed_precision --json PATH

For networks at their initialization, by the exact meta gradient of one batch: ∂L_val/∂V ∈ Rⁿ, the
derivative with respect to the examples' weights (equal ones), in bfloat16 compute against float32, both
with float32 parameters (`compute_in`). Cosine after the mean is taken off (sum-normalized weights don't
feel it), and the share of examples on which the signs agree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.core.meta_gradient import fused_meta_gradient
from famus_jax.core.method import Method
from famus_jax.core.problem import Inputs, Problem, problem
from famus_jax.forward import linen_forward, linen_init
from famus_jax.forward.wrappers import compute_in
from famus_jax.losses import softmax_cross_entropy
from famus_jax.models import build_model

PyTree = Any
MODELS = ("mlp", "cnn", "resnet_32", "wrn_28_2")


def weights_of_examples() -> Method:
    """θ = V ∈ Rⁿ itself, equal at the start: its meta gradient is ∂L_val/∂V."""
    import optax

    def loss(theta: jax.Array, outputs: PyTree, batch: PyTree) -> tuple[jax.Array, jax.Array]:
        losses = softmax_cross_entropy(outputs, batch)
        return jnp.vdot(theta.astype(losses.dtype), losses), theta

    def init(key: jax.Array, n: int) -> jax.Array:
        del key
        return jnp.full(n, 1 / n, jnp.float32)

    return Method("weights", init, loss, optax.sgd(1.0), softmax_cross_entropy)


def examples(seed: int, n: int, classes: int, size: int) -> dict[str, jax.Array]:
    """Images with a class mean and noise; a third of the labels at random."""
    draw = np.random.default_rng(seed)
    means = np.random.default_rng(0).normal(size=(classes, size, size, 3))
    label = draw.integers(0, classes, n)
    image = means[label] + draw.normal(size=(n, size, size, 3))
    label = np.where(draw.random(n) < 1 / 3, draw.integers(0, classes, n), label)
    return {"image": jnp.asarray(image, jnp.float32), "label": jnp.asarray(label, jnp.int32)}


def measure(model: str, seed: int, n: int = 64, m: int = 32, size: int = 16) -> dict[str, Any]:
    """One network at one initialization: cosine and agreeing signs of bfloat16 and float32."""
    network = build_model(model, num_classes=10)
    batch, meta_batch = examples(2 * seed + 1, n, 10, size), examples(2 * seed + 2, m, 10, size)
    params, state = linen_init(network, jax.random.key(seed), batch["image"][:1])
    forward = linen_forward(network)
    learned = problem(forward, weights_of_examples())
    learned = learned.on(params, state, jax.random.key(0), batch)
    found = {}
    for name, run in (("float32", forward), ("bfloat16", compute_in(forward, jnp.bfloat16))):
        found[name] = _gradient(learned._replace(forward=run), params, state, batch, meta_batch)
    a, b = (x - x.mean() for x in found.values())
    cosine = float((a @ b) / np.sqrt((a @ a) * (b @ b)))
    return {
        "model": model,
        "seed": seed,
        "cosine": cosine,
        "same_sign": float((np.sign(a) == np.sign(b)).mean()),
    }


def _gradient(
    learned: Problem, params: PyTree, state: PyTree, batch: PyTree, meta_batch: PyTree
) -> np.ndarray:
    key, n = jax.random.key(0), len(batch["label"])

    def gradient(params: PyTree) -> jax.Array:
        inputs = Inputs(params, state, key, batch, meta_batch, jnp.float32(0.1))
        return fused_meta_gradient(learned, learned.method.init(key, n), inputs)

    return np.asarray(jax.jit(gradient)(params), np.float64)


def main(argv: list[str] | None = None) -> int:
    """Prints a line per network."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.mixed_precision", description=__doc__
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write all numbers, with versions, to this file")
    arguments = parser.parse_args(argv)
    command = [parser.prog, *(sys.argv[1:] if argv is None else argv)]
    rows = []
    print("| network | cosine, mean ± standard deviation | same sign |\n|---|---|---|")
    for model in arguments.models:
        mine = [measure(model, seed) for seed in arguments.seeds]
        rows += mine
        cosines = np.array([row["cosine"] for row in mine])
        signs = np.mean([row["same_sign"] for row in mine])
        spread = cosines.std(ddof=1) if len(cosines) > 1 else 0.0
        print(f"| {model} | {cosines.mean():.5f} ± {spread:.5f} | {signs:.1%} |", flush=True)
    if arguments.json:
        from famus_jax.files import write_json
        from famus_jax.provenance import provenance

        write_json(
            arguments.json,
            {
                "rows": rows,
                "provenance": provenance(command),
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
