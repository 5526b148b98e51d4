"""Two networks without trusted labels: whose split is whose, resuming inside an epoch, refusals."""

import contextlib
import json

import jax
import numpy as np
import pytest

from famus_jax.train import loop
from famus_jax.train.config import parse_config
from famus_jax.train.experiment import run_experiment
from famus_jax.train.two_networks import advance, runs
from famus_jax.train.two_networks.state import first_state

DEPTH = {"kind": "random_depth", "probabilities": 0.5, "virtual_step": "active"}
MIXED = {"method": "mixmatch_pseudo_clean", "estimator": DEPTH}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def tiny(data_dir, *runs, **pseudo_clean):
    settings = {"warm_up_steps": 3, "split_every": 3, "lambda_u": 2.0, "ramp_steps": 2}
    return {
        "data": {
            "noise_rate": 0.4,
            "trusted_per_class": 0,
            "validation_per_class": 5,
            "data_dir": data_dir,
            "max_train": 400,
            "max_test": 100,
            "augment": "shift",
        },
        "model": {"name": "mlp", "overrides": {"hidden": (16,)}},
        "schedule": {
            "steps": 8,
            "batch_size": 16,
            "meta_batch_size": 8,
            "eval_every": 2,
            "checkpoint_every": 4,
        },
        "pseudo_clean": {**settings, **pseudo_clean},
        "runs": list(runs),
        "seeds": [0],
    }


def numbers(tree):
    """The leaves as numpy arrays, keys as their data."""
    dtypes = jax.dtypes
    return [
        np.asarray(jax.random.key_data(x) if dtypes.issubdtype(x.dtype, dtypes.prng_key) else x)
        for x in jax.tree.leaves(tree)
    ]


@pytest.mark.slow
def test_resumes_bit_for_bit_inside_an_epoch(data_dir, tmp_path, monkeypatch):
    """Stopped after step 6, resumed from step 4, in the epoch of the split at step 3: the same bits.

    Fails if the mixture's probabilities, the split, either network, or a key is not restored, or
    resuming splits anew.
    """
    made, make = {}, runs.train_step  # the runs share compiled steps, to save time

    def once(problem, *args, **kwargs):
        return made.setdefault(problem.method.name, make(problem, *args, **kwargs))

    monkeypatch.setattr(runs, "train_step", once)
    kept, train = {}, loop.train

    def keep(run, folder, on_progress, clock):
        kept[folder.parents[2].name] = done = train(run, folder, on_progress, clock)
        return done

    def interrupt(run, folder, on_progress, clock):
        def stop(count, newest):
            stop.taken += count
            if stop.taken == 6:
                raise InterruptedError

        stop.taken = 0
        return train(run, folder, stop, clock)

    quiet, config = {"show": lambda text: None}, tiny(data_dir, MIXED)
    monkeypatch.setattr(loop, "train", keep)
    run_experiment(config, tmp_path / "whole", **quiet)
    monkeypatch.setattr(loop, "train", interrupt)
    with pytest.raises(InterruptedError):
        run_experiment(config, tmp_path / "parts", **quiet)
    monkeypatch.setattr(loop, "train", keep)
    run_experiment(config, tmp_path / "parts", **quiet)
    for a, b in zip(numbers(kept["whole"].state), numbers(kept["parts"].state), strict=True):
        np.testing.assert_array_equal(a, b)
    texts = [
        next((tmp_path / name / "runs").glob("*/seed_0/metrics.jsonl")).read_text()
        for name in ("whole", "parts")
    ]
    assert texts[0] == texts[1]
    records = [json.loads(line) for line in texts[0].splitlines()]
    assert [record.get("split_step") for record in records] == [None, 3, 3, 6]
    assert [record["cost"] > 3 for record in records] == [False, True, True, True]
    state = kept["whole"].state
    assert np.isfinite(state.probability).sum() == 2 * (400 - 50)  # of the training set alone
    assert not np.array_equal(state.probability[0], state.probability[1], equal_nan=True)


@pytest.mark.slow
def test_every_method_needs_no_trusted_labels(data_dir, tmp_path):
    """All rows side by side; the ranked list of labels is left behind."""
    chosen = (
        {"method": "ce"},
        {"method": "mwnet_pseudo_clean", "estimator": {"kind": "all_layers", "examples": 8}},
        {"method": "dividemix"},
    )
    result = run_experiment(tiny(data_dir, *chosen), tmp_path, show=lambda text: None)
    rows = {row["method"]: row for row in result["rows"]}
    assert rows["ce"]["probability_auroc"] is None
    for method in ("mwnet_pseudo_clean", "dividemix"):
        assert 0 <= rows[method]["probability_auroc"] <= 1
        path = next((tmp_path / "runs").glob(f"{method}*/seed_0/weights.npz"))
        told = np.load(path)
        assert len(told["ids"]) == len(told["clean_probability"]) == 400
        seen = np.isfinite(
            told["aum"]
        ).sum()  # of mixed batches by the splits, else by 16 steps on 16
        assert seen == 400 - 50 if method == "dividemix" else 0 < seen <= 256
        assert (path.parents[1] / "label_issues.csv").exists()
    assert rows["dividemix"]["weight_auroc"] is None


