"""A tfds builder for the handwritten digits that come with scikit-learn.

1,797 gray images of 8x8 pixels in ten classes (E. Alpaydin, C. Kaynak, 1998, UCI; CC BY 4.0). The
pictures are part of scikit-learn, so preparing needs neither network nor TensorFlow: all features
are `Tensor`, `Scalar` and `Text`.
"""

from __future__ import annotations

import numpy as np
import tensorflow_datasets as tfds

from famus_jax.data import hashing

_CITATION = """@misc{alpaydin1998digits, title={Optical Recognition of Handwritten Digits},
author={Alpaydin, E. and Kaynak, C.}, publisher={UCI Machine Learning Repository}, year={1998}}"""


def split_rows(labels: np.ndarray, ids: list[str]) -> dict[str, np.ndarray]:
    """Rows of the two parts: a quarter of each class (rounded down) is "test", the rest "train".

    Within a class the order is that of a hash of the id, so that the split is the same for ever.

    Args:
      labels: int[N].
      ids: N unique strings.

    Returns:
      {"train": int64[...], "test": int64[...]}, disjoint, in ascending order.
    """
    order = hashing.hash_order(0, "famus_digits/split/1.0.0", ids)
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for c in np.unique(labels):
        mine = order[labels[order] == c]
        parts["test"].append(mine[: len(mine) // 4])
        parts["train"].append(mine[len(mine) // 4 :])
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}


class FamusDigits(tfds.core.GeneratorBasedBuilder):
    """Handwritten digits 8x8: "image" uint8[8, 8, 1] in 0…255, "label", "id" ("digits_00017")."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012 (tfds's own convention)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="scikit-learn's 8x8 handwritten digits with a fixed, class-balanced split.",
            homepage="https://archive.ics.uci.edu/dataset/80",
            citation=_CITATION,
            license="CC BY 4.0",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=[str(d) for d in range(10)]),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        # 17 gray levels, 0 … 16, spread over 0 … 255 without loss.
        images = np.rint(pixels.reshape(-1, 8, 8, 1) * (255.0 / 16.0)).astype(np.uint8)
        ids = [f"digits_{row:05d}" for row in range(len(labels))]
        rows = split_rows(labels, ids)
        return {name: self._generate_examples(images, labels, ids, rows[name]) for name in rows}

    def _generate_examples(self, images, labels, ids, rows):
        for row in rows.tolist():
            yield row, {"id": ids[row], "image": images[row], "label": int(labels[row])}
