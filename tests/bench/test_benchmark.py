"""The benchmark's rows on a tiny network: keys, closeness, combinations, errors."""

import functools

import jax
import jax.numpy as jnp
import pytest

from famus_jax.bench.closeness import KEYS
from famus_jax.bench.main import main
from famus_jax.bench.measure import compile_step
from famus_jax.bench.rows import (
    estimators,
    last_block,
    last_stage,
    lower,
    mix_of,
    more_estimators,
    rows,
)
from famus_jax.bench.run import run_benchmark
from famus_jax.bench.text import table
from famus_jax.bench.variants import make_workload
from famus_jax.core.estimators import exact, learned_gates, random_depth
from famus_jax.core.tracing import layer_groups
from famus_jax.core.variants import Variant
from famus_jax.forward import linen_forward
from famus_jax.models import build_model

SHOWN = (
    "second_order",
    "vjp_layerwise",
    "exact",
    "famus_head",
    "random_depth_0.2",
    "exact_part_0.125",
    "exact_every_4",
    "gates_released_cheapest",
)
SLOW = ("l2r_head", "active_only_head")


@functools.cache
def result(model="mlp", only=SHOWN):
    """Of a perceptron: dense layers compile in a tenth of the time of convolutions with BatchNorm."""
    return run_benchmark(model, 8, 4, image_size=8, rounds=1, only=only)


def found():
    return {row["variant"]: row for row in result()["rows"]}


@pytest.mark.slow
def test_every_row_has_its_keys():
    keys = {"flops_ratio", "temp_bytes_ratio", "time_ratio", "step_ms", "compile_seconds", *KEYS}
    for out, shown in ((result(), SHOWN), (result("cnn", SLOW), SLOW)):
        rows_of = {row["variant"]: row for row in out["rows"]}
        assert next(iter(rows_of)) == "plain"
        assert set(rows_of) == {"plain", *shown}
        assert all(keys <= row.keys() for row in rows_of.values())
        assert out["plain_flops"] == rows_of["plain"]["flops"] > 0
        assert "cosine" in table(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exact", "second_order", "vjp_layerwise", "exact_every_4"])
def test_exact_routes_agree(name):
    """Fails if a row's gradient were taken at another point, or lost in a subtraction."""
    row = found()[name]
    assert row["cosine_weights"] >= 0.999999
    assert row["cosine_theta"] >= 0.999999
    assert row["sign_agreement"] == 1
    assert row["relative_error"] < 1e-3


@pytest.mark.slow
def test_the_head_alone_is_not_exact():
    row = found()["famus_head"]
    assert 0 < row["cosine_weights"] < 0.99999
    assert row["relative_error"] > 0.005


@pytest.mark.slow
def test_part_of_the_batch_judges_one_example_of_eight():
    """The others' entries are estimated as 0, so that no more than a part of the direction is right."""
    assert abs(found()["exact_part_0.125"]["cosine_weights"]) < 0.95


@pytest.mark.slow
def test_gates_and_plain_have_no_cosine():
    assert all(found()["plain"][key] is None for key in KEYS)
    assert all(found()["gates_released_cheapest"][key] is None for key in KEYS)
    assert "branch" in found()["gates_released_cheapest"]["note"]


@pytest.mark.slow
def test_every_4_is_a_quarter_exact_and_three_quarters_plain():
    """Its program between meta updates costs what a plain step does, but for MW-Net's weights."""
    share = (found()["exact_every_4"]["flops_ratio"] - 1) / (found()["exact"]["flops_ratio"] - 1)
    assert share == pytest.approx(0.25, rel=0.05)


@pytest.mark.slow
def test_random_depth_is_weighed_by_hand():
    """Fails if branches are mixed up: the deep one comes up in a fifth of the steps."""
    work = make_workload("mlp", 8, 4, image_size=8)
    estimator = random_depth(0.2, lookahead="active_only")
    mix = mix_of(work.groups, estimator)
    assert [(share, program.variant) for share, program in mix] == [
        (0.2, Variant(branch=0)),
        (0.8, Variant(branch=1)),
    ]
    deep, shallow = (compile_step(*lower(work, program)).flops for _, program in mix)
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
    assert {row.name for row in known if row.core} == {"plain", *estimators(work.groups)}
    assert set(more_estimators(work.groups)) < set(names)


def test_the_mix_of_learned_gates_is_not_known():
    work = make_workload("mlp", 8, 8, image_size=8)
    with pytest.raises(ValueError, match="only from a run"):
        mix_of(work.groups, learned_gates("paper", lag=2))
    with pytest.raises(ValueError, match="only from a run"):
        mix_of(work.groups, exact(every=lambda step: 2))


def test_blocks_by_name():
    model, key = build_model("wrn_28_2", 10), jax.random.key(0)
    batch = {"image": jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)}
    variables = dict(jax.eval_shape(model.init, key, batch["image"]))
    groups = layer_groups(linen_forward(model), variables.pop("params"), variables, key, batch)
    assert last_block(groups) == ("stage3_block3/conv1", "stage3_block3/conv2", "head")
    stage = last_stage(groups)
    assert len(stage) == 9  # four blocks of two, and the shortcut
    assert all(name.startswith("stage3_") for name in stage)


def test_what_a_network_is_too_small_for_is_left_out_and_said():
    """What is left out has its reason beside it, and the rest is still there."""
    work = make_workload("mlp", 8, 8, image_size=4)
    known, left_out = rows(work)
    assert known[0].name == "plain"
    assert all(why for why in left_out.values())


def test_micro_batches_have_no_flops():
    out = run_benchmark(
        "mlp", 4, 4, image_size=8, rounds=1, only=["famus_head"], micro_batches=2, draws=0
    )
    plain, head = out["rows"]
    assert plain["flops_ratio"] == 1
    assert head["flops_ratio"] is None
    assert "loops" in head["note"]
    assert head["step_ms"] > 0
    assert head["cosine_weights"] is None
    assert "famus_head" in table(out)


@pytest.mark.slow
def test_bfloat16_and_remat_are_said():
    out = run_benchmark(
        "mlp",
        4,
        4,
        image_size=8,
        rounds=1,
        only=["active_only_head"],
        precision="bfloat16",
        remat=True,
        draws=0,
    )
    assert "bfloat16" in table(out)
    assert "rematerialised" in table(out)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--variants=fast"], "'fast'"),
        (["--draws=-1"], "draws"),
        (["--micro_batches=3"], "micro_batches=3"),
        (["--micro_batches=2", "--picture=x.png"], "--picture"),
        (["--image_size=0"], "image_size"),
        (["--batch=0"], "batch=0"),
    ],
)
def test_errors_name_the_value(flags, words, capsys):
    assert main(["--model=mlp", "--batch=8", "--image_size=8", *flags]) == 1
    assert words in capsys.readouterr().err
