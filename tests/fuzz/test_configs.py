"""Any config, any command line: done, or refused by name before a folder is made."""

import copy
import dataclasses
import math
import re

import numpy as np
import pytest
from fuzz.oracle import fuzz, in_time, junk, numbers, refusal, texts
from hypothesis import strategies as st

from famus_jax.cli import COMMANDS, main
from famus_jax.data.augment.named import KINDS as AUGMENTS
from famus_jax.train import experiment
from famus_jax.train.config import default_config, parse_config
from famus_jax.train.estimator_spec import KINDS
from famus_jax.train.experiment import Experiment
from famus_jax.train.methods import METHODS

pytestmark = pytest.mark.filterwarnings("ignore")
ESTIMATOR_WORDS = (
    "k", "names", "examples", "virtual_step", "update_every", "route", "control_variate_every",
    "epsilon", "through_optimizer", "layers_by", "preset", "target", "lag", "temperature", "s",
    "max_programs", "unbiased", "probabilities", "lowest",
    "probability", "hidden", "momentum", "learning_rate", "candidates", "closed_sign", "out_axis",
)  # fmt: skip


def _places(config, path=()):
    """Every place of a nested dict or list."""
    yield path
    items = ()
    if isinstance(config, dict):
        items = config.items()
    elif isinstance(config, list | tuple):
        items = enumerate(config)
    for key, value in items:
        yield from _places(value, (*path, key))


def _put(config, path, value):
    if not path:
        return value
    if isinstance(config, tuple | list):
        return [_put(x, path[1:], value) if i == path[0] else x for i, x in enumerate(config)]
    return {**config, path[0]: _put(config.get(path[0], {}), path[1:], value)}


estimators = st.builds(
    lambda kind, more: {"kind": kind, **more},
    st.sampled_from([*KINDS]),
    st.dictionaries(st.sampled_from(ESTIMATOR_WORDS), junk, max_size=2),
)
runs = st.builds(
    lambda method, estimator: {"method": method, **({"estimator": estimator} if estimator else {})},
    st.sampled_from([*METHODS]),
    st.one_of(st.none(), estimators),
)


@st.composite
def configs(draw):
    """The default, with up to three values replaced by anything, and runs of any kind."""
    config = default_config().to_dict()
    config["runs"] = draw(st.lists(runs, min_size=1, max_size=2))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from([p for p in _places(config) if len(p) < 4]))
        config = _put(config, path, draw(junk))
        if not isinstance(config, dict):
            break
    if isinstance(config, dict) and draw(st.booleans()):
        config = _put(config, (draw(texts),), draw(junk))
    return config


SIGNED = ("log_zero", "smoothing")
FACTORS = ("sce_beta", "rce_beta")  # of a loss: no shares


def check_config(config):
    """What is accepted is of the domain, and reads back as itself."""
    found = []
    if refusal(lambda: found.append(parse_config(config))):
        return
    plain = dataclasses.asdict(found[0])
    assert parse_config(copy.deepcopy(plain)) == found[0]
    for path in _places({k: v for k, v in plain.items() if k not in ("runs", "model")}):
        value = plain
        for key in path:
            value = value[key]
        if isinstance(value, int | float) and path[:2] != ("data", "augment"):
            assert math.isfinite(value), path
            assert (-1e3 if path[-1] in SIGNED else 0) <= value < 2**31, path
            if path[-1] not in FACTORS and re.search(
                "rate$|threshold|momentum|defer|beta", str(path[-1])
            ):
                assert value <= 1 or "learning_rate" in str(path[-1]), path
    assert len(set(found[0].seeds)) == len(found[0].seeds)


