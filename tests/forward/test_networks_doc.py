"""docs/networks.md's Python runs as written, and each of its networks learns a step."""

import re
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import famus_jax as famus

TEXT = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("name", ["flax Linen", "flax NNX", "Haiku", "Equinox"])
def test_python_blocks_run(name):
    """A whole step with what the section leaves behind. Fails if an example has a typing error, or
    gives the network a state or parameters that it does not take."""
    for library in {"Haiku": ["haiku"], "Equinox": ["equinox"]}.get(name, ()):
        pytest.importorskip(library)
    names = {"__name__": "networks"}
    for section in dict.fromkeys(("flax Linen", name)):
        for block in re.findall(r"```python\n(.*?)```", SECTIONS[section], re.DOTALL):
            exec(compile(block, "docs/networks.md", "exec"), names)
    problem = famus.problem(names["forward"], famus.l2r())
    train = famus.train_step(problem, optax.sgd(0.1), step_size=0.1)
    batches = names["batch"], names["meta_batch"]
    state = train.init(jax.random.key(1), names["params"], names["model_state"], *batches)
    _, info = train(state, *batches)
    assert np.isfinite(info.loss)
    if name == "flax NNX":
        assert np.any(names["model"].norm.mean[...])


def test_part_of_the_parameters():
    """Both LoRA examples run as written. Fails if a frozen parameter or a frozen statistic moves, or an
    adapter does not, or the optimizer has a state for more than the adapters."""
    names = {"__name__": "networks"}
    for section in ("flax Linen", "flax NNX", "Part of the parameters"):
        blocks = re.findall(r"```python\n(.*?)```", SECTIONS[section], re.DOTALL)
        if section == "flax NNX":
            blocks = blocks[:1]  # the imports
        for i, block in enumerate(blocks):
            before = names.get("lora_params")
            exec(compile(block, "docs/networks.md", "exec"), names)
            if section != "Part of the parameters":
                continue
            after = names["lora_params"] if i == 1 else names["state"].params
            if i != 1:
                before = names["params"] if i == 2 else names["lora_params"]
                moments = jax.tree.leaves(names["state"].opt_state)
                assert len(moments) == 1 + 2 * {0: 4, 2: 2}[i]  # a count and two moments
            adapters = 0
            for (path, x), y in zip(
                jax.tree_util.tree_leaves_with_path(after), jax.tree.leaves(before), strict=True
            ):
                adapter = "lora_b" in jax.tree_util.keystr(path)  # lora_a's gradient is 0 at first
                if "lora_a" not in jax.tree_util.keystr(path):
                    assert (x != y).any() == adapter, path
                adapters += adapter
            assert adapters == {0: 2, 1: 2, 2: 1}[i]
    for a, b in zip(
        *(jax.tree.leaves(s) for s in (names["model_state"], names["state"].model_state))
    ):
        np.testing.assert_array_equal(a, b)
