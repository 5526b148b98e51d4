"""Going wrong is noticed: a warning at the next evaluation, an error where nothing can come of it."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import famus_jax as famus
from famus_jax.train import health, loop
from famus_jax.train.measure import Taken, Told, rank_correlation
from famus_jax.train.suspect import suspect_of

GUESSING = math.log(10)
META = {"loss": 2.0, "meta_loss": 2.0, "theta_norm": 0.1, "open_layers": 3.0}


def window(count=4, *, meta=None, **changes):
    fine = Told(
        loss=2.0, cost=1.3, metrics={"train_accuracy": 0.3}, meta={**META, **(meta or {})},
        clean=(12.0, 12), wrong=(4.0, 4), least=0.5, most=1.5,
    )  # fmt: skip
    return [[fine._replace(**changes)]] * count


def said(steps, history=(), weighs=True):
    return " | ".join(health.warnings_of(steps, history, GUESSING, weighs))


def test_a_healthy_run_is_left_alone():
    """Fails if what every run does at times is warned of: a loss that starts high because its logits
    are scaled, one batch without weights, weights nearly alike, steps without a meta update."""
    assert not said(window())
    assert not said(window(loss=20.0), [{"loss": 60.0}])
    assert not said(window(loss=60.0))  # the first of a loss on scaled logits
    assert not said(window() + window(1, least=0.0, most=0.0))
    assert not said(window(least=0.9999, most=1.0001))
    assert not said([[one[0]._replace(meta={})] for one in window(loss=0.01)])
    assert not said(window(least=1.0, most=1.0), weighs=False)  # label correction believes them all
    health.refuse_hopeless(window(loss=0.0), [{"loss": 2.0}], GUESSING, 200, 200)


def test_weights_that_prefer_large_losses():
    """Fails if the warning comes for weights that fall with the loss or hardly rise, for rare classes,
    whose losses are large by right, where weights tell nothing, or if steps without an answer count."""
    assert not said(window(rise=-1.0))
    assert not said(window(rise=0.3))
    assert not said(window(rise=1.0), weighs=False)
    assert not health.warnings_of(window(rise=1.0), [], GUESSING, True, long_tail=True)
    assert "(rank correlation 1.00)" in said(window(rise=1.0) + window(6))


@pytest.mark.parametrize("decimals", [1, 6])
def test_the_rank_correlation_is_scipys(decimals):
    """Fails for Pearson's, for a sign, or for ties of weights (those of L2R are mostly 0) that are
    ranked by their order."""
    rng = np.random.default_rng(0)
    losses = rng.permutation(50).astype(np.float32)
    weights = np.maximum(np.round(rng.normal(size=50) - 0.03 * losses, decimals), 0)
    expected = float(scipy.stats.spearmanr(weights, losses)[0])
    assert rank_correlation(weights, losses) == pytest.approx(expected, abs=1e-9)
    assert rank_correlation(weights, None) is None
    assert rank_correlation(np.ones(50), losses) is None
    assert rank_correlation(weights, np.ones(50)) is None
    assert rank_correlation(weights, np.where(losses == 3, np.nan, losses)) is None


def test_a_loss_is_large_beside_the_one_that_it_began_with():
    """Fails if the lowest so far is what counts: a loss on scaled logits that learns well and jumps, to
    less than it began with, would be warned of, and ended where logits are scaled much."""
    history = [{"loss": 60.0}, {"loss": 0.5}]
    assert not said(window(loss=60.0), history)
    assert "loss reached 610" in said(window(loss=610.0), history)
    health.refuse_hopeless(window(loss=5.8e4), history, GUESSING, 12, 1000)
    with pytest.raises(FloatingPointError, match="grown to"):
        health.refuse_hopeless(window(loss=6.1e5), history, GUESSING, 12, 1000)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (window() + window(1, loss=5.8e3), "loss reached 5.8e+03, and guessing has 2.3"),
        (window(loss=0.0, meta={"meta_loss": 4560.0}), "meta_loss reached 4.56e+03"),
        (window(least=0.0, most=0.0), "the weights of all examples were 0 in every step"),
        (window(3, least=0.0, most=0.0) + window(1), "were 0 in 3 of 4 steps"),
        (window(least=1.0, most=1.0), "same weight in every step, which is plain training"),
        (window(meta={"theta_norm": 0.0}), "the meta gradient was exactly 0"),
        (window(meta={"theta_norm": math.inf}), "theta_norm was inf in 4 of 4 steps"),
        (window(meta={"meta_loss": math.nan}), "meta_loss was nan"),
        (window(rise=0.9), "the weights rise with the loss (rank correlation 0.90)"),
        (window(metrics={"train_accuracy": math.nan}), "train_accuracy was nan"),
        (window(clean=(math.inf, 12)), "a weight was inf"),
        (window(meta={"penalty": -math.inf}), "penalty was -inf"),  # what active layers report
    ],
)
def test_what_looks_wrong_is_said(steps, words):
    assert words in said(steps, [{"loss": 2.1}])


@pytest.mark.parametrize(
    ("steps", "history", "last", "words"),
    [
        (window(loss=5.8e8), [{"loss": 2.1}], 8, "grown to 5.8e+08"),
        (window(loss=0.0), [], 4, "exactly 0 in all of the first 4 steps"),  # the whole run
        (window(loss=0.0), [{"loss": 0.0}], 100, "no training example agrees with the trusted"),
    ],
)
def test_what_is_hopeless_ends(steps, history, last, words):
    with pytest.raises(FloatingPointError, match=words.replace("+", r"\+")):
        health.refuse_hopeless(steps, history, GUESSING, last, last if last < 100 else 1000)


def test_a_loss_of_zero_for_a_while_is_no_end():
    health.refuse_hopeless(window(loss=0.0), [], GUESSING, 4, 1000)


def test_the_example_to_blame_is_named():
    """Fails for an outlier of another batch, or if ordinary features are suspected."""
    features = np.ones((5, 3), np.float32)
    features[3, 1] = -1e30
    ids = [f"row_{i}" for i in range(5)]
    assert "example 'row_3' holds 1e+30" in suspect_of(features, ids, np.array([0, 3, 4]))
    assert suspect_of(features, ids, np.array([0, 1, 2])) == ""
    assert suspect_of(np.zeros((5, 2, 2, 1), np.uint8), ids, np.array([0, 3])) == ""


PARAMS = {"body": jnp.full((3, 4), 0.1), "head": jnp.full((4, 2), 0.1)}
BATCH = {"x": np.ones((4, 3), np.float32), "label": np.arange(4, dtype=np.int32) % 2}


class Steps:
    """One network on one batch, with a feature of infinity at the bad steps: tanh of it is 1, so that
    the loss stays finite, but its gradient is 0 times infinity."""

    compilations = 1

    def __init__(self, *bad):
        forward = famus.stateless_forward(
            lambda w, x: jnp.tanh(x @ w["body"]) @ w["head"], input="x"
        )
        problem = famus.problem(forward, famus.methods.cross_entropy())
        self.step = famus.train_step(problem, optax.sgd(0.1), step_size=0.1)
        self.bad = bad

    def __call__(self, state, t):
        x = BATCH["x"].copy()
        x[0, 0] = np.inf if t in self.bad else 1
        state, info = self.step(state, {**BATCH, "x": x})
        return state, (Taken(np.arange(4), info),)


def train(folder, *bad, steps=10, on_progress=lambda taken, newest: None):
    advance = Steps(*bad)
    run = loop.Run(
        name="one",
        advance=advance,
        state=advance.step.init(jax.random.key(0), PARAMS, (), BATCH),
        evaluate=lambda state: {"test_accuracy": 0.5, "validation_accuracy": 0.5},
        wrong=np.zeros(4, bool),
        known=False,
        learns=False,
        reweights=False,
        weighs=False,
        steps=steps,
        eval_every=5,
        checkpoint_every=5,
        guessing=math.log(2),
    )
    return loop.train(run, folder, on_progress)


def test_parameters_that_break_in_the_last_step_are_no_result(tmp_path):
    """Fails if only losses are looked at: the loss of a step is from before its update, so what the
    last update breaks would be saved and reported. The good steps before stay saved."""
    with pytest.raises(
        FloatingPointError, match=r"one: params\['body'\] is not finite after step 9"
    ):
        train(tmp_path, 9)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [5]
    done = train(tmp_path)  # goes on from step 5
    assert np.isfinite(done.state.params["body"]).all()
    assert [record["step"] for record in done.history] == [5, 10]


def test_a_loss_that_is_not_finite_names_run_and_step(tmp_path):
    with pytest.raises(FloatingPointError, match=r"one: the loss is nan at step 3\. Lower"):
        train(tmp_path, 2)
    assert not (tmp_path / "metrics.jsonl").read_text()


def test_a_state_is_looked_at_in_one_go(monkeypatch):
    """Fails if every part of it is a program of its own, waited for alone; or if what is named first is
    not the first of the parts but that of the alphabet."""
    step = Steps().step
    pair = [step.init(jax.random.key(k), PARAMS, (), BATCH) for k in (0, 1)]
    waits, get = [], jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: waits.append(tree) or get(tree))
    programs, finite = [], health._finite
    monkeypatch.setattr(health, "_finite", lambda *args: programs.append(args) or finite(*args))
    health.refuse_nonfinite_state(pair, 0, 5)
    assert len(programs) == 1
    assert len(waits) == 1
    bad = jax.tree.map(lambda x: x * jnp.nan, PARAMS)
    pair[1] = pair[1]._replace(params=bad, model_state={"mean": jnp.array(jnp.nan)})
    with pytest.raises(FloatingPointError, match=r"params of network 1\['body'\] is not finite"):
        health.refuse_nonfinite_state(pair, 0, 5)


def test_a_run_that_goes_on_does_not_repeat_its_warnings(tmp_path, monkeypatch):
    """Fails if the last record is handed over with what has been said of it before."""
    monkeypatch.setattr(health, "warnings_of", lambda *unused, **more: ["odd"])
    told = []
    train(tmp_path, steps=5, on_progress=lambda taken, newest: told.append(newest))
    train(tmp_path, steps=10, on_progress=lambda taken, newest: told.append(newest))
    assert [newest["step"] for newest in told] == [5, 5, 10]
    assert [newest.get("warnings") for newest in told] == [["odd"], None, ["odd"]]


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ([0.2, 0.45, 0.3], 0.1, "fell to 10.0%, from 45.0% at its best"),
        ([0.45], 0.23, ""),  # learned by heart, say
        ([0.2], 0.08, ""),  # chance
        ([], 0.1, ""),
        ([0.45, None], None, ""),
    ],
)
def test_a_training_that_breaks_down_is_said(before, now, said):
    """Fails if a network may fall to chance without a word, or learning noise by heart is called so."""
    history = [{"validation_accuracy": value} for value in before]
    found = health.broken_down(history, {} if now is None else {"validation_accuracy": now})
    assert len(found) == bool(said)
    assert said in " ".join(found)
