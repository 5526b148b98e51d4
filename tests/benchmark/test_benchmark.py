"""The benchmark's rows on a tiny network: keys, combinations, errors."""

import functools

import jax
import jax.numpy as jnp
import pytest

from famus_jax.benchmark.measure import compile_step
from famus_jax.benchmark.rows import (
    estimators,
    last_block,
    last_stage,
    mix_of,
    more_estimators,
    rows,
)
from famus_jax.benchmark.run import run_benchmark
from famus_jax.benchmark.text import table
from famus_jax.benchmark.workload import make_workload
from famus_jax.cli import main
from famus_jax.core.estimators import random_depth
from famus_jax.core.programs import Program
from famus_jax.forward import linen_forward
from famus_jax.gates import learned_gates
from famus_jax.layers.find import find_layers
from famus_jax.models import build_model

SHOWN = (
    "second_order",
    "layerwise_vjp",
    "all_layers",
    "last_layer",
    "random_depth_0.2",
    "all_layers_eighth",
    "all_layers_every_4",
    "gates_released_cheapest",
)
SLOW = ("l2r_last_layer", "last_layer_active")


@functools.cache
def result(model="mlp", only=SHOWN):
    """Of a perceptron: dense layers compile in a tenth of the time of convolutions with BatchNorm."""
    return run_benchmark(model, 8, 4, image_size=8, rounds=1, only=only)


def found():
    return {row["row"]: row for row in result()["rows"]}


@pytest.mark.slow
def test_every_row_has_its_keys():
    keys = {"flops_ratio", "temp_bytes_ratio", "time_ratio", "step_ms", "compile_seconds"}
    for out, shown in ((result(), SHOWN), (result("cnn", SLOW), SLOW)):
        rows_of = {row["row"]: row for row in out["rows"]}
        assert next(iter(rows_of)) == "plain"
        assert set(rows_of) == {"plain", *shown}
        assert all(keys <= row.keys() for row in rows_of.values())
        assert out["plain_flops"] == rows_of["plain"]["flops"] > 0
        assert "TFLOP/s" in table(out)


@pytest.mark.slow
def test_one_program_of_learned_gates_is_said_to_be_one():
    assert "one compiled program" in found()["gates_released_cheapest"]["note"]


@pytest.mark.slow
def test_every_4_is_a_quarter_exact_and_three_quarters_plain():
    """Its program between meta updates costs what a plain step does, but for MW-Net's weights."""
    share = (found()["all_layers_every_4"]["flops_ratio"] - 1) / (
        found()["all_layers"]["flops_ratio"] - 1
    )
    assert share == pytest.approx(0.25, rel=0.05)


@pytest.mark.slow
def test_random_depth_is_weighted_by_hand():
    """Fails if programs are mixed up: the deep one comes up in a fifth of the steps."""
    work = make_workload("mlp", 8, 4, image_size=8)
    estimator = random_depth(0.2, virtual_step="active")
    mix = mix_of(work.layers, estimator)
    assert [(share, program.program) for share, program in mix] == [
        (0.2, Program(index=0)),
        (0.8, Program(index=1)),
    ]
    deep, shallow = (compile_step(*program.lower(work)).flops for _, program in mix)
    assert deep > 1.5 * shallow
    measured = found()["random_depth_0.2"]
    assert measured["flops"] == pytest.approx(0.2 * deep + 0.8 * shallow, rel=1e-6)
    assert measured["programs"] == 2


def test_shares_of_all_rows_sum_to_one():
    work = make_workload("cnn", 8, 8, image_size=8)
    known, left_out = rows(work)
    assert not left_out
    for row in known:
        assert sum(share for share, _ in row.mix) == pytest.approx(1), row.name
    names = [row.name for row in known]
    assert len(set(names)) == len(names)
    assert {row.name for row in known if row.core} == {"plain", *estimators(work.layers, work.n)}
    assert set(more_estimators(work.layers)) < set(names)


def test_the_mix_of_learned_gates_is_not_known():
    work = make_workload("mlp", 8, 8, image_size=8)
    with pytest.raises(ValueError, match="only from a run"):
        mix_of(work.layers, learned_gates("paper", lag=2, target=2.0))


def test_blocks_by_name():
    model, key = build_model("wrn_28_2", 10), jax.random.key(0)
    batch = {"image": jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)}
    variables = dict(jax.eval_shape(model.init, key, batch["image"]))
    layers = find_layers(linen_forward(model), variables.pop("params"), variables, key, batch)
    assert last_block(layers) == ("stage3_block3/conv1", "stage3_block3/conv2", "head")
    stage = last_stage(layers)
    assert len(stage) == 9  # four blocks of two, and the shortcut
    assert all(name.startswith("stage3_") for name in stage)


def test_what_a_network_is_too_small_for_is_left_out_and_said():
    """What is left out has its reason beside it, and the rest is still there."""
    work = make_workload("mlp", 8, 8, image_size=4)
    known, left_out = rows(work)
    assert known[0].name == "plain"
    assert all(why for why in left_out.values())


def test_micro_batches_have_no_flops(as_shipped):
    out = run_benchmark("mlp", 4, 4, image_size=8, rounds=1, only=["last_layer"], micro_batches=2)
    plain, head = out["rows"]
    assert plain["flops_ratio"] == 1
    assert head["flops_ratio"] is None
    assert "loops" in head["note"]
    assert head["step_ms"] > 0
    assert "last_layer" in table(out)


@pytest.mark.slow
def test_bfloat16_and_remat_are_said():
    out = run_benchmark(
        "mlp",
        4,
        4,
        image_size=8,
        rounds=1,
        only=["last_layer_active"],
        precision="bfloat16",
        remat=True,
    )
    assert "bfloat16" in table(out)
    assert "rematerialized" in table(out)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rows=fast"], "'fast'"),
        (["--micro_batches=3"], "micro_batches=3"),
        (["--image_size=0"], "image_size"),
        (["--batch=0"], "batch=0"),
    ],
)
def test_errors_name_the_value(flags, words, capsys):
    assert main(["famus", "benchmark", "--model=mlp", "--batch=8", "--image_size=8", *flags]) == 1
    assert words in capsys.readouterr().err
