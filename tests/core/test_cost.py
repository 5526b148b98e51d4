"""The cost model against the passes added up one by one."""

import pytest
import reference as ref

from famus_jax.core.cost import step_cost


@pytest.mark.parametrize("virtual_step", ["full", "active_only", "one_pass"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("rho", [1.0, 0.25])
def test_step_cost(virtual_step, share, rho):
    """Fails if the meta batch's size, or the share in any of its three places, is left out."""
    assert step_cost(virtual_step, share, rho) == pytest.approx(ref.step_cost(virtual_step, share, rho))


def test_published_floors():
    """The table of floors: exact 10 F, top groups 6 F, one-pass 4 F, active-only 3 F + F·m/n."""
    assert step_cost("full", 1, 1) * 3 == pytest.approx(10)
    assert step_cost("full", 0, 1) * 3 == pytest.approx(6)
    assert step_cost("one_pass", 0, 1) * 3 == pytest.approx(4)
    assert step_cost("active_only", 0, 0.25) * 3 == pytest.approx(3.25)


def test_stationary_method_has_no_virtual_backward_pass():
    """L2R: 8 F instead of 10."""
    assert step_cost("full", 1, 1, zero_virtual_step=True) * 3 == pytest.approx(8)
