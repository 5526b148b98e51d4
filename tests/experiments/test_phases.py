"""Phases add up to the step that is sold; samplers are cheap."""

import jax
import jax.numpy as jnp
import pytest

from experiments.phases import (
    PHASES,
    compile_prefixes,
    measure_phases,
    phase_table,
    steps_in_phases,
)
from experiments.pictures import draw_phases
from famus_jax import linen_forward
from famus_jax.benchmark.measure import compile_step, loop_free_flops
from famus_jax.benchmark.workload import lower_ours, lower_plain, make_workload
from famus_jax.core import gate_state as gs
from famus_jax.core.programs import Program
from famus_jax.gates import gate_preset
from famus_jax.gates.pooling import layer_widths
from famus_jax.layers.find import find_layers
from famus_jax.models import build_model

WORK = make_workload("cnn", 8, 8, image_size=8)


def names():
    """Slow: all but the cheapest to compile."""
    for name in steps_in_phases(WORK):
        yield pytest.param(name, marks=[] if name == "plain" else pytest.mark.slow)


@pytest.mark.parametrize("name", list(names()))
def test_phases_add_up_to_the_whole_step(name):
    """The last prefix against the training step that users call. Fails if the prefixes run other work
    than the step (a second forward, a deeper cut), or if a later one does less than an earlier."""
    estimator = steps_in_phases(WORK)[name]
    flops = [program.flops for program in compile_prefixes(WORK, estimator).values()]
    if estimator is None:
        whole = compile_step(*lower_plain(WORK)).flops
    else:
        whole = compile_step(*lower_ours(WORK, estimator, Program())).flops
    assert flops[-1] == pytest.approx(whole, rel=0.01)
    assert all(later >= 0.999 * earlier for earlier, later in zip(flops, flops[1:]))


@pytest.mark.slow
def test_phases_of_the_head_by_hand():
    """F = a forward pass: full 1, 2, 1, ~0, ~0, 2; active-only skips the virtual one."""
    work = make_workload("cnn", 16, 16, image_size=16)
    counts = {}
    for name in ("exact", "FaMUS, head", "active-only, head"):
        programs = compile_prefixes(work, steps_in_phases(work)[name])
        before = 0.0
        for phase, program in programs.items():
            counts[name, phase] = program.flops - before
            before = program.flops
    forward = counts["exact", "forward"]
    expected = {
        ("exact", "virtual backward"): 2,
        ("exact", "meta forward"): 1,
        ("exact", "meta backward"): 2,
        ("exact", "J v and θ"): 2,
        ("FaMUS, head", "virtual backward"): 2,
        ("FaMUS, head", "meta backward"): 0,
        ("FaMUS, head", "J v and θ"): 0,
        ("active-only, head", "virtual backward"): 0,
        ("active-only, head", "actual backward"): 2,
    }
    for where, passes in expected.items():
        assert counts[where] / forward == pytest.approx(passes, abs=0.3), where


@pytest.mark.slow
def test_measured_phases_table_and_picture(tmp_path):
    phases = measure_phases(make_workload("mlp", 4, 4, image_size=8), rounds=1)
    for step in phases:
        assert sum(bar["flops_ratio"] for bar in step["phases"]) == pytest.approx(
            step["flops_ratio"]
        )
        assert {bar["phase"] for bar in step["phases"]} <= set(PHASES)
    assert phases[0]["step"] == "plain"
    assert phases[0]["flops_ratio"] == pytest.approx(1, rel=0.01)
    assert "samplers" in phase_table(phases)
    result = {
        "phases": phases,
        "model": "mlp",
        "batch": 4,
        "meta_batch": 4,
        "precision": "float32",
        "provenance": {"device": "cpu"},
    }
    draw_phases(tmp_path / "phases.png", result)
    assert (tmp_path / "phases.png").read_bytes()[:4] == b"\x89PNG"


def forward_flops_wrn_28_10(n):
    """Multiplications and additions of the convolutions and the head, by hand."""

    def convolution(c_in, c_out, size, kernel=3):
        return 2 * n * c_in * c_out * (kernel * size) ** 2

    total, c_in = convolution(3, 16, 32), 16
    for c_out, size in ((160, 32), (320, 16), (640, 8)):
        for block in range(4):
            total += convolution(c_in, c_out, size) + convolution(c_out, c_out, size)
            total += convolution(c_in, c_out, size, kernel=1) if block == 0 else 0
            c_in = c_out
    return total + 2 * n * 640 * 10


@pytest.mark.parametrize(
    "preset",
    [
        pytest.param("paper", marks=pytest.mark.slow),
        "released",
        pytest.param("budget", marks=pytest.mark.slow),
    ],
)
def test_samplers_cost_under_two_percent_of_a_step(preset):
    """On WideResNet-28-10's 29 groups at batch 100: one draw and one training step of the samplers.

    Nothing of the network itself is compiled. Fails if samplers ran per example.
    """
    model = build_model("wrn_28_10", 10)
    image = jax.ShapeDtypeStruct((100, 32, 32, 3), jnp.float32)
    variables = dict(jax.eval_shape(model.init, jax.random.key(0), image))
    params = variables.pop("params")
    batch = {"image": image, "label": jax.ShapeDtypeStruct((100,), jnp.int32)}
    groups = find_layers(linen_forward(model), params, variables, jax.random.key(0), batch)
    assert len(groups) == 29
    widths = layer_widths(groups, params)
    spec = gate_preset(preset, lag=2)
    costs = tuple(3.33 - 1.33 * i / 5 for i in range(len(spec.cuts(groups))))
    state = gs.init_gates(spec, jax.random.key(0), groups, widths, 0.5, costs)

    def samplers(state, slopes, inputs):
        new, norms = gs.sampler_step(spec, state, gs.queued(state), slopes, 0.1, groups, costs)
        ahead = gs.draw_now(spec, new, jax.random.key(1), inputs, jnp.asarray(5), groups, costs)
        return gs.enqueue(new, ahead), ahead.branch, norms

    slopes = jnp.ones((len(groups),))
    inputs = jnp.ones((len(groups), max(widths)))
    flops = loop_free_flops(jax.jit(samplers).lower(state, slopes, inputs).compile())
    assert 0 < flops < 0.02 * 3 * forward_flops_wrn_28_10(100)
