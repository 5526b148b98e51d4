"""Networks of all folds, against each of them trained alone by a plain loop."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from famus_jax.audit import training
from famus_jax.audit.folds import Folds, make_folds
from famus_jax.audit.networks import Scaled
from famus_jax.audit.training import Plan, predict, train_folds
from famus_jax.evidence.sums import read
from famus_jax.models.build import build_model

N, D, C, K = 90, 5, 3, 4
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(N, D)).astype(np.float32)
LABELS = X[:, :C].argmax(1).astype(np.int32)
LABELS[-6:] = -1
IDS = np.array([f"x{i}" for i in range(N)])
FOLDS = make_folds(LABELS, IDS, C, count=K)
INPUTS = Scaled((0.1,) * D, (1.5,) * D)
PLAN = Plan(4, batch_size=16, learning_rate=1e-2, weight_decay=0.1, skipped=0.3)


def module(dropout=0.0):
    return build_model("mlp", C, hidden=(8,), dropout=dropout)


def trained(plan=PLAN, folds=FOLDS, dropout=0.0, **options):
    return train_folds(module(dropout), jnp.asarray(X), INPUTS, folds, C, plan, seed=3, **options)


def alone(k):
    """Network k by optax's AdamW with a schedule, and what it says of what it left out."""
    network = module()
    scaled = jnp.asarray((X - np.float32(0.1)) / np.float32(1.5))
    own = int(FOLDS.seen.sum(1).min())
    steps = own // 16

    def rate(step):  # up for a tenth of the training, then down as a cosine
        done = step / (PLAN.epochs * steps)
        rising = 0.1 + 9 * done
        falling = 0.5 * (1 + jnp.cos(jnp.pi * (done - 0.1) / 0.9))
        return 1e-2 * jnp.where(done < 0.1, rising, falling)

    optimizer = optax.adamw(rate, weight_decay=0.1)
    params = network.init(jax.random.key(3 * 1000 + k), scaled[:2])["params"]
    state, said = optimizer.init(params), []
    margins = np.zeros(N)
    for epoch in range(PLAN.epochs):
        order = np.random.default_rng((3, epoch, k)).permutation(np.flatnonzero(FOLDS.seen[k]))
        for step in range(steps):
            at = order[step * 16 : step * 16 + 16]

            def loss(params, at=at):
                log_p = jax.nn.log_softmax(
                    network.apply({"params": params}, scaled[at], train=False)
                )
                return -log_p[jnp.arange(16), FOLDS.labels[k][at]].mean()

            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
        logits = np.asarray(network.apply({"params": params}, scaled, train=False))
        for i in range(N):
            y = FOLDS.labels[k][i]
            margins[i] += logits[i, y] - max(logits[i, c] for c in range(C) if c != y)
        if epoch + 1 > 0.3 * PLAN.epochs:
            said.append(np.asarray(jax.nn.softmax(logits)))
    return params, np.mean(said, 0), margins / PLAN.epochs


@pytest.fixture(scope="module")
def one_by_one():
    return [alone(k) for k in range(K)]


