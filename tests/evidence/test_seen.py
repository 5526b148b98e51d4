"""How many labels are wrong, by networks that have learned them."""

import numpy as np

from famus_jax.evidence.confident import share_wrong
from famus_jax.evidence.seen import share_wrong_seen

COUNT, CLASSES = 2000, 5
RNG = np.random.default_rng(0)
TRUE = np.arange(COUNT) % CLASSES
WRONG = np.arange(COUNT) < 400
LABELS = np.where(WRONG, (TRUE + 1) % CLASSES, TRUE)


def memorized(share):
    """Probabilities of a network that has learned a share of the wrong labels by heart."""
    learned = np.where(RNG.random(COUNT) < share, LABELS, TRUE)
    p = np.full((COUNT, CLASSES), 0.02)
    p[np.arange(COUNT), learned] = 0.92
    return p


def test_a_network_that_has_learned_the_labels_by_heart():
    """A fifth is wrong, as the margins of the training remember; the probabilities have forgotten it.
    Fails if the count is that of the confident joint, near 0."""
    margins = np.where(WRONG, -2.0, 4.0) + RNG.normal(size=COUNT)
    p = memorized(0.97)
    assert share_wrong(p, LABELS)[0] < 0.03
    share, low, high = share_wrong_seen(margins, p, LABELS)
    assert abs(share - 0.2) < 0.02
    assert low < 0.2 < high


def test_mistakes_of_the_network_are_not_all_wrong_labels():
    """Examples that stay hard lie below 0 too, wrong labels far below: the mixture tells them apart.
    0.2 are wrong, 0.32 lie below 0. Fails for a mean of the counts."""
    hard = ~WRONG & (RNG.random(COUNT) < 0.3)
    margins = np.where(WRONG, -6.0, np.where(hard, 0.0, 1.0)) + 0.5 * RNG.normal(size=COUNT)
    share, low, high = share_wrong_seen(margins, memorized(1.0), LABELS)
    assert abs(share - 0.2) < 0.03
    assert low < 0.2 < high
    assert high > (margins < 0).mean()


def test_margins_that_are_not_known_do_not_count():
    margins = np.where(WRONG, -2.0, 4.0) + RNG.normal(size=COUNT)
    margins[::2] = np.nan
    assert abs(share_wrong_seen(margins, memorized(1.0), LABELS)[0] - 0.2) < 0.03
