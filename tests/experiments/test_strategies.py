"""The host's dispatch beside `lax.switch`: the same steps, taken two ways."""

import json

import numpy as np
import pytest

from experiments.strategies import by_host, by_switch, main, walk
from famus_jax.benchmark.workload import make_workload
from famus_jax.core.estimators import random_depth
from famus_jax.gates import learned_gates

pytestmark = pytest.mark.usefixtures("as_shipped")


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [
        random_depth(0.5, virtual_step="active"),
        learned_gates("paper", lag=2, target=1.0, max_programs=2),
    ],
)
def test_host_and_switch_walk_the_same_way(estimator):
    """Step by step the same programs. Fails if one of the two did cheaper steps than the other."""
    work = make_workload("mlp", 8, 4, image_size=4)
    steps = {"host": by_host(work, estimator), "switch": by_switch(work, estimator)}
    host, switch = walk(steps, 3, 4).values()
    np.testing.assert_array_equal(host.costs, switch.costs)
    assert len(host.costs) == 16
    assert len(switch.seconds) == 3
    assert len(set(host.costs.tolist())) == host.programs > 1
    assert len(host.seconds) <= 3


@pytest.mark.slow
def test_the_command(tmp_path, capsys):
    path = tmp_path / "rows.json"
    flags = ["--model=mlp", "--batch=8", "--image_size=4", "--rounds=2", "--block=2"]
    assert main([*flags, f"--json={path}"]) == 0
    rows = json.loads(path.read_text())["strategies"]
    assert {row["strategy"] for row in rows} == {"", "host", "switch"}
    assert "programs" in capsys.readouterr().out
