"""Predictions as a table: a line per example."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from famus_jax.data.sources.tables import quote_formula
from famus_jax.predictor.probabilities import softmax

COLUMNS = ("id", "predicted", "probability")


def predictions_content(
    batches: Iterable[tuple[Sequence[str], np.ndarray]],
    class_names: Sequence[str],
    top: int | None = None,
) -> bytes:
    """A CSV: id, predicted (a class name), probability, then p_CLASS for every class.

    A text that a spreadsheet would run as a formula is quoted (`quote_formula`). Numbers have six
    digits; of classes with the same, the network decides by the digits beyond.

    Args:
      batches: ids and their logits, float32 [n, C].
      class_names: C.
      top: leave the columns p_CLASS out and tell the best so many classes: predicted_2,
        probability_2, and so on.

    Example:
      >>> scores = np.log(np.array([[0.25, 0.75]], np.float32))
      >>> print(predictions_content([(["a.png"], scores)], ("cat", "dog")).decode(), end="")
      id,predicted,probability,p_cat,p_dog
      a.png,dog,0.75,0.25,0.75
      >>> print(predictions_content([(["a.png"], scores)], ("cat", "dog"), top=2).decode(), end="")
      id,predicted,probability,predicted_2,probability_2
      a.png,dog,0.75,cat,0.25
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [quote_formula(name) for name in class_names]
    pairs = [column for i in range(2, (top or 0) + 1) for column in _pair(i)]
    writer.writerow([*COLUMNS, *(pairs if top else [f"p_{name}" for name in class_names])])
    for ids, scores in batches:
        order = np.argsort(-scores, axis=1, kind="stable")[:, : top or 1]
        for name, best, mine in zip(ids, order, softmax(scores), strict=True):
            told = [cell for c in best for cell in (names[c], _number(mine[c]))]
            each = [] if top else map(_number, mine)
            writer.writerow([quote_formula(name), *told, *each])
    return text.getvalue().encode("utf-8", "backslashreplace")


def _pair(i: int) -> tuple[str, str]:
    return f"predicted_{i}", f"probability_{i}"


def _number(value: np.float32) -> str:
    return f"{value:.6g}"
