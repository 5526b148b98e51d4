"""Many devices, one result. The whole table: `python -m famus_jax.bench.parity`."""

import numpy as np
import pytest

from famus_jax.bench import parity

CASES = [
    parity.Case("mwnet sum", "exact", "batchnorm", "jit", 4),
    parity.Case("mwnet sum", "exact", "batchnorm", "shard_map", 4),
    parity.Case("mwnet sum", "exact", "batchnorm", "pmap", 4),
    parity.Case("l2r", "top 2, active only", "mlp", "shard_map", 8),
    pytest.param(
        parity.Case("mwnet sum", "learned gates", "mlp", "shard_map", 2), marks=pytest.mark.slow
    ),
]
ALL = list(parity.cases(devices=(8,), ways=("shard_map",)))


def check(case, dtype, bound):
    row = parity.compare(case, dtype)
    assert max(row["params"], row["theta"], row["metrics"]) < bound, row
    assert row["gates"], row


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_numbers_of_one_device(case):
    """Three steps, float64. Fails if a weight is normalised by the sum of one device's, a gradient is
    averaged where it should be summed (or summed twice), rows go to the wrong device, or devices draw
    different gates."""
    check(case, np.float64, 1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("way", [pytest.param("jit", marks=pytest.mark.slow), "shard_map"])
def test_micro_batches(way):
    """With BatchNorm synchronised: a micro-batch holds the same examples on any number of devices.

    Fails if each device cuts its share into contiguous pieces.
    """
    check(parity.Case("mwnet sum", "exact", "batchnorm", way, 4, 2), np.float64, 1e-10)


@pytest.mark.slow
def test_float32():
    """Fails if a number is moved or summed in a narrower type than the network's."""
    check(parity.Case("mwnet sum", "exact", "mlp", "shard_map", 4), np.float32, 2e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_pair(case):
    """As above, every method with every estimator. (The command runs all ways and counts.)"""
    check(case, np.float64, 1e-10)
