"""Number formats, the chip's matrix rate, and the share of it that a row reaches."""

import jax
import numpy as np
import pytest

from famus_jax.benchmark.measure import Compiled, row_of
from famus_jax.benchmark.precision import PRECISIONS, matrix_rate, precision_of
from famus_jax.benchmark.run import _trace


def test_the_rate_is_two_cubed_over_the_median():
    """By hand: 3 products of 16 x 16 in 1, 2 and 9 s. Fails if the mean, or one product, counted."""
    times = iter([0.0, 10, 11, 20, 22, 30, 39])
    rate = matrix_rate(
        precision_of("float32"), size=16, products=3, rounds=3, clock=lambda: next(times)
    )
    assert rate.seconds == (1, 2, 9)
    assert rate.flops_per_second == 2 * 16**3 * 3 / 2


def test_every_product_is_run():
    """Fails if the compiler dropped products: its own FLOP count is that of all of them."""
    y = jax.ShapeDtypeStruct((32, 32), np.float32)
    counted = jax.jit(lambda y, w: y @ w @ w @ w).lower(y, y).compile().cost_analysis()["flops"]
    assert counted == 2 * 32**3 * 3


def test_formats():
    assert precision_of("tf32", "gpu").matmul == "tensorfloat32"
    for platform in ("cpu", "tpu"):
        with pytest.raises(ValueError, match=f"'tf32' is a format.*this is a {platform}"):
            precision_of("tf32", platform)
    with pytest.raises(ValueError, match="'float8'"):
        precision_of("float8")


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_format_reaches_the_products(name):
    """In the lowered program. Fails if a format were a label only."""
    chosen = precision_of(name, "gpu")
    x = jax.ShapeDtypeStruct((4, 4), chosen.dtype)
    with jax.default_matmul_precision(chosen.matmul):
        text = jax.jit(lambda x: x @ x).lower(x).as_text()
    assert ("bf16" in text) == (name == "bfloat16")
    assert ("HIGHEST" in text) == (name == "float32")
    assert ("HIGH," in text) == (name == "tf32")


def test_share_of_the_rate():
    """By hand: 10 FLOPs in half a second are 20 FLOP/s, a fifth of 100; unknown where FLOPs are."""
    steps = {
        "plain": Compiled(None, None, (), 10.0, 100, 1.0, 150),
        "loop": Compiled(None, None, (), None, 50, 1.0, 70),
    }
    seconds = {"plain": [0.5, 9.0, 0.1], "loop": [1.0]}
    row = row_of([(1.0, "plain")], steps, seconds, "plain", 100.0)
    assert row["flops_per_second"] == pytest.approx(20)
    assert row["share_of_matrix_rate"] == pytest.approx(0.2)
    assert row["total_bytes"] == 150
    row = row_of([(1.0, "loop")], steps, seconds, "plain", 100.0)
    assert row["flops_per_second"] is row["share_of_matrix_rate"] is None


def test_a_trace_names_its_programs(tmp_path):
    """Fails if the states that are timed later were used up."""
    step = jax.jit(lambda s, x: (s + x, x), donate_argnums=0)
    one = np.float32(1)
    state = jax.numpy.float32(0)
    compiled = Compiled(step, state, (one,), 1.0, 0, 0.0)
    label = type("Label", (), {"label": "plain"})()
    _trace({label: compiled}, tmp_path)
    assert list(tmp_path.rglob("*.xplane.pb"))
    assert float(compiled.run(state, one)[0]) == 1
