"""Texts as numbers: which words and parts of words each has, in a few hundred dimensions.

    x   = (tf-idf of words and pairs of words, tf-idf of 3 to 5 letters within words), each of length 1
    X   = U S V^T, the largest D singular values
    out = rows of U S, each of length 1

Nothing is downloaded, no language is assumed: parts of words stand for stems, endings and spellings.
Where a language puts no blanks between words (Chinese, Japanese, Thai), a run of letters counts as
one word, of which the parts are still seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

DIMENSIONS = 500
# The most frequent ones; what a set of 50,000 texts needs, and no more memory than it should.
_MOST_WORDS, _MOST_PARTS = 100_000, 200_000
# Of a document, its beginning: the title says most, and the time stays bounded.
_MOST_LETTERS = 20_000


def text_features(
    texts: Sequence[str] | np.ndarray, *, dimensions: int = DIMENSIONS, seed: int = 0
) -> np.ndarray:
    """Features of texts for a linear classifier or nearest neighbors.

    Args:
      texts: N strings in any language; empty ones are fine.
      dimensions: at most so many.
      seed: of the randomized decomposition.

    Returns:
      float32 [N, D], rows of length 1 (of a text that shares nothing with others, 0). D is
      `dimensions`, or less where the texts have fewer: below N, and 1 at least.

    Raises:
      ValueError: fewer than one dimension; no texts.
      ModuleNotFoundError: no scikit-learn; says what to install.

    >>> x = text_features(["a red cat", "the red cat", "my blue car", "a blue car"])
    >>> x.shape, bool(x[0] @ x[1] > x[0] @ x[2])
    ((4, 3), True)
    """
    if dimensions < 1:
        raise ValueError(f"dimensions = {dimensions!r}; at least 1")
    counts = _weighted_counts([str(text)[:_MOST_LETTERS] for text in texts])
    kept = min(dimensions, counts.shape[0] - 1, counts.shape[1] - 1)
    if kept < 1 or not counts.nnz:  # one text, or nothing that two of them share
        return np.zeros((counts.shape[0], 1), np.float32)
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    # Twice is as good as five times for a classifier here, in half of the time.
    decomposition = TruncatedSVD(kept, random_state=seed, n_iter=2, power_iteration_normalizer="LU")
    found: Any = decomposition.fit_transform(counts)
    return _without_dust(np.asarray(normalize(found), np.float32), counts)


def _without_dust(features: np.ndarray, counts: Any) -> np.ndarray:
    """Rows of zeros where there was nothing: normalizing blows up what rounding has left there."""
    features[np.asarray(counts.getnnz(axis=1) == 0)] = 0
    return features


def _weighted_counts(texts: list[str]) -> Any:
    """Sparse float32 [N, W], rows of length 1 or 0."""
    if not texts:
        raise ValueError("there are no texts")
    try:
        import scipy.sparse
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "features of texts need scikit-learn: pip install 'famus_jax[train]'"
        ) from error
    # What one text alone has tells nothing about another; in a handful, there may be nothing else.
    least = 2 if len(texts) >= 50 else 1
    how = {"min_df": least, "sublinear_tf": True, "dtype": np.float32}
    kinds = (
        # Question marks and the like are words too.
        {"ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]", "max_features": _MOST_WORDS},
        {"ngram_range": (3, 5), "analyzer": "char_wb", "max_features": _MOST_PARTS},
    )
    parts = []
    for kind in kinds:
        try:
            parts.append(TfidfVectorizer(**how, **kind).fit_transform(texts))
        except ValueError:  # no word at all, or none that two texts share
            continue
    if not parts:
        return scipy.sparse.csr_matrix((len(texts), 1), dtype=np.float32)
    return scipy.sparse.hstack(parts, format="csr") * np.float32(len(parts) ** -0.5)
