"""Configs are refused before any work, with the value and the way out in the message."""

import copy
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from famus_jax.train.build import build_schedule
from famus_jax.train.config import default_config, parse_config

GOOD = {
    "data": {"noise": "pair_flip", "noise_rate": 0.4},
    "schedule": {"steps": 20, "eval_every": 10, "checkpoint_every": 10},
    "runs": [{"method": "ce"}, {"method": "l2r", "estimator": {"kind": "last_layers", "k": 1}}],
    "seeds": [0, 1],
}


def changed(path, value):
    config = copy.deepcopy(GOOD)
    *parents, last = path
    inner = config
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("data", "noise"), "pairflip", ["data.noise", "'pairflip'", "pair_flip"]),
        (("data", "noise_rate"), 40, ["data.noise_rate", "[0, 1]", "40"]),
        (("data", "tolerance"), 1, ["data.tolerance", "[0, 1)", "got 1"]),
        (("data", "trusted_per_class"), -1, ["data.trusted_per_class", "[0, 2147483647]; got -1"]),
        (("data", "trusted_per_class"), 0, ["'l2r'", "needs trusted", "data.trusted_per_class"]),
        (("data", "path"), "stream_", ["data.path", "did you mean 'stream'", "memory"]),
        (("data", "workers"), 2, ["data.workers = 2", "data.path = 'stream'"]),
        (("data", "threads"), 0, ["data.threads", "0"]),
        (
            ("data",),
            {"path": "stream", "source": "a.npz"},
            ["data.source = 'a.npz'", "data.path = 'memory'"],
        ),
        (("data", "imbalance_factor"), 0.01, ["data.imbalance_factor", "0.01", "write 100"]),
        (("data", "imbalance_profile"), "exp", ["data.imbalance_profile", "'exp'", "mwnet"]),
        (("data", "nois"), "x", ["data", "'nois'", "did you mean 'noise'"]),
        (("schedule", "checkpoint_every"), 15, ["15", "multiple", "10"]),
        (("schedule", "batch_size"), 0, ["schedule.batch_size", "0"]),
        (("schedule", "decay"), "cos", ["schedule.decay", "'cos'", "cosine"]),
        (("runs",), [{"method": "mwnt"}], ["'mwnt'", "did you mean 'mwnet'"]),
        (("runs",), [{"method": "mwnet"}], ["mwnet", "estimator", "all_layers"]),
        (
            ("runs",),
            [{"method": "ce", "estimator": {"kind": "all_layers"}}],
            ["'ce'", "no meta-model"],
        ),
        (("runs",), [{"method": "finetune"}], ["'finetune'", "'ce'", "add that run"]),
        (("runs",), [{"method": "ce"}, {"method": "ce"}], ["same method and estimator"]),
        (
            ("runs",),
            [{"method": "l2r", "estimator": {"kind": "lastlayers"}}],
            ["'lastlayers'", "last_layers"],
        ),
        (
            ("runs",),
            [{"method": "l2r", "estimator": {"kind": "last_layers"}}],
            ["last_layers", "'k'"],
        ),
        (
            ("runs",),
            [{"method": "mwnet", "estimator": {"kind": "learned_gates"}}],
            ["gates_paper", "before it is dispatched", '"lag": 2'],
        ),
        (("transition",), {"step": 0}, ["transition.step", "(0, 1e+06]; got 0"]),
        (("transition",), {"stp": 1}, ["transition", "did you mean 'step'"]),
        (("label_correction",), {"hidden": 0}, ["label_correction.hidden", "[1, 65536]; got 0"]),
        (("long_tail",), {"beta": 1.0}, ["long_tail.beta", "[0, 1)", "1.0"]),
        (("long_tail",), {"gamma": -1.0}, ["long_tail.gamma", "-1.0"]),
        (("long_tail",), {"defer": 160}, ["long_tail.defer", "[0, 1]; got 160"]),
        (("runs",), [{"method": "mlc"}], ["'mlc'", "estimator", "all_layers"]),
        (("runs",), [{"method": "ldam"}], ["'ldam'", "scale = 30", "cosine_head = True"]),
        (("model",), {"overrides": {"cosine_head": True}}, ["'ce'", "leave cosine_head out"]),
        (("model",), {"dtype": "float16"}, ["model.dtype", "'float16'", "bfloat16"]),
        (("seeds",), [], ["at least one run and one seed"]),
        (("seeds",), [3, 0, 3], ["seeds", "3 is there twice"]),
        (("seeds",), [0, -1], ["seeds[1]", "got -1"]),
        (("seeds",), 0, ["seeds must be a list; got 0"]),
        (("runs",), [{"estimator": {"kind": "all_layers"}}], ["runs[0] needs 'method'"]),
        (("runs",), ["ce"], ["runs[0] must be a section", "'ce'"]),
        (("data",), 5, ["data must be a section", "got 5"]),
        (("data", "source"), "a\0b", ["data.source", "control characters"]),
        (("data", "augment"), {"kind": float("nan")}, ["data.augment.kind must be finite"]),
        (("model",), {"overrides": {"widths": object()}}, ["model.overrides.widths must be text"]),
        (("schedule", "milestones"), [80, 50], ["schedule.milestones must rise", "(80, 50)"]),
        (("schedule", "milestones"), [50, 80.5], ["schedule.milestones[1]", "80.5"]),
        (("schedule", "learning_rate"), 0, ["schedule.learning_rate", "(0, 1e+06]; got 0"]),
        (("schedule", "momentum"), 1.0, ["schedule.momentum", "[0, 1); got 1.0"]),
        (("sedes",), [0], ["'sedes'", "did you mean 'seeds'"]),
    ],
)
def test_bad_value_is_named(path, value, words):
    with pytest.raises(ValueError) as error:
        parse_config(changed(path, value))
    for word in words:
        assert word in str(error.value)


