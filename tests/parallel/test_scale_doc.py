"""docs/scale.md's Python runs as written, and its nine examples agree."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()


def test_python_blocks_run(capsys):
    """Each of the three uses in each of the three ways, on eight devices: the same loss.

    Fails if an example has a typing error, or one of them normalises by a device's own sum.
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
