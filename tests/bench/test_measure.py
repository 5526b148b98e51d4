"""FLOP counts are refused where XLA's count would be wrong, and ratios are ratios."""

import jax
import jax.numpy as jnp
import pytest

from famus_jax.bench.measure import Compiled, loop_free_flops, rows_of
from famus_jax.bench.variants import last_block, make_workload


def test_flops_of_a_matrix_product():
    """2 m k n, by hand."""
    product = jax.jit(lambda a, b: a @ b).lower(jnp.ones((8, 16)), jnp.ones((16, 32))).compile()
    assert loop_free_flops(product) == pytest.approx(2 * 8 * 16 * 32, rel=0.01)


def test_loops_and_branches_are_refused():
    def loop(x):
        return jax.lax.fori_loop(0, 3, lambda i, x: x @ x, x)

    def branch(x, i):
        return jax.lax.cond(i > 0, lambda x: x @ x, lambda x: x, x)

    x = jnp.ones((8, 8))
    with pytest.raises(ValueError, match="while"):
        loop_free_flops(jax.jit(loop).lower(x).compile())
    with pytest.raises(ValueError, match="conditional"):
        loop_free_flops(jax.jit(branch).lower(x, 1).compile())


def test_rows_by_hand():
    """Fails if a ratio is taken of means (an outlier would count) or the wrong way round."""
    steps = {
        "plain": Compiled(None, None, (), 10.0, 100, 1.0),
        "exact": Compiled(None, None, (), 33.0, 250, 2.0),
    }
    rows = rows_of(steps, {"plain": [1.0, 2.0, 90.0], "exact": [5.0, 6.0, 7.0]})
    assert [r["flops_ratio"] for r in rows] == [1, 3.3]
    assert [r["temp_bytes_ratio"] for r in rows] == [1, 2.5]
    assert [r["time_ratio"] for r in rows] == [1, 3]
    assert rows[1]["step_ms"] == 6000


def test_last_block_is_the_block_below_the_head_and_the_head():
    work = make_workload("wrn_28_2", 2, 2, image_size=8)
    assert last_block(work.groups) == ("stage3_block3/conv1", "stage3_block3/conv2", "head")
