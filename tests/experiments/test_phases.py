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
from famus_jax.core.active_layers import Seen
from famus_jax.core.programs import Program
from famus_jax.gates import gate_preset
from famus_jax.layers.find import find_layers
from famus_jax.models import build_model

WORK = make_workload("cnn", 8, 8, image_size=8)


def names():
    """Slow: all but the cheapest to compile."""
    for name in steps_in_phases(WORK):
        yield pytest.param(name, marks=[] if name == "plain" else pytest.mark.slow)


@pytest.mark.parametrize("name", list(names()))
def test_phases_add_up_to_the_whole_step(as_shipped, name):
    """The last prefix against the training step that users call. Fails if the prefixes run other work
    than the step (a second forward, a deeper program), or if a later one does less than an earlier."""
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
    """F = a forward pass: full 1, 2, 1, ~0, ~0, 2; an active virtual step skips that one."""
    work = make_workload("cnn", 16, 16, image_size=16)
    counts = {}
    for name in ("all layers", "last layer", "last layer, active virtual step"):
        programs = compile_prefixes(work, steps_in_phases(work)[name])
        before = 0.0
        for phase, program in programs.items():
            counts[name, phase] = program.flops - before
            before = program.flops
    forward = counts["all layers", "forward"]
    expected = {
        ("all layers", "virtual backward"): 2,
        ("all layers", "meta forward"): 1,
        ("all layers", "meta backward"): 2,
        ("all layers", "J v and θ"): 2,
        ("last layer", "virtual backward"): 2,
        ("last layer", "meta backward"): 0,
        ("last layer", "J v and θ"): 0,
        ("last layer, active virtual step", "virtual backward"): 0,
        ("last layer, active virtual step", "actual backward"): 2,
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


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "released", "budget"])
def test_samplers_cost_under_two_percent_of_a_step(preset):
    """On WideResNet-28-10's 29 layers at batch 100: one draw and one training step of the samplers.

    Nothing of the network itself is compiled. Fails if samplers ran per example.
    """
    model = build_model("wrn_28_10", 10)
    image = jax.ShapeDtypeStruct((100, 32, 32, 3), jnp.float32)
    variables = dict(jax.eval_shape(model.init, jax.random.key(0), image))
    params = variables.pop("params")
    batch = {"image": image, "label": jax.ShapeDtypeStruct((100,), jnp.int32)}
    layers = find_layers(linen_forward(model), params, variables, jax.random.key(0), batch)
    assert len(layers) == 29
    gates = gate_preset(preset, lag=2)
    costs = tuple(3.33 - 1.33 * i / 5 for i in range(len(gates.programs(layers))))
    seen = Seen(layers, costs, step_size=0.1)
    state = gates.init(jax.random.key(0), params, seen)
    waiting = gates.draw(state, jax.random.key(1), jnp.asarray(3), seen)

    def samplers(state, draw, slopes, gradient):
        now = seen._replace(slopes=slopes, gradient=gradient)
        new, norms = gates.learn(state, draw, now)
        return new, gates.draw(new, jax.random.key(1), jnp.asarray(5), now), norms

    slopes = jnp.ones((len(layers),))
    flops = loop_free_flops(jax.jit(samplers).lower(state, waiting, slopes, params).compile())
    assert 0 < flops < 0.02 * 3 * forward_flops_wrn_28_10(100)
