"""The cost model against the passes added up one by one."""

import pytest
import reference as ref

from famus_jax.core.cost import step_cost


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
