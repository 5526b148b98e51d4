"""The cost model against the passes added up one by one."""

import pathlib

import jax
import pytest
import reference as ref

import famus_jax as famus
from famus_jax.core.cost import mean_cost, step_cost


@pytest.mark.parametrize("virtual_step", ["all", "active", "actual"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("rho", [1.0, 0.25])
def test_step_cost(virtual_step, share, rho):
    """Fails if the meta batch's size, or the share in any of its three places, is left out."""
    assert step_cost(virtual_step, share, rho) == pytest.approx(
        ref.step_cost(virtual_step, share, rho)
    )


def test_published_floors():
    """The table of floors: exact 10 F, last layers 6 F, by the actual step 4 F, alone 3 F + F·m/n."""
    assert step_cost("all", 1, 1) * 3 == pytest.approx(10)
    assert step_cost("all", 0, 1) * 3 == pytest.approx(6)
    assert step_cost("actual", 0, 1) * 3 == pytest.approx(4)
    assert step_cost("active", 0, 0.25) * 3 == pytest.approx(3.25)


def test_zero_virtual_step_has_no_backward_pass():
    """L2R: 8 F instead of 10."""
    assert step_cost("all", 1, 1, zero_virtual_step=True) * 3 == pytest.approx(8)


def test_prices_by_the_number_of_examples():
    """Passes added up: F and 2 F of the batch, 2 F of what is heard, 3 F of the meta batch, over 3 F.
    Fails if a table's number was edited, or if the cost model charges shares of the batch."""
    root = pathlib.Path(__file__).parents[2]
    shown = (root / "docs" / "meta_gradient.md").read_text().split("<!-- table: numbers -->\n")[1]
    head, _, *lines = shown.split("\n<!-- end -->")[0].splitlines()
    sizes = [int(cell.split("=")[1].replace(",", "")) for cell in head.strip("|").split("|")[1:]]
    treedef = jax.tree.structure([0, 0])
    layers = famus.Layers(("body", "head"), (0, 1), treedef, (1.0, 0.0))
    problem = famus.problem(lambda *args: args, famus.mwnet(), layers=layers)
    m, rows = 16, {}
    for n in sizes:
        # A part's forward pass is one more; a part of all examples is the batch itself.
        rows.setdefault("all layers", []).append((3 + 2 + 2 + 3 * m / n) / 3)
        rows.setdefault("all layers, 8 examples", []).append(
            (3 * n + (1 + 2 + 2) * 8 + 3 * m) / (3 * n)
        )
        rows.setdefault("carried direction, 4 examples, renewed every 8th", []).append(
            (3 * n + (1 + 2) * 4 + 3 * m / 8) / (3 * n)
        )
        rows.setdefault("the last layer, active step", []).append((3 * n + m) / (3 * n))
    estimators = (
        famus.all_layers(),
        famus.all_layers(examples=8),
        famus.all_layers(virtual_step="carried", examples=4, renew_every=8, decay=0.5),
        famus.last_layers(1, virtual_step="active"),
    )
    for line, (name, by_hand), estimator in zip(lines, rows.items(), estimators, strict=True):
        assert line == "| " + " | ".join([name, *(f"{cost:.2f}" for cost in by_hand)]) + " |"
        for n, cost in zip(sizes, by_hand):
            assert mean_cost(problem, estimator, n, m) == pytest.approx(cost)
