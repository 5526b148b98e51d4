"""README's Python runs as written, top to bottom, and its commands are what CI runs."""

import json
import re
import statistics
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_python_blocks_run(capsys):
    """Each block sees the names of those before it, as a reader would type them."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert "wrong labels get 0% of the weight" in capsys.readouterr().out
    assert int(names["state"].step) == 100
    assert all(len(block.strip().splitlines()) <= 10 for block in blocks[1:])


def test_commands_name_files_that_exist():
    text = (ROOT / "README.md").read_text()
    for config in re.findall(r"--config=(\S+\.py)", text):
        assert (ROOT / config).exists()
    assert (ROOT / "docs" / "quickstart.png").exists()


def test_readme_is_short_and_its_table_is_the_record():
    """Fails if the table says what the recorded command did not print."""
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    rows = json.loads((ROOT / "results" / "quickstart.json").read_text())["rows"]
    told = {
        "cross-entropy": ("ce", "none"),
        "cross-entropy, then fine-tuned on the trusted images": ("finetune", "none"),
        "MW-Net + FaMUS (learned gates)": ("mwnet", "gates_paper_target=2_lag=2"),
        "MW-Net, our default (eight examples are heard)": ("mwnet", "all_layers_examples8"),
        "**L2R + FaMUS (last layer), our default**": ("l2r", "last_layers_1_active_step"),
    }
    for name, (method, estimator) in told.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        mine = [r for r in rows if (r["method"], r["estimator"]) == (method, estimator)]
        assert len(mine) == 3
        for cell, key in zip(cells[1:], ("acc_last", "acc_selected", "weight_auroc")):
            if cell != "–":
                values = [100 * row[key] for row in mine]
                assert cell == f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
        assert cells[4] == f"{statistics.mean(row['step_cost'] for row in mine):.2f}"
