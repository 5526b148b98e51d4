"""A tfds builder for mini-WebVision: the first 50 classes of WebVision 1.0's Google subset.

Li et al. 2017; as used by MentorNet, DivideMix and FaMUS: 65,944 training images with the labels of
their search queries, 2,500 validation images. Prepared from the standard directory layout, without
network and TensorFlow. Tested on dummy images; not run on the real set here.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow_datasets as tfds

from famus_jax.data.sources.builders.manual_files import first_that_exists, read_pairs

NUM_CLASSES = 50

_INSTRUCTIONS = """
WebVision 1.0 is downloaded by hand from https://data.vision.ee.ethz.ch/cvl/webvision/dataset2017.html
(accept the terms, take the resized version). Into <manual_dir>/webvision go
    info/train_filelist_google.txt     lines "google/q0001/name.jpg 0"
    info/val_filelist.txt              lines "val000001.jpg 0"
    google/q0001/…                     training images (from google_resized_256.tar)
    val_images_256/val000001.jpg …     validation images (from val_images_resized.tar)
<manual_dir> is <data_dir>/downloads/manual. Then load_source("famus_mini_webvision", "train",
data_dir, size=…), or stream it: famus_jax.data.TfdsSource.
"""

_CITATION = """@article{li2017webvision, title={WebVision Database: Visual Learning and
Understanding from Web Data}, author={Li, Wen and Wang, Limin and Li, Wei and Agustsson, Eirikur and
Van Gool, Luc}, journal={arXiv:1708.02862}, year={2017}}"""


class FamusMiniWebvision(tfds.core.GeneratorBasedBuilder):
    """mini-WebVision: "image", "label" (0 … 49, ImageNet's first classes), "id" (path)."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012 (tfds's own convention)
    MANUAL_DOWNLOAD_INSTRUCTIONS = _INSTRUCTIONS

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="First 50 classes of the Google subset of WebVision 1.0.",
            homepage="https://data.vision.ee.ethz.ch/cvl/webvision/",
            citation=_CITATION,
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(num_classes=NUM_CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        manual = Path(str(dl_manager.manual_dir))
        root = first_that_exists([manual / "webvision"], "the folder webvision", _INSTRUCTIONS)
        lists = {
            "train": root / "info" / "train_filelist_google.txt",
            "validation": root / "info" / "val_filelist.txt",
        }
        folders = {
            "train": [root],
            "validation": [root / "val_images_256", root / "val_images"],
        }
        examples = {}
        for split, path in lists.items():
            first_that_exists([path], f"the list of {split} images", _INSTRUCTIONS)
            folder = first_that_exists(folders[split], f"the {split} images", _INSTRUCTIONS)
            examples[split] = self._generate_examples(folder, path, split)
        return examples

    def _generate_examples(self, folder: Path, path: Path, split: str):
        chosen = [(name, label) for name, label in read_pairs(path) if label < NUM_CLASSES]
        for row, (name, label) in enumerate(chosen):
            image = first_that_exists([folder / name], f"image {name}", _INSTRUCTIONS)
            prefix = "" if split == "train" else "val/"
            yield row, {"id": f"{prefix}{name}", "image": str(image), "label": label}
