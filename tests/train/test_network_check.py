"""Networks that can't be are refused in famus_jax's own words, before memory is asked for."""

import numpy as np
import pytest

from famus_jax.forward import linen_forward, linen_init
from famus_jax.models import build_model
from famus_jax.train.network_check import check_network
from famus_jax.train.schema import ModelConfig


def check(hidden, **more):
    model = build_model("mlp", 3, hidden=hidden, **more)
    named = ModelConfig("mlp", {"hidden": hidden, **more})
    start = np.zeros((1, 8), np.float32)
    check_network(named, lambda key: linen_init(model, key, start), linen_forward(model), (8,))


@pytest.mark.parametrize(
    ("hidden", "words"),
    [
        (
            5,
            r"model 'mlp' with model.overrides = {'hidden': 5} can't be built for examples \[8\]: ",
        ),
        ((-3,), "can't be built"),
        (("a",), "can't be built"),
        ((4, 0), "can't be built"),
        ((10**12,), "GiB of parameters, and there are"),  # XLA ends the process for want of memory
    ],
)
def test_refused(hidden, words):
    """Fails if flax's or jax's words come out, or memory is asked for."""
    with pytest.raises(ValueError, match=words):
        check(hidden)


def test_what_only_training_meets_is_refused():
    """Fails if the pass that is tried draws no dropout."""
    with pytest.raises(ValueError, match=r"'dropout': 'none'} can't be built for examples \[8\]"):
        check((4,), dropout="none")


def test_what_can_be_is_let_through_without_computing():
    check((4, 4))
    check((4, 4), dropout=0.5)