@pytest.mark.parametrize("count", [120, pytest.param(40_000, marks=pytest.mark.fuzz)])
def test_configs(count):
    fuzz(count, configs(), check_config)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A small data set of features."""
    path = tmp_path_factory.mktemp("source") / "a.npz"
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.normal(size=(90, 8)).astype("f4"), labels=np.arange(90) % 3)
    return str(path)


GOOD_RUNS = [{"method": "ce"}, {"method": "l2r", "estimator": {"kind": "last_layers", "k": 1}}]
overrides = st.dictionaries(
    st.one_of(
        st.sampled_from(["hidden", "cosine_head", "norm", "dropout", "dtype", "widths"]), texts
    ),
    st.one_of(numbers, st.lists(numbers, max_size=2), texts, junk),
    min_size=1,
    max_size=2,
)
augments = st.builds(
    lambda kind, more: {"kind": kind, **more},
    st.sampled_from([*AUGMENTS]),
    st.dictionaries(
        st.sampled_from(["size", "magnitude", "count", "scale", "ratio", "probability", "padding"]),
        st.one_of(numbers, st.lists(numbers, max_size=2), junk),
        max_size=2,
    ),
)


@st.composite
def experiments(draw):
    """What `parse_config` may let through: fields whose values other parts of the program judge."""
    config = {
        "data": {"validation_per_class": 5, "noise": "pair_flip"},
        "model": {"name": "mlp", "overrides": {"hidden": (4,)}},
        "schedule": {"steps": 4, "batch_size": 8, "eval_every": 2, "checkpoint_every": 2},
        "runs": [draw(st.one_of(st.sampled_from(GOOD_RUNS), runs))],
    }
    where = draw(st.sampled_from(["overrides", "augment", "source", "splits", "noise", "numbers"]))
    if where == "overrides":
        config["model"]["overrides"] = draw(overrides)
    elif where == "augment":
        config["data"]["augment"] = draw(st.one_of(augments, st.lists(augments, max_size=2), junk))
    elif where == "source":
        config["data"]["trusted_source"] = draw(texts)
    elif where == "splits":
        config["data"]["train_split"] = draw(texts)
    elif where == "noise":
        config["data"]["noise_table"] = draw(texts)
    else:
        names = ["validation_per_class", "trusted_per_class", "max_train", "max_test", "image_size"]
        config["data"][draw(st.sampled_from(names))] = draw(numbers)
    return config


@pytest.mark.parametrize("count", [40, pytest.param(3_000, marks=pytest.mark.fuzz)])
def test_experiments(count, source, tmp_path):
    """The same for what is made of a config before the first step, and no folder before it is fine."""

    def check(config):
        config = copy.deepcopy(config)
        config["data"]["source"] = source
        refusal(lambda: Experiment(parse_config(config), tmp_path / "work"))
        assert not (tmp_path / "work").exists()

    fuzz(count, experiments(), check)


FLAGS = (
    "--config=configs/quickstart.py", "--config=configs/cifar10.py:40", "--workdir=nowhere", "--fsdp",
    "--devices=all", "--max_minutes=", "--distributed", "--coordinator=", "--processes=", "--process=",
    "--batch=", "--rounds=", "--set=", "--rows=", "--model=", "--precision=", "--kind=", "--rate=",
    "--out=", "--seed=", "--source=", "--config.schedule.steps=", "--config.seeds=", "--config.runs=",
    "--config.data.source=", "--noconfig.schedule.nesterov", "--config.", "--help", "--version", "--",
)  # fmt: skip
words = st.one_of(
    st.sampled_from([*COMMANDS, "write", "inspect", "kinds", "config.schedule.steps=9"]),
    st.sampled_from(FLAGS),
    st.builds(
        lambda flag, value: flag + str(value), st.sampled_from(FLAGS), st.one_of(numbers, texts)
    ),
    texts,
)
lines = st.one_of(
    st.lists(words, max_size=5),
    st.builds(
        lambda more: ["train", "--config=configs/quickstart.py", "--workdir=nowhere", *more],
        st.lists(words, max_size=3),
    ),
)


@pytest.mark.parametrize("count", [120, pytest.param(30_000, marks=pytest.mark.fuzz)])
def test_command_lines(count, capsys, monkeypatch, tmp_path):
    """Exit status 0, 1 or 2; a failure is one line, and none of those that only `--traceback` explains.

    What a command would do is left out: the experiment is parsed only, other commands do nothing.
    """
    monkeypatch.setattr(experiment, "run_experiment", lambda config, *a, **k: parse_config(config))
    monkeypatch.setattr("famus_jax.parallel.processes.start", lambda *a, **k: None)
    monkeypatch.setattr("famus_jax.benchmark.command.run", lambda arguments: 0)
    monkeypatch.setattr("famus_jax.data.noise.cli.run", lambda arguments: 0)

    def check(line):
        with in_time():
            status = main(["famus", *line])
        said = capsys.readouterr().err
        assert status in (0, 1, 2)
        assert "Traceback" not in said
        assert "--traceback shows where" not in said, said
        if status and line and line[0] in COMMANDS:
            assert len(said.splitlines()) == 1, said
            assert said.startswith(f"famus {line[0]}"), said

    fuzz(count, lines, check)
