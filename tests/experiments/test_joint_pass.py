"""Both batches in one pass of the trunk: the same step, and what it costs."""

import jax
import numpy as np
import pytest

from experiments.joint_pass import APART, lower_joint
from famus_jax.benchmark.measure import loop_free_flops
from famus_jax.benchmark.workload import lower_ours, lower_plain, make_workload
from famus_jax.models import build_model

pytestmark = pytest.mark.usefixtures("as_shipped")


@pytest.fixture(scope="module")
def work():
    """A norm that sees one example at a time, so that the batches don't touch each other."""
    model = build_model("cnn", 10, widths=(16, 32), norm="group")
    return make_workload(model, 32, 8, image_size=16)


@pytest.fixture(scope="module")
def compiled(work):
    made = {
        "plain": lower_plain(work),
        "apart": lower_ours(work, APART),
        "joint": lower_joint(work),
    }
    return {name: (low.compile(), state, batches) for name, (low, state, batches) in made.items()}


@pytest.mark.slow
def test_one_pass_is_the_same_step(work, compiled):
    """Parameters and θ after a step: float32, so up to rounding."""
    run, state, batches = compiled["apart"]
    first = jax.device_get(state.meta.theta)
    apart, _, _ = run(state, *batches)
    run, (*mine, _, meta_opt_state), batches = compiled["joint"]
    joint, _ = run((*mine, jax.device_put(first), meta_opt_state), *batches)
    for ours, theirs in ((joint[0], apart.params), (joint[3], apart.meta.theta)):
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), joint[3], first)
    assert max(jax.tree.leaves(moved)) > 0  # θ was taught something


@pytest.mark.slow
def test_what_it_costs(compiled):
    """1 + ρ plain steps where two passes cost 1 + ρ/3, with ρ = 1/4: the way back takes all rows."""
    flops = {name: loop_free_flops(run) for name, (run, _, _) in compiled.items()}
    assert flops["apart"] / flops["plain"] == pytest.approx(1 + 1 / 12, abs=0.04)
    assert flops["joint"] / flops["plain"] == pytest.approx(1 + 1 / 4, abs=0.04)