def _numbers():
    """Every section.name of a config that holds a number."""
    for section, values in default_config().to_dict().items():
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield section, name, value


SIGNED = ("log_zero", "smoothing")  # stand for log 0, and move labels away from what they say


@pytest.mark.parametrize(("section", "name", "default"), list(_numbers()))
def test_no_number_may_be_nonsense(section, name, default):
    """Nothing else of a config may be negative. Fails if a field is added without bounds, if NaN slips
    through a comparison, or a truth value or text passes for a number; and if the default is refused.
    """
    bad = [math.nan, math.inf, -math.inf, -1, -1e-9, 1e18, 10**400, True, "1", None, [1]]
    if name in SIGNED:
        bad = [value for value in bad if value not in (-1, -1e-9)]
    if isinstance(default, int):
        bad += [default + 0.5]
    for value in bad:
        with pytest.raises(
            ValueError, match=rf"^{section}\.{name} must (lie|be a whole number) in"
        ):
            parse_config({**GOOD, section: {name: value}})
    parse_config({**GOOD, section: {name: default}})


def test_numbers_of_other_libraries_are_taken_as_plain_ones():
    """Fails if numpy's numbers reach the record of the config, which is JSON."""
    config = changed(("schedule", "steps"), np.int64(20))
    config["schedule"]["learning_rate"] = np.float32(0.5)
    parsed = parse_config(config)
    assert type(parsed.schedule.steps) is int
    assert type(parsed.schedule.learning_rate) is float
    assert parsed.digest() == parse_config(changed(("schedule", "learning_rate"), 0.5)).digest()


def test_equal_configs_share_a_digest_and_others_do_not():
    """Fails if a field is left out of the digest (a resumed run would mix two experiments)."""
    assert parse_config(GOOD).digest() == parse_config(copy.deepcopy(GOOD)).digest()
    assert (
        parse_config(GOOD).digest() != parse_config(changed(("data", "noise_rate"), 0.41)).digest()
    )


def test_schedules_by_hand():
    """Fails if a milestone divides by another factor, or cosine does not end at 0."""
    config = changed(("schedule",), {"steps": 100, "decay": "step", "milestones": [50, 80]})
    rate = build_schedule(parse_config(config).schedule)
    np.testing.assert_allclose([rate(0), rate(51), rate(99)], [0.1, 0.01, 0.001], rtol=1e-6)
    cosine = build_schedule(parse_config(changed(("schedule",), {"steps": 100})).schedule)
    np.testing.assert_allclose([cosine(0), cosine(50), cosine(100)], [0.1, 0.05, 0], atol=1e-8)


@pytest.mark.parametrize(
    ("variant", "rate", "steps"), [("40", 0.4, 20_000), ("60", 0.6, 20_000), ("smoke", 0.4, 300)]
)
def test_cifar10_config(variant, rate, steps):
    """The paper's setting, and what its smoke variant shrinks."""
    path = Path(__file__).parents[2] / "configs" / "cifar10.py"
    spec = importlib.util.spec_from_file_location("cifar10_config", path)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = parse_config(module.get_config(variant).to_dict())
    assert (config.data.noise_rate, config.schedule.steps) == (rate, steps)
    assert (config.data.trusted_per_class, config.schedule.batch_size) == (100, 100)
    alpha = build_schedule(config.schedule)
    np.testing.assert_allclose([alpha(0), alpha(steps)], [0.05, 0.0005], rtol=1e-6)
    with pytest.raises(ValueError, match="80: choose one of 40, 60, smoke"):
        module.get_config("80")
