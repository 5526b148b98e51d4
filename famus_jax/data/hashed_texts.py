"""Texts as counts of hashed words and parts of words: a pure function, so that nothing need be kept.

    c   counts of words and pairs of words in one half, of 3 to 5 letters within words in the other;
        each falls into one of B buckets by its hash
    out = (1 + log c) where c > 0, each half of length 1/√2, or 0 where it is empty

A vocabulary would have to travel with the network, and its principal components, which are a hundred
times as large; a network that is linear in these counts is one matrix [2 B, C].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BUCKETS = 2**14
_MOST_LETTERS = 20_000  # of a document, its beginning


def hashed_texts(texts: Sequence[str] | np.ndarray, buckets: int = BUCKETS) -> Any:
    """Counts of hashed words and parts of words.

    Args:
      texts: N strings in any language; empty ones are fine.
      buckets: B; two words that fall into one bucket are not told apart.

    Returns:
      A sparse float32 matrix [N, 2 B] of scipy.

    Raises:
      ValueError: fewer than two buckets.
      ModuleNotFoundError: no scikit-learn; says what to install.

    >>> x = hashed_texts(["a red cat", "the red cat", ""])
    >>> x.shape, bool((x @ x.T)[0, 1] > 0.3), float(abs(x[2]).sum())
    ((3, 32768), True, 0.0)
    """
    if buckets < 2:
        raise ValueError(f"buckets = {buckets}; 2 or more")
    try:
        import scipy.sparse
        from sklearn.feature_extraction.text import HashingVectorizer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "texts need scikit-learn: pip install 'famus_jax[train]'"
        ) from error
    short = [str(text)[:_MOST_LETTERS] for text in texts]
    if not short:
        return scipy.sparse.csr_matrix((0, 2 * buckets), dtype=np.float32)
    kinds = (
        # Question marks and the like are words too.
        {"ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]"},
        {"ngram_range": (3, 5), "analyzer": "char_wb"},
    )
    halves = []
    for kind in kinds:
        how: dict[str, Any] = {"alternate_sign": False, "norm": None, "dtype": np.float32, **kind}
        counts: Any = HashingVectorizer(n_features=buckets, **how).transform(short)
        counts.data = 1 + np.log(counts.data)
        length = np.sqrt(np.asarray(counts.multiply(counts).sum(1)).ravel())
        scale = np.divide(np.sqrt(0.5), length, out=np.zeros_like(length), where=length > 0)
        halves.append(scipy.sparse.diags(scale.astype(np.float32)) @ counts)
    return scipy.sparse.hstack(halves, format="csr", dtype=np.float32)
