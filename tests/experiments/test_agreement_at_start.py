"""Rows of the benchmark beside the exact meta gradient, at a network's start."""

import functools
import json

import pytest

from experiments.agreement.at_start import KEYS, AtStart, has_gradient, main
from famus_jax.benchmark.rows import rows
from famus_jax.benchmark.workload import make_workload


@functools.cache
def at_start():
    """Of a perceptron: dense layers compile in a tenth of the time of convolutions with BatchNorm."""
    work = make_workload("mlp", 8, 4, image_size=8)
    return AtStart(work), {row.name: row for row in rows(work)[0]}


@functools.cache
def found(name):
    measured, known = at_start()
    return measured.of(known[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["all_layers", "second_order", "layerwise_vjp", "all_layers_every_4"]
)
def test_exact_routes_agree(name):
    """Fails if a row's gradient were taken at another point, or lost in a subtraction."""
    row = found(name)
    assert row["cosine_weights"] >= 0.999999
    assert row["cosine_theta"] >= 0.999999
    assert row["sign_agreement"] == 1
    assert row["relative_error"] < 1e-3


@pytest.mark.slow
def test_the_head_alone_is_not_exact():
    row = found("last_layer")
    assert 0 < row["cosine_weights"] < 0.99999
    assert row["relative_error"] > 0.005


@pytest.mark.slow
def test_part_of_the_batch_judges_one_example_of_eight():
    """The others' entries are estimated as 0, so that no more than a part of the direction is right."""
    assert abs(found("all_layers_eighth")["cosine_weights"]) < 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random_depth_0.2", "random_layers_4", "l2r_last_layer"])
def test_drawn_groups_and_l2r_have_a_gradient(name):
    assert set(found(name)) == set(KEYS)


def test_gates_and_plain_have_none():
    _, known = at_start()
    assert not has_gradient(known["plain"])
    assert not has_gradient(known["gates_released_cheapest"])


def test_the_command(tmp_path, capsys):
    path = tmp_path / "rows.json"
    flags = ["--model=mlp", "--batch=4", "--image_size=4", "--rows=last_layer_active"]
    assert main([*flags, f"--json={path}"]) == 0
    [row] = json.loads(path.read_text())["agreement.at_start"]
    assert set(row) == {"row", *KEYS}
    assert "last_layer_active" in capsys.readouterr().out


@pytest.mark.parametrize(("flag", "word"), [("--rows=fast", "'fast'"), ("--draws=0", "draws")])
def test_errors_name_the_value(flag, word, capsys):
    assert main(["--model=mlp", "--batch=4", "--image_size=4", flag]) == 1
    assert word in capsys.readouterr().err
