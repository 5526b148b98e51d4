"""A tfds builder for Clothing1M: a million shop images with noisy labels in 14 classes.

Xiao et al. 2015. Prepared from the standard directory layout, without network and TensorFlow.
Tested on dummy images; not run on the real set here.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow_datasets as tfds

from famus_jax.data.sources.builders.manual_files import first_that_exists, read_keys, read_pairs

CLASSES = (
    *("T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker"),
    *("Jacket", "Downcoat", "Suit", "Shawl", "Dress", "Vest", "Underwear"),
)

_INSTRUCTIONS = """
Clothing1M is handed out by its authors on request (https://github.com/Cysu/noisy_label). Into
<manual_dir>/clothing1m, or its sub-folder annotations, go
    noisy_train_key_list.txt  clean_train_key_list.txt  clean_val_key_list.txt
    clean_test_key_list.txt   one line per image, "images/0/00/name.jpg"
    noisy_label_kv.txt        clean_label_kv.txt     lines "images/0/00/name.jpg 4"
    images/0/00/name.jpg …
<manual_dir> is <data_dir>/downloads/manual. Then stream it: famus_jax.data.TfdsSource(
"famus_clothing1m", "train", data_dir).
"""

_CITATION = """@inproceedings{xiao2015learning, title={Learning from Massive Noisy Labeled Data for
Image Classification}, author={Xiao, Tong and Xia, Tian and Yang, Yi and Huang, Chang and Wang,
Xiaogang}, booktitle={CVPR}, year={2015}}"""

# split -> (list of keys, labels)
_SPLITS = {
    "train": ("noisy_train_key_list.txt", "noisy_label_kv.txt"),
    "clean_train": ("clean_train_key_list.txt", "clean_label_kv.txt"),
    "validation": ("clean_val_key_list.txt", "clean_label_kv.txt"),
    "test": ("clean_test_key_list.txt", "clean_label_kv.txt"),
}


class FamusClothing1m(tfds.core.GeneratorBasedBuilder):
    """Clothing1M: "image", "label", "id" (key); "train" is noisy, the other splits are clean."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012 (tfds's own convention)
    MANUAL_DOWNLOAD_INSTRUCTIONS = _INSTRUCTIONS

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Clothing1M: images of clothes with labels from the words around them.",
            homepage="https://github.com/Cysu/noisy_label",
            citation=_CITATION,
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=list(CLASSES)),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        manual = Path(str(dl_manager.manual_dir))
        root = first_that_exists([manual / "clothing1m"], "the folder clothing1m", _INSTRUCTIONS)
        generators = {}
        for split, names in _SPLITS.items():
            keys, labels = (
                first_that_exists([root / name, root / "annotations" / name], name, _INSTRUCTIONS)
                for name in names
            )
            generators[split] = self._generate_examples(root, keys, labels)
        return generators

    def _generate_examples(self, root: Path, keys: Path, labels: Path):
        by_key = dict(read_pairs(labels))
        for row, key in enumerate(read_keys(keys)):
            if key not in by_key:
                raise ValueError(f"{labels} has no label for {key!r} of {keys.name}")
            image = first_that_exists([root / key], f"image {key}", _INSTRUCTIONS)
            yield row, {"id": key, "image": str(image), "label": by_key[key]}
