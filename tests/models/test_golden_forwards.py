"""Forwards against the PyTorch definitions of golden/make_golden.py, in float64.

One tolerance (1e-9 of the largest logit) for all: fails for a misplaced ReLU, an epsilon of 1e-5
where 1e-3 is meant, one-sided padding of a strided convolution, a shortcut taken elsewhere, padding
counted in an average, running statistics with another momentum, …
"""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.models import build_model
from famus_jax.models.pretrained import resnet50_from_torchvision
from tests.models import golden_formula as formula

CASES = json.loads((Path(__file__).parent / "golden" / "forwards.json").read_text())["cases"]
LARGE = {"wrn_28_10", "inception_resnet_v2", "resnet_50", "inception_short"}
LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def fill(path, leaf):
    """The value of one flax variable, made in PyTorch's naming and layout."""
    *modules, last = [entry.key for entry in path[1:]]
    name = ".".join([*modules, LEAVES.get(last, last)])
    shape = leaf.shape
    if last == "kernel":  # [h, w, in, out] or [in, out], from [out, in, h, w] or [out, in]
        values = formula.tensor(name, (shape[-1], shape[-2], *shape[:-2]))
        return values.transpose((2, 3, 1, 0) if len(shape) == 4 else (1, 0))
    return formula.tensor(name, shape)


def cases():
    """Every case in both modes; what takes long to compile is left to the slow run."""
    for case in CASES:
        for mode in ("train", "eval"):
            yield pytest.param(case, mode, marks=[pytest.mark.slow] if case in LARGE else [])


@pytest.mark.parametrize(("case", "mode"), list(cases()))
def test_forward(case, mode):
    golden = CASES[case]
    overrides = {k: tuple(v) if isinstance(v, list) else v for k, v in golden["overrides"].items()}
    model = build_model(golden["model"], golden["num_classes"], **overrides)
    with jax.enable_x64(True):
        images = jnp.asarray(formula.images(tuple(golden["shape"])))
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        if case == "resnet_50":
            params, state = resnet50_from_torchvision(formula.torchvision_resnet50())
            variables = jax.tree.map(
                partial(np.asarray, dtype=np.float64), {"params": params, **state}
            )
        else:
            variables = jax.tree_util.tree_map_with_path(fill, dict(variables))
        total = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        assert total == golden["parameters"]
        apply = partial(model.apply, train=mode == "train", mutable=["batch_stats"])
        logits, state = jax.jit(apply)(variables, images)
        bound = 1e-9 * np.abs(logits).max()
        np.testing.assert_allclose(logits[:, :10], golden[mode], rtol=0, atol=bound)
        digest = formula.digest("logits", np.asarray(logits))
        bound = bound * logits.size
        np.testing.assert_allclose(digest, golden[mode + "_digest"], rtol=0, atol=bound)
    if mode == "eval":
        jax.tree.map(np.testing.assert_array_equal, state["batch_stats"], variables["batch_stats"])
        return
    seen = {}
    old = flat(variables["batch_stats"])
    for name, new in flat(state["batch_stats"]).items():
        module, leaf = name.rsplit(".", 1)
        module = in_torchvision(module) if case == "resnet_50" else module
        of_the_batch = (new - 0.9 * old[name]) / 0.1
        seen.setdefault(module, {})[leaf] = formula.digest(f"{module}.{leaf}", of_the_batch)
    assert set(seen) == set(golden["statistics"])
    for module, (mean, var) in golden["statistics"].items():
        np.testing.assert_allclose(
            [seen[module]["mean"], seen[module]["var"]], [mean, var], rtol=0, atol=1e-7
        )


def flat(tree):
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {".".join(e.key for e in path): np.asarray(leaf) for path, leaf in leaves}


def in_torchvision(norm):
    """Torchvision's name of a norm of our ResNet-50."""
    if norm == "stem_norm":
        return "bn1"
    norm = norm.replace("stage", "layer").replace("_block", ".")
    return norm.replace("shortcut_norm", "downsample.1").replace("norm", "bn")
