"""Programs for a TPU that isn't here: what is asked, what is read, what is printed."""

import importlib.util
import json
import pathlib

import pytest

from famus_jax.benchmark.rows import PLAIN, StepProgram
from famus_jax.benchmark.tpu import programs, topology
from famus_jax.benchmark.tpu.collectives import collectives
from famus_jax.benchmark.tpu.text import topology_table
from famus_jax.cli import main
from famus_jax.core.estimators import all_layers
from famus_jax.core.programs import Program


def test_reader_of_collectives():
    """Fails if tuples, operands of what is started, widths, scalars or stages are miscounted."""
    text = """
      %a = (f32[2,3]{1,0}, bf16[4]{0}) all-reduce(%x, %y), channel_id=1
      %b = s32[8]{0} all-gather-start(%z), metadata={op_name="jit(f)/virtual_step/a"}
      %c = f32[] all-reduce(%w), metadata={op_name="jit(f)/virtual_step/meta_gradient/b"}
      %d = (f32[2]{0}, f32[16]{0}) all-gather-start(%v), dimensions={0}
      %e = (f32[5]{0}, f32[5]{0}, u32[], u32[]) collective-permute-start(%v)
      %f = f32[9]{0} add(%v, %v)
    """
    assert [tuple(one) for one in collectives(text)] == [
        ("all-reduce", 10, 32, "rest"),
        ("all-gather", 8, 32, "virtual_step"),
        ("all-reduce", 1, 4, "meta_gradient"),
        ("all-gather", 16, 64, "rest"),
        ("collective-permute", 5, 20, "rest"),
    ]


def read(flops, temp, sent):
    phases = {"meta_gradient": sent, "rest": 10}
    return {
        "flops": flops,
        "bytes": 4.0,
        "cycles": 100,
        "temp_bytes": temp,
        "sent_bytes": sent + 10,
        "sent": phases,
        "sent_kinds": {"all-reduce": sent + 10},
        "compile_seconds": 1.0,
    }


def test_a_row_is_the_mean_of_its_programs_and_the_largest_memory():
    """By hand: a quarter of the steps takes 8 FLOPs, the others 4. Fails if shares are left out."""
    rare, common = (StepProgram(all_layers(), Program(renews=renews)) for renews in (True, False))
    found = {PLAIN: read(2.0, 0, 0), rare: read(8.0, 7, 40), common: read(4.0, 5, 0)}
    row = programs._row(((0.25, rare), (0.75, common)), found)
    assert (row["flops"], row["flops_ratio"]) == (5.0, 2.5)
    assert (row["temp_bytes"], row["temp_bytes_ratio"]) == (7, None)  # the plain step's are 0
    assert row["sent"] == {"meta_gradient": 10.0, "rest": 10.0}
    said = topology_table(
        {
            "rows": [{"row": "carried", "passes": 1.1, **row}],
            "plain": found[PLAIN],
            "provenance": {"compiler": "libtpu 1", "versions": {"jax": "1"}},
            **{"model": "mlp", "batch": 8, "meta_batch": 4, "precision": "bfloat16"},
            **{"remat": False, "fsdp": False, "chips": 4, "topology": "v5e:2x2"},
            "device_kind": "TPU v5 lite",
        }
    )
    assert "4 of its chips of v5e:2x2" in said
    assert "meta_gradient 10, rest 10 (all-reduce 20)" in said
    assert "Estimates of the compiler; nothing was run" in said


def test_what_can_not_be_is_refused_before_anything_is_compiled(capsys, monkeypatch):
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)
    for words, status, said in (
        (["--chips=4"], 2, "--chips and --fsdp need --compile_for"),
        (["--compile_for=v5e:2x2", "--micro_batches=2"], 2, "not --compile_for"),
        (["--compile_for=v5e-4"], 1, "like v5e:2x2; got 'v5e-4'"),
        (["--compile_for=v5e:2x2"], 1, 'needs libtpu: pip install "famus_jax[tpu]"'),
    ):
        assert main(["famus", "benchmark", *words]) == status
        assert said in " ".join(capsys.readouterr().err.split())


def test_the_page_shows_the_record():
    """Fails if the table in docs/performance.md was edited, or the record changed without it."""
    root = pathlib.Path(__file__).parents[2]
    rows = json.loads((root / "results" / "tpu_wrn_10_2.json").read_text())["rows"]
    shown = (root / "docs" / "performance.md").read_text().split("<!-- table: tpu -->\n")[1]
    lines = shown.split("<!-- end -->")[0].splitlines()[2:]
    for line, row in zip(lines, rows, strict=True):
        numbers = (row[f"{name}_ratio"] for name in ("flops", "bytes", "cycles"))
        assert line.split("|")[2:-1] == [f" {number:.2f} " for number in numbers]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason='the extra "tpu"')
def test_compiled_for_a_tpu():
    """An MLP on one chip and on four. Fails if a program is compiled for the CPU, if the batch is not
    spread, or if the meta gradient sends nothing."""
    asked = {"model": "mlp", "batch": 64, "meta_batch": 16, "only": ["last_layer_active"]}
    one = topology.compiled_for("v5e:2x2", asked, None)
    assert one["device_kind"] == "TPU v5 lite"
    assert 1.0 < one["rows"][1]["flops_ratio"] < 1.5
    four = topology.compiled_for("v5e:2x2", {**asked, "chips": 4}, None)
    assert four["plain"]["flops"] < 0.5 * one["plain"]["flops"]
    assert four["rows"][1]["sent"]["meta_gradient"] > 0
    with pytest.raises(ValueError, match="chips must lie in \\[1, 4\\] for v5e:2x2; got 5"):
        topology.compiled_for("v5e:2x2", {**asked, "chips": 5}, None)
