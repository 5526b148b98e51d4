"""FLOP counts are refused where XLA's count would be wrong, and ratios are ratios."""

import jax
import jax.numpy as jnp
import pytest

from famus_jax.benchmark.measure import (
    Compiled,
    compile_step,
    interleaved_seconds,
    kind,
    loop_free_flops,
    row_of,
)


def test_flops_of_a_matrix_product():
    """2 m k n, by hand."""
    product = jax.jit(lambda a, b: a @ b).lower(jnp.ones((8, 16)), jnp.ones((16, 32))).compile()
    assert loop_free_flops(product) == pytest.approx(2 * 8 * 16 * 32, rel=0.01)


def loop(x):
    return jax.lax.fori_loop(0, 3, lambda i, x: x @ x, x)


def test_loops_and_branches_are_refused():
    def branch(x, i):
        return jax.lax.cond(i > 0, lambda x: x @ x, lambda x: x, x)

    x = jnp.ones((8, 8))
    with pytest.raises(ValueError, match="while"):
        loop_free_flops(jax.jit(loop).lower(x).compile())
    with pytest.raises(ValueError, match="conditional"):
        loop_free_flops(jax.jit(branch).lower(x, 1).compile())


def test_where_loops_are_let_through_there_is_no_flop_count():
    """Fails if a loop's body, counted once, is given out as the cost of the program."""
    x = jnp.ones((8, 8))
    step = compile_step(jax.jit(loop).lower(x), x, (), loops=True)
    assert step.flops is None
    assert step.temp_bytes >= 0
    with pytest.raises(ValueError, match="while"):
        compile_step(jax.jit(loop).lower(x), x, ())


def test_random_numbers_are_no_loop_that_matters():
    """On the CPU they are loops over integers: without them a random draw could not be measured."""

    def draw(key, x):
        return x @ x * jax.random.bernoulli(jax.random.fold_in(key, 1))

    program = jax.jit(draw).lower(jax.random.key(0), jnp.ones((32, 32))).compile()
    assert loop_free_flops(program) == pytest.approx(2 * 32**3, rel=0.1)


STEPS = {
    "plain": Compiled(None, None, (), 10.0, 100, 1.0),
    "exact": Compiled(None, None, (), 33.0, 250, 2.0),
    "head": Compiled(None, None, (), 20.0, 110, 4.0),
    "loop": Compiled(None, None, (), None, 50, 4.0),
}
SECONDS = {
    "plain": [1.0, 2.0, 90.0],
    "exact": [5.0, 6.0, 7.0],
    "head": [3.0, 3.0, 3.0],
    "loop": [9.0, 8.0, 4.0],
}


def test_row_by_hand():
    """Fails if a ratio is taken of means (an outlier would count) or the wrong way round."""
    row = row_of([(1.0, "exact")], STEPS, SECONDS, "plain")
    assert row["flops_ratio"] == pytest.approx(3.3)
    assert row["temp_bytes_ratio"] == 2.5
    assert row["time_ratio"] == 3
    assert row["step_ms"] == 6000
    assert row_of([(1.0, "plain")], STEPS, SECONDS, "plain")["flops_ratio"] == 1


def test_combined_row_by_hand():
    """A fifth exact, four fifths head. Fails if memory were averaged or the shares left out."""
    row = row_of([(0.2, "exact"), (0.8, "head")], STEPS, SECONDS, "plain")
    assert row["flops"] == pytest.approx(0.2 * 33 + 0.8 * 20)
    assert row["flops_ratio"] == pytest.approx(2.26)
    assert row["temp_bytes"] == 250
    assert row["step_ms"] == pytest.approx(1000 * (0.2 * 6 + 0.8 * 3))
    assert row["time_ratio"] == pytest.approx((0.2 * 6 + 0.8 * 3) / 2)
    assert row["compile_seconds"] == 6


def test_row_with_a_loop_has_time_and_memory_only():
    row = row_of([(0.5, "exact"), (0.5, "loop")], STEPS, SECONDS, "plain")
    assert row["flops"] is None
    assert row["flops_ratio"] is None
    assert row["step_ms"] == 7000


def test_programs_of_one_kind_of_state_share_it():
    """Two programs that each add to one counter, donated; a third with another kind."""
    state, other = jnp.zeros((), jnp.int32), jnp.zeros((2,))
    add = jax.jit(lambda s: (s + 1, s), donate_argnums=0)
    steps = {
        name: compile_step(add.lower(s), s, ()) for name, s in (("a", state), ("b", state))
    } | {"c": compile_step(jax.jit(lambda s: (s + 1, s)).lower(other), other, ())}
    assert kind(state) != kind(other)
    called = []
    seconds = interleaved_seconds(steps, 2, called.append)
    assert called == ["a", "b", "c"] * 3
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2, "c": 2}
