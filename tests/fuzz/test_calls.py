"""Any call of the public API: a value, or a refusal by a sentence of ours.

Values that the user's own network or loss trips over are theirs, so batches here keep the shapes that
this network needs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fuzz.oracle import fuzz, junk, numbers, refusal, texts
from hypothesis import strategies as st

import famus_jax as famus

pytestmark = pytest.mark.filterwarnings("ignore")

MAKERS = {
    famus.all_layers: ("examples", "virtual_step", "route", "update_every", "epsilon"),
    famus.second_order: ("virtual_step", "examples", "update_every"),
    famus.last_layers: ("k", "virtual_step", "control_variate_every"),
    famus.named_layers: ("virtual_step", "through_optimizer"),
    famus.random_layers: ("lag", "max_programs", "virtual_step"),
    famus.random_depth: ("lag", "max_programs", "virtual_step", "epsilon"),
    famus.learned_gates: (
        "preset",
        "target",
        "lag",
        "hidden",
        "temperature",
        "closed_sign",
        "momentum",
    ),
}


@st.composite
def makings(draw):
    make = draw(st.sampled_from([*MAKERS]))
    value = st.one_of(numbers, texts, junk)
    options = st.dictionaries(st.sampled_from(MAKERS[make]), value, max_size=3)
    return make, draw(st.lists(value, max_size=1)), draw(options)


@pytest.mark.parametrize("count", [80, pytest.param(20_000, marks=pytest.mark.fuzz)])
def test_estimators(count):
    """A wrong number of arguments is Python's to refuse, all values are ours."""

    def check(case):
        make, positional, options = case

        def call():
            try:
                made = make(*positional, **options)
            except TypeError as error:
                if "argument" in str(error):
                    return
                raise
            hash(made), made.label  # as every compiled step and every table asks

        refusal(call)

    fuzz(count, makings(), check)


PARAMS = {"body": jnp.full((3, 4), 0.1), "head": jnp.full((4, 2), 0.1)}
PROBLEM = famus.problem(
    famus.stateless_forward(lambda w, x: jnp.tanh(x @ w["body"]) @ w["head"], input="x"),
    famus.l2r(),
)
BATCH = {"x": np.ones((4, 3), np.float32), "label": np.array([0, 1, 0, 1], np.int32)}


@pytest.mark.parametrize("count", [60, pytest.param(3_000, marks=pytest.mark.fuzz)])
def test_step_sizes(count):
    """A step size is a number above 0, or a schedule."""

    def check(value):
        def call():
            weigh = famus.reweighter(PROBLEM, step_size=value)
            state = weigh.init(jax.random.key(0), PARAMS, (), BATCH, BATCH)
            jax.eval_shape(lambda s: weigh.update(s, PARAMS, (), BATCH, BATCH), state)

        refused = refusal(call)
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert refused or 0 < value < float("inf"), value

    fuzz(count, st.one_of(numbers, junk), check)
