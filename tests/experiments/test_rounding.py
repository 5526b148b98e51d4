"""The study of rounding: settings that differ from the config's by single float32 numbers."""

import numpy as np
import pytest

from experiments import rounding


@pytest.mark.parametrize("rate", [0.1, 2.0])
def test_learning_rates_lie_around_the_configs(monkeypatch, rate):
    """Fails for a rate that is written in, and for neighbors that are none."""
    used = []

    def history(steps, learning_rate, placement):
        used.append(learning_rate)
        return [{"test_accuracy": 0.5, "loss": 1.0}]

    monkeypatch.setattr(rounding, "_history", history)
    monkeypatch.setattr(rounding, "_config", lambda: {"schedule": {"learning_rate": rate}})
    rows = rounding.compare(steps=10, ulps=2)["rows"]
    center = np.float32(rate)
    down, up = np.nextafter(center, np.float32(0)), np.nextafter(center, np.float32(np.inf))
    assert used[0] == center
    assert [used[-3], used[-2]] == [down, up]
    assert len(set(used)) == 5
    assert len(rows) == len(used)
