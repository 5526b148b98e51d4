"""Step cost grows as `step_cost` says; slopes, partitions and errors."""

import functools

import jax
import pytest

from experiments.pictures import draw_scaling
from experiments.scaling import (
    coarse,
    common_estimators,
    default_axes,
    main,
    measure_axis,
    slope,
    table,
)
from famus_jax.benchmark.workload import make_workload

pytestmark = pytest.mark.usefixtures("as_shipped")


def test_slope_by_hand():
    """Least squares by hand: (0, 1), (1, 2), (2, 6) has slope 5 / 2."""
    assert slope([0, 1, 2], [1, 2, 6]) == pytest.approx(2.5)
    assert slope([3, 3], [1, 2]) == 0


@functools.cache
def measured(name, *values):
    return measure_axis(default_axes()[name]._replace(values=values))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "values"), [("batch", (8, 16, 32)), ("meta_batch", (8, 16, 32))])
@pytest.mark.parametrize("label", list(common_estimators(0, 0)))
def test_batch_and_meta_batch_cost_what_is_predicted(name, values, label):
    """Fails if anything but the meta passes grows with the meta batch, or the prediction's ρ is n/m."""
    curve = measured(name, *values)["curves"][label]
    assert curve["predicted_slope"] > 0
    assert curve["slope"] == pytest.approx(curve["predicted_slope"], rel=0.05)


@pytest.mark.slow
def test_meta_batch_slope_by_hand():
    """The last layer alone: a meta example costs a third of a training example, 1 / (3 n)."""
    curve = measured("meta_batch", 8, 16, 32)["curves"]["last layer, active virtual step"]
    assert curve["slope"] == pytest.approx(1 / (3 * 32), rel=0.05)


def test_coarse_layers_partition_the_same_network():
    work = make_workload("cnn", 2, 2, image_size=8)
    two = coarse(work.layers, 2)
    assert len(two) == 2
    assert sum(two.costs) == pytest.approx(1)
    assert two.costs[1] == pytest.approx(sum(work.layers.costs[2:]))
    fine = jax.tree.leaves(work.layers.as_tree())
    assert jax.tree.leaves(two.as_tree()) == [layer // 2 for layer in fine]
    with pytest.raises(ValueError, match="between 1 and 4"):
        coarse(work.layers, 5)


@pytest.mark.slow
def test_more_layers_cost_the_layerwise_route_alone():
    """One product per layer costs more with every layer; one product for all does not."""
    curves = measured("layers", 2, 8)["curves"]
    assert abs(curves["all layers"]["slope"]) < 0.01
    assert curves["all layers, one by one"]["slope"] > 0.02
    assert curves["last layer, active virtual step"]["slope"] < -0.01


@pytest.mark.slow
def test_table_and_picture(tmp_path):
    result = {
        "axes": {"layers": measured("layers", 2, 8)},
        "provenance": {"device": "cpu", "versions": {"jax": "0"}},
    }
    assert "all layers, one by one" in table(result)
    draw_scaling(tmp_path / "scaling.png", result)
    assert (tmp_path / "scaling.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("flag", "word"),
    [("--axes=hue", "'hue'"), ("--image_size=4", "image_size"), ("--rounds=-1", "rounds")],
)
def test_errors_name_the_value(flag, word, capsys):
    assert main([flag]) == 1
    assert word in capsys.readouterr().err
