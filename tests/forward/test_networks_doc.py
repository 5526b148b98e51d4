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
