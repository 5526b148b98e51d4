"""docs/performance.md predicts what the analysis of the layers says."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

import famus_jax as famus
from famus_jax.benchmark.rows import estimators
from famus_jax.core.cost import mean_cost
from famus_jax.models import build_model

DOC = pathlib.Path(__file__).parents[2] / "docs" / "performance.md"
N = 64
ROWS = {
    "all layers": ("all_layers", 64),
    "last block": ("last_block", 64),
    "last block, actual step": ("last_block_actual", 64),
    "last layer, actual step": ("last_layer_actual", 64),
    "last layer, active step": ("last_layer_active", 16),
    "all layers, an eighth of the examples": ("all_layers_eighth", 8),
}


@pytest.mark.parametrize(
    ("column", "name"), list(enumerate(("wrn_28_10", "preact_resnet_18", "wrn_28_2")))
)
def test_predictions(column, name):
    """Fails if a prediction were changed after the fact, or copied into a wrong column."""
    model, key = build_model(name, 10), jax.random.key(0)
    batch = {"image": jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)}
    variables = dict(jax.eval_shape(model.init, key, batch["image"]))
    params = variables.pop("params")
    forward = famus.linen_forward(model)
    layers = famus.find_layers(forward, params, variables, key, batch)
    problem = famus.problem(forward, famus.mwnet(), layers=layers)
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in DOC.read_text().splitlines()
        if line.startswith("| ")
    ]
    printed = {cells[0]: cells for cells in lines}
    for label, (row, m) in ROWS.items():
        predicted = mean_cost(problem, estimators(layers, N)[row], N, m)
        assert printed[label][3 + column] == f"{predicted:.2f}", label