def test_all_at_once_as_one_by_one(one_by_one):
    """Fails for another fold's batches, a rate of another step, or a decay that is not decoupled."""
    found = trained()
    assert found.epochs == PLAN.epochs
    said = np.zeros((N, C))
    for k, (params, mine, margins) in enumerate(one_by_one):
        theirs = jax.tree.map(lambda leaf, k=k: leaf[k], found.variables["params"])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), theirs, params)
        said[~FOLDS.seen[k]] += mine[~FOLDS.seen[k]]
        aum = read(jax.tree.map(lambda leaf, k=k: leaf[k], found.sums)).kinds["aum"]
        np.testing.assert_allclose(aum[FOLDS.seen[k]], margins[FOLDS.seen[k]], atol=1e-4)
        assert np.isnan(aum[~FOLDS.seen[k]]).all()
    passes = (~FOLDS.seen).sum(0)
    assert set(passes[LABELS >= 0]) == {1}
    assert set(passes[LABELS < 0]) == {K}
    np.testing.assert_allclose(found.held_out, said / passes[:, None], atol=1e-5)
    assert found.held_out.dtype == np.float32


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_taking_turns_gives_the_same_networks(dropout):
    """As convolutions are trained, with the same randomness; evidence is of the steps then."""
    one = trained(dropout=dropout)
    other = trained(PLAN._replace(vmapped=False), dropout=dropout)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one.variables, other.variables
    )
    np.testing.assert_allclose(one.held_out, other.held_out, atol=1e-5)
    # Every step's batch is counted where networks take turns: 3 of 16 an epoch.
    visits = np.asarray(other.sums.visits)
    assert (visits.sum(1) == PLAN.epochs * 16 * (FOLDS.seen.sum(1).min() // 16)).all()
    assert not visits[~FOLDS.seen].any()
    assert (np.asarray(one.sums.visits) == np.where(FOLDS.seen, PLAN.epochs, 0)).all()


def test_nobody_learns_what_is_left_out():
    """Another label in the fold that is left out changes nothing that its network says."""
    at = np.flatnonzero(~FOLDS.seen[0] & (LABELS >= 0))[0]
    labels = FOLDS.labels.copy()
    labels[0, at] = (labels[0, at] + 1) % C
    one, other = trained(), trained(folds=FOLDS._replace(labels=labels))
    np.testing.assert_array_equal(one.held_out, other.held_out)


def test_the_same_again_and_another_seed():
    one, two = trained(), trained()
    np.testing.assert_array_equal(one.held_out, two.held_out)
    other = train_folds(module(), jnp.asarray(X), INPUTS, FOLDS, C, PLAN, seed=4)
    assert (one.held_out != other.held_out).any()


@pytest.mark.parametrize("vmapped", [True, False])
def test_one_network_that_sees_all(vmapped):
    """As the one on mended labels: nothing is left out, so nothing is said of that."""
    one = Folds((LABELS >= 0)[None], LABELS[None], np.zeros((1, N), bool))
    found = trained(PLAN._replace(vmapped=vmapped, skipped=1.0), one)
    assert not found.held_out.any()
    assert all(leaf.shape[0] == 1 for leaf in jax.tree.leaves(found.variables))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.variables))


def test_fewer_examples_than_a_batch():
    found = trained(PLAN._replace(batch_size=1000))
    assert np.isfinite(found.held_out).all()


@pytest.mark.parametrize("seed", [-1, 2**40])
def test_any_seed(seed):
    found = train_folds(
        module(), jnp.asarray(X), INPUTS, FOLDS, C, PLAN._replace(epochs=1), seed=seed
    )
    assert np.isfinite(found.held_out).all()


@pytest.mark.parametrize(
    ("epochs", "seconds", "done"),
    [(30, 15.0, 6), (30, None, 30), (30, 1000.0, 30), (30, 0.0, 3), (30, -5.0, 3), (2, 0.0, 2)],
)
def test_the_time_there_is(monkeypatch, epochs, seconds, done):
    """The first epoch takes ten seconds, the others one each: by hand, 10 + 5 of 15 seconds are six."""
    clock = iter([100.0, *np.arange(110.0, 200.0)])
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    told = []
    found = trained(
        PLAN._replace(epochs=epochs, seconds=seconds), on_epoch=lambda *of: told.append(of)
    )
    assert found.epochs == done
    assert [at for at, _ in told] == list(range(1, done + 1))
    assert told[0][1] == epochs
    assert told[-1][1] == done


@pytest.mark.parametrize("vmapped", [True, False])
@pytest.mark.parametrize("skipped", [0.1, 1.0])
def test_divergence_is_told(vmapped, skipped):
    """Also of a network that is asked of nothing that it left out."""
    plan = PLAN._replace(learning_rate=1e30, vmapped=vmapped, skipped=skipped)
    with pytest.raises(FloatingPointError, match=r"diverged.*1e\+30 is too high"):
        trained(plan)


def test_a_network_without_examples_is_refused():
    seen = FOLDS.seen.copy()
    seen[2] = False
    with pytest.raises(ValueError, match="a network sees no example"):
        trained(folds=FOLDS._replace(seen=seen))


def test_predict_in_pieces(monkeypatch):
    """The last piece is padded; the rows asked for come back, in their order."""
    monkeypatch.setattr(training, "_ROWS", 7)
    network = module()
    variables = network.init(jax.random.key(0), jnp.zeros((2, D)))
    at = np.array([5, 0, 88, 3, 3, 17, 40, 41, 2])
    expected = jax.nn.softmax(network.apply(variables, (X[at] - np.float32(0.1)) / np.float32(1.5)))
    for data in (X, jnp.asarray(X)):
        np.testing.assert_allclose(
            predict(network, variables, data, INPUTS, at), expected, atol=1e-6
        )
    assert len(predict(network, variables, X, INPUTS, at[:0])) == 0


def test_rate_by_hand():
    """A tenth of the highest at first, all after a tenth, half of it halfway down, 0 at the end."""
    assert [round(training._rate(2.0, done), 9) for done in (0, 0.05, 0.1, 0.55, 1)] == [
        0.2, 1.1, 2.0, 1.0, 0.0,
    ]  # fmt: skip
