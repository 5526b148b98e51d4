"""From sums and held-out probabilities to evidence: whose word counts for which label."""

import jax.numpy as jnp
import numpy as np

from famus_jax.audit.folds import Folds
from famus_jax.audit.gather import gather
from famus_jax.audit.training import Trained
from famus_jax.evidence.margins import log_margin
from famus_jax.evidence.sums import Sums

K, N, C = 3, 12, 2
LABELS = np.array([0, 1] * 5 + [1, -1])
GENERATOR = np.random.default_rng(0)


def made():
    seen = np.ones((K, N), bool)
    seen[np.arange(N) % K, np.arange(N)] = False
    seen[:, LABELS < 0] = False
    labels, planted = np.tile(LABELS, (K, 1)), np.zeros((K, N), bool)
    planted[1, 0] = planted[2, 4] = True
    labels[planted] = 1 - labels[planted]
    visits = 2 * seen.astype(np.int32)
    values = GENERATOR.normal(size=(4, K, N)) * seen
    sums = Sums(visits, *(2 * v for v in values[:3]), values[3], np.zeros((K, N, C)))
    held_out = GENERATOR.dirichlet([1, 1], N).astype(np.float32)
    held_out[7] = 0
    trained = Trained(Sums(*map(jnp.asarray, sums)), held_out, None, 2, 0.0)
    return trained, Folds(seen, labels, planted), values


def features():
    """Two groups on either side, and example 11 in the second."""
    group = np.where(np.arange(N) % 2 == 0, -1.0, 1.0)
    return group[:, None] + 0.1 * GENERATOR.normal(size=(N, 4))


def test_own_evidence_is_of_networks_that_learned_the_given_label():
    """Fails if a network that was given a corrupted label, or saw nothing, takes part in a mean."""
    trained, folds, values = made()
    evidence = gather(trained, folds, LABELS, LABELS, features())
    honest = folds.seen & ~folds.planted
    for j, name in enumerate(("aum", "probability", "probability_margin", "last_margin")):
        expected = [
            np.mean(values[j][honest[:, i], i]) if honest[:, i].any() else np.nan for i in range(N)
        ]
        np.testing.assert_allclose(evidence.kinds[name], expected, rtol=1e-5, err_msg=name)


def test_planted_evidence_is_of_the_network_that_learned_the_corrupted_label(monkeypatch):
    monkeypatch.setattr("famus_jax.audit.gather.NEIGHBORS", 3)
    trained, folds, values = made()
    planted = gather(trained, folds, LABELS, LABELS, features()).planted
    assert planted is not None
    assert planted.positions.tolist() == [0, 4]
    assert planted.labels.tolist() == [1, 1]
    np.testing.assert_allclose(planted.evidence["aum"], values[0][[1, 2], [0, 4]], rtol=1e-5)
    np.testing.assert_allclose(
        planted.evidence["held_out"], log_margin(trained.held_out[[0, 4]], np.array([1, 1]))
    )
    # All neighbors of the first group are labeled 0: a planted 1 has no vote.
    assert (planted.evidence["neighbors"] < 0).all()


def test_held_out_and_what_is_missing():
    """An example that no network left out, and one without a label, have NaN and not 0."""
    trained, folds, _ = made()
    evidence = gather(trained, folds, LABELS, LABELS, features())
    held_out = evidence.kinds["held_out"]
    assert np.flatnonzero(np.isnan(held_out)).tolist() == [7, 11]
    at = np.flatnonzero(np.isfinite(held_out))
    np.testing.assert_allclose(held_out[at], log_margin(trained.held_out[at], LABELS[at]))
    assert np.isnan(evidence.probabilities[7]).all()
    assert all(np.isnan(values[11]) for values in evidence.kinds.values())


def test_labels_that_were_not_trained_on_do_not_vote():
    """A label that is known to be wrong is judged, and has no say about its neighbors."""
    trained, folds, _ = made()
    near = features()
    labels = LABELS.copy()
    labels[2] = 1
    with_it = gather(trained, folds, labels, labels, near).kinds["neighbors"]
    trained_on = np.where(np.arange(N) == 2, -1, labels)
    without = gather(trained, folds, trained_on, labels, near).kinds["neighbors"]
    assert without[0] > with_it[0]
    assert np.isfinite(without[2])


def test_of_a_label_that_a_person_corrected_the_network_speaks_that_learned_it():
    """Example 2 was given 1 and a person said 0; network 0 learned the 1. Fails if the evidence is of
    the networks that learned the 0, or missing: a fit to decisions would then compare what can't be."""
    trained, folds, values = made()
    labels, asked = LABELS.copy(), np.zeros((K, N), bool)
    labels[2], asked[0, 2] = 1, True
    evidence = gather(trained, folds._replace(asked=asked), LABELS, labels, features())
    for j, name in enumerate(("aum", "probability", "probability_margin", "last_margin")):
        np.testing.assert_allclose(evidence.kinds[name][2], values[j][0, 2], rtol=1e-5)
    without = gather(trained, folds, LABELS, labels, features())
    assert np.isnan(without.kinds["aum"][2])
    np.testing.assert_array_equal(evidence.kinds["aum"][3:], without.kinds["aum"][3:])


def test_no_planted_labels():
    trained, folds, _ = made()
    folds = folds._replace(planted=np.zeros_like(folds.planted))
    assert gather(trained, folds, LABELS, LABELS, features()).planted is None
