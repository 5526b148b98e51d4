"""The input benchmark measures what it says: equal work, every path, a JSON file."""

import json

import jax
import numpy as np
import pytest

from experiments import throughput


def test_plain_numpy_does_the_same_work():
    # On constant images cropping and flipping change nothing, so all paths must agree.
    images = np.full((20, 12, 12, 3), 51, np.uint8)
    labels = np.zeros(20, np.int32)
    image, label = throughput.numpy_batches(images, labels, 6)(0)
    stream = throughput.paths(images, labels, 6)["in_memory"](0)
    assert image.dtype == stream["image"].dtype
    np.testing.assert_allclose(image, np.full((6, 12, 12, 3), (0.2 - 0.5) / 0.25), rtol=1e-5)
    np.testing.assert_allclose(stream["image"], image, rtol=1e-5)
    assert label.shape == (6,)


def test_the_command_writes_rows(tmp_path, capsys):
    pytest.importorskip("grain")
    path = tmp_path / "rows.json"
    sizes = ["--images=40", "--size=12", "--batch=8", "--rounds=1", "--steps=2"]
    assert throughput.main([*sizes, f"--json={path}"]) == 0
    written = json.loads(path.read_text())
    rows = {row["path"]: row for row in written["rows"]}
    assert {"in_memory", "streaming", "numpy"} <= set(rows)
    assert all(row["ms_per_batch"] > 0 for row in rows.values())
    assert written["jax"] == jax.__version__
    assert "in_memory" in capsys.readouterr().out
