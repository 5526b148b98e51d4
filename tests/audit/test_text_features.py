"""Features of texts: near for texts of one subject, whatever the language; the same on every run."""

import numpy as np
import pytest

from famus_jax.audit.text_features import text_features

WORDS = {
    "sport": ("goal", "match", "team", "coach", "league", "striker", "referee", "stadium"),
    "food": ("soup", "bread", "cheese", "butter", "oven", "recipe", "onion", "garlic"),
    "weather": ("rain", "storm", "cloud", "wind", "snow", "thunder", "frost", "sunny"),
}


def made_up(count, seed=0):
    """Texts of three subjects, six words each, and their subjects."""
    draw = np.random.default_rng(seed)
    subjects = np.arange(count) % 3
    names = list(WORDS)
    return [" ".join(draw.choice(WORDS[names[s]], 6)) for s in subjects], subjects


def test_texts_of_one_subject_are_near():
    """Fails if features say nothing of words: three in a hundred would be right by chance of 1/3."""
    texts, subjects = made_up(120)
    x = text_features(texts, dimensions=20)
    assert x.shape == (120, 20)
    assert x.dtype == np.float32
    near = x @ x.T - 2 * np.eye(120)
    assert (subjects[near.argmax(1)] == subjects).mean() > 0.97
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)


def test_the_same_texts_give_the_same_bytes():
    """Fails if the decomposition draws from a generator that nobody seeded."""
    texts, _ = made_up(60)
    assert text_features(texts).tobytes() == text_features(texts).tobytes()


def test_letters_that_are_not_latin():
    """Fails if only ASCII words count, or parts of words of languages without blanks are lost."""
    x = text_features(
        ["погода сегодня", "погода завтра", "猫が好きです", "猫が嫌いです", "ƙwallon ƙafa"]
    )
    same, other = x[0] @ x[1], x[0] @ x[2]
    assert same > other + 0.1
    assert x[2] @ x[3] > x[2] @ x[4] + 0.02


def test_endings_do_not_matter_much():
    """Fails without parts of words: "players" and "playing" share no word."""
    x = text_features(["players", "playing", "kitchen", "kitchens"])
    assert x[0] @ x[1] > 0.05 > x[0] @ x[2]


@pytest.mark.parametrize(
    "texts", [["", ""], [""], ["one"], ["!", "?"], ["", "cat", "cat"], ["a", ""]], ids=repr
)
def test_next_to_nothing_is_fine(texts):
    """Fails if an empty vocabulary raises, or an empty text is NaN."""
    x = text_features(texts)
    assert len(x) == len(texts)
    assert x.shape[1] >= 1
    assert np.isfinite(x).all()
    for text, row in zip(texts, x):
        assert text or not row.any()


def test_refusals():
    with pytest.raises(ValueError, match="no texts"):
        text_features([])
    with pytest.raises(ValueError, match="dimensions = 0"):
        text_features(["a", "b"], dimensions=0)