class Recorder:
    """Stands in for streams: remembers which examples each network was given."""

    def __init__(self):
        self.given = {}

    def __call__(self, stack, clean, meta_clean, k):
        self.given[k] = (clean.copy(), meta_clean.copy())
        return advance.Parts(None, None, None)


class TwoLosses:
    """An evaluator that finds examples 0-4 easy for the first network, 5-9 for the second."""

    def losses(self, member, batches):
        values = np.where((np.arange(10) < 5) == (member[0] == "first"), 0.1, 2.0)
        return (values + np.linspace(0, 0.01, 10)).astype(np.float32), np.arange(10)


class Nothing:
    def twin(self):
        return self


class Network:
    def __init__(self, params):
        self.params, self.model_state = params, ()


def test_each_network_works_with_its_peers_split():
    """Fails if a network is given its own split, or the meta set another one's."""
    recorder = Recorder()
    config = parse_config(
        {"runs": [{"method": "dividemix"}], "pseudo_clean": {"threshold": 0.5}}
    ).pseudo_clean
    two = advance.TwoNetworks(
        config=config,
        warm_up=(None, None),
        steps=Nothing(),
        warm_streams=(None, None),
        open_parts=recorder,
        training_set=None,
        evaluator=TwoLosses(),
        targets=None,
        sizes=(2, 2),
        split_every=4,
        stack=contextlib.ExitStack(),
    )
    networks = (Network("first"), Network("second"))
    state = first_state(networks, jax.random.key(0), 10, 1)
    state = two._split(state, 0)
    two._current_parts(state)
    easy = np.arange(10) < 5
    for k, expected in ((0, ~easy), (1, easy)):
        np.testing.assert_array_equal(recorder.given[k][0], expected)
        np.testing.assert_array_equal(recorder.given[k][1], expected)


class OneBatch:
    """A stream that has the same batch at every step."""

    def batch(self, t):
        return {"index": np.arange(2), "label": np.zeros(2, np.int32)}


def test_labels_are_refined_by_the_peers_probabilities():
    """By two networks with losses of their own: the first one finds examples 0 to 4 easy,
    so the second one's targets believe those labels, and the other way round.

    Fails if a network refines labels with its own probabilities, which it is sure of by itself.
    """
    told = {}

    def targets(own, peer, x, u, meta, probability, key):
        told[own[0]] = (peer[0], np.asarray(probability) > 0.5)
        return x, None

    two = advance.TwoNetworks(
        config=parse_config(
            {"runs": [{"method": "dividemix"}], "pseudo_clean": {"threshold": 0.5}}
        ).pseudo_clean,
        warm_up=(None, None),
        steps=Nothing(),
        warm_streams=(None, None),
        open_parts=lambda *given: advance.Parts(OneBatch(), OneBatch(), None),
        training_set=None,
        evaluator=TwoLosses(),
        targets=targets,
        sizes=(2, 2),
        split_every=4,
        stack=contextlib.ExitStack(),
    )
    state = first_state((Network("first"), Network("second")), jax.random.key(0), 10, 1)
    state = two._split(state, 0)
    parts = two._current_parts(state)
    for k in (0, 1):
        two._batches(state, parts[k], k, 0)
    easy = np.arange(10) < 5
    assert told["first"][0] == "second"
    np.testing.assert_array_equal(told["first"][1], ~easy)
    np.testing.assert_array_equal(told["second"][1], easy)


def test_lambda_u_rises_from_the_end_of_the_warm_up():
    config = parse_config(
        {
            "runs": [{"method": "dividemix"}],
            "pseudo_clean": {"warm_up_steps": 10, "ramp_steps": 20, "lambda_u": 8.0},
        }
    ).pseudo_clean
    assert [config.lambda_u_at(t) for t in (10, 15, 30, 99)] == [0, 2, 8, 8]


@pytest.mark.parametrize(
    ("run", "settings", "message"),
    [
        ({"method": "finetune"}, {}, "'finetune' needs trusted examples.*pseudo_clean need none"),
        ({"method": "dividemix"}, {"warm_up_steps": 8}, "warm_up_steps = 8 must leave some of"),
        ({"method": "dividemix"}, {"threshold": 1.0}, r"threshold must lie in \(0, 1\); got 1.0"),
        ({"method": "dividemix"}, {"mixup": -1.0}, r"pseudo_clean.mixup must lie in \[0"),
        ({"method": "mwnet_pseudo_clean"}, {}, "give it an estimator"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_read(run, settings, message):
    config = tiny("/nowhere", {"method": "ce"}, run, **settings)
    with pytest.raises(ValueError, match=message):
        parse_config(config)
