"""docs/scale.md's Python runs as written, and its nine examples agree."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "scale.md").read_text()


def test_python_blocks_run(capsys):
    """Each of the three uses in each of the three ways, on eight devices: the same loss.

    Fails if an example has a typing error, or one of them normalizes by a device's own sum.
    """
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "docs/scale.md", "exec"), names)
    lines = [line.rsplit(" ", 1) for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in lines] == [
        f"{way} ({use})"
        for way, uses in (("jit", "cab"), ("shard_map", "cab"), ("pmap", "cab"))
        for use in uses
    ]
    losses = [float(loss) for _, loss in lines]
    assert losses == pytest.approx([losses[0]] * 9, rel=1e-5)
    assert names["mesh"].size == 8


def test_rounding_is_told_as_recorded():
    """Fails if the page says another spread than the recorded study, or calls it small."""
    rows = json.loads((ROOT / "results" / "rounding.json").read_text())["rows"]
    devices = [row["accuracy_points"] for row in rows if row["what"].endswith("devices")]
    ulps = [row["accuracy_points"] for row in rows if row["what"].endswith("ulp")]
    text = " ".join(TEXT.split())
    assert f"by up to {max(devices):.1f} points" in text
    told = re.search(r"1 to (\d) ulp give ([\d.]+) to ([\d.]+) points", text)
    assert told is not None
    assert [float(told[2]), float(told[3])] == [int(10 * min(ulps)) / 10, round(max(ulps), 1)]
    assert 2 * int(told[1]) == len(ulps)
