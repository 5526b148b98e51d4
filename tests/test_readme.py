"""README's Python runs as written, top to bottom, and its commands are what CI runs."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_python_blocks_run(capsys):
    """Each block sees the names of those before it, as a reader would type them."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 6
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) >= 5
    assert int(names["state"].step) == 3


def test_commands_name_files_that_exist():
    text = (ROOT / "README.md").read_text()
    for config in re.findall(r"--config=(\S+\.py)", text):
        assert (ROOT / config).exists()
    assert (ROOT / "docs" / "quickstart.png").exists()
