"""The comparison of ways to step two networks."""

import json

import pytest

from experiments import two_networks


@pytest.mark.slow
def test_rows(tmp_path, capsys):
    path = tmp_path / "rows.json"
    assert two_networks.main(
        ["--model=mlp", "--batch=4", "--meta_batch=4", "--size=4", "--rounds=2", f"--json={path}"]
    ) == 0  # fmt: skip
    rows = {row["way"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(rows) == ["apart", "together", "stacked"]
    assert rows["apart"]["time_ratio"] == 1
    assert all(row["step_ms"] > 0 and row["temp_bytes"] > 0 for row in rows.values())
    assert "stacked" in capsys.readouterr().out


def test_an_unknown_network_is_refused(capsys):
    assert two_networks.main(["--model=cnnn"]) == 1
    assert "Did you mean 'cnn'" in capsys.readouterr().err
