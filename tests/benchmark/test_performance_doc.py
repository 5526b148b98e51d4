"""docs/performance.md predicts what the analysis of the layer groups says."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

import famus_jax as famus
from famus_jax.benchmark.rows import estimators
from famus_jax.core.cost import mean_cost
from famus_jax.models import build_model

DOC = pathlib.Path(__file__).parents[2] / "docs" / "performance.md"
ROWS = {
    "exact": ("exact", 1),
    "fixed last block, full look-ahead": ("famus_last_block", 1),
    "one-pass, last block": ("one_pass_last_block", 1),
    "one-pass, head": ("one_pass_head", 1),
    "active-only, head": ("active_only_head", 1 / 4),
    "exact, part 1/8": ("exact_part_0.125", 1 / 8),
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
    forward, objective = famus.linen_forward(model), famus.mwnet()
    groups = famus.find_layers(forward, params, variables, key, batch)
    problem = famus.Problem(forward, objective, objective.l_val, groups)
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in DOC.read_text().splitlines()
        if line.startswith("| ")
    ]
    printed = {cells[0]: cells for cells in lines}
    for label, (row, rho) in ROWS.items():
        predicted = mean_cost(problem, estimators(groups)[row], rho)
        assert printed[label][3 + column] == f"{predicted:.2f}", label
