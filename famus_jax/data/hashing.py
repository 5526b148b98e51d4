"""Randomness that belongs to an example, not to its place in an array.

Everything random about the *content* of a data set (which label is wrong, who is trusted) is a
function of `(seed, purpose, example id)` through BLAKE2b. It never changes with the order of the
examples, the number of hosts, or the version of any library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_NAMESPACE = "famus_jax"


def _prefix(seed: int, purpose: str) -> bytes:
    # JSON-like framing: no (seed, purpose) pair can be read as another one.
    return f"{_NAMESPACE}\x00{int(seed)}\x00{len(purpose)}\x00{purpose}\x00".encode()


def checked_seed(seed: int) -> int:
    """Return `seed` as a plain int; raise `TypeError` unless it is a whole number."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be an int, got {seed!r} ({type(seed).__name__})")
    return int(seed)


def checked_ids(ids: Sequence[str] | np.ndarray, count: int | None = None) -> list[str]:
    """Return the ids as a list of str, after checking type, number and uniqueness.

    Args:
      ids: N strings (a list, a tuple, or a numpy array of str).
      count: how many there must be; None accepts any number.

    Raises:
      TypeError: an id is not a string (bytes are refused: decode them where they are read).
      ValueError: the number is not `count`, or an id occurs twice.
    """
    values = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(
                f"ids[{position}] is {value!r} ({type(value).__name__}); ids are strings. "
                "For examples without an id use f'{split}_{row:05d}'."
            )
    if count is not None and len(values) != count:
        raise ValueError(f"{len(values)} ids for {count} labels: give exactly one id per label")
    if len(set(values)) != len(values):
        seen: set[str] = set()
        twice = next(v for v in values if v in seen or seen.add(v))
        raise ValueError(
            f"id {twice!r} occurs more than once; ids must be unique, or examples would share "
            "their noise (prefix them with the split's or the file's name)"
        )
    return values


def hash_words(seed: int, purpose: str, ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """A 64-bit word for each id: uint64[N], the same on every machine for ever.

    Args:
      seed: any int.
      purpose: what the randomness is for; two purposes give independent words.
      ids: N strings. Not checked for uniqueness (see `checked_ids`).
    """
    base = hashlib.blake2b(_prefix(checked_seed(seed), purpose), digest_size=8)
    values = ids.tolist() if isinstance(ids, np.ndarray) else ids
    chunks = []
    for value in values:
        one = base.copy()
        one.update(value.encode("utf-8", "surrogatepass"))
        chunks.append(one.digest())
    return np.frombuffer(b"".join(chunks), dtype="<u8").astype(np.uint64)


def uniform(seed: int, purpose: str, ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each id, float64[N]: the top 53 bits of `hash_words`.

    >>> uniform(0, "noise", ["train_00017"]).round(6)
    array([0.306873])
    """
    words = hash_words(seed, purpose, ids)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hash_order(seed: int, purpose: str, ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """A random order of the ids that doesn't depend on their present order.

    Returns:
      int64[N], positions sorted by (hash word, id); ties (one in 2^64) are broken by the id.
    """
    words = hash_words(seed, purpose, ids)
    values = ids if isinstance(ids, np.ndarray) else np.asarray(list(ids), dtype=np.str_)
    if values.size == 0:
        return np.zeros(0, np.int64)
    return np.lexsort((values, words)).astype(np.int64)


def in_id_order(positions: np.ndarray, ids: list[str]) -> np.ndarray:
    """The positions sorted by the ids of their examples, int64[M].

    An order that does not depend on how the examples are stored.
    """
    return np.asarray(sorted(positions.tolist(), key=lambda row: ids[row]), np.int64)


def bit_generator(seed: int, *purpose: str | int) -> np.random.Philox:
    """A counter-based stream of raw bits for (seed, purpose): for shuffles, not for noise.

    Only `random_raw` is used of it: numpy guarantees raw streams between versions, not the
    distributions drawn from them.
    """
    text = "\x00".join(str(p) for p in purpose)
    digest = hashlib.blake2b(_prefix(checked_seed(seed), text), digest_size=16).digest()
    return np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64))


def table_digest(ids: Sequence[str], labels: np.ndarray) -> str:
    """Fingerprint of a table id -> label, independent of the order of its rows.

    Returns:
      32 hexadecimal digits: BLAKE2b over the rows `len(id):id=label;` sorted by id.
    """
    total = hashlib.blake2b(digest_size=16)
    rows = sorted(zip(ids, np.asarray(labels).tolist(), strict=True))
    for start in range(0, len(rows), 65536):
        text = "".join(f"{len(i)}:{i}={y};" for i, y in rows[start : start + 65536])
        total.update(text.encode("utf-8", "surrogatepass"))
    return total.hexdigest()
