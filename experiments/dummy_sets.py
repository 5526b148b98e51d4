"""Made-up sets in the format of those that can't be had without asking: for the smoke configs.

    python -m experiments.dummy_sets --out=runs/dummy

In the folder lie, as a user would put them there, the files of WebVision and of Clothing1M that our
builders read, and, as tfds prepares them, Red Mini-ImageNet (20 % noise) and ImageNet's validation
images. A picture is of one color, which its class decides, with noise; names, counts and labels are
made up. Nothing is learned from them but that the parts work together.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="dummy_sets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/dummy"), help="becomes data.data_dir"
    )
    out = parser.parse_args(list(argv)).out
    write(out)
    print(f"written: {out}")
    return 0


def write(out: Path) -> None:
    """All four sets; what is there already stays."""
    manual = out / "downloads" / "manual"
    if not (manual / "webvision").exists():
        webvision(manual / "webvision")
    if not (manual / "clothing1m").exists():
        clothing1m(manual / "clothing1m")
    if not (out / "controlled_noisy_web_labels").exists():
        red_mini_imagenet(out)
    if not (out / "imagenet2012").exists():
        imagenet_validation(out)


def picture(label: int, number: int) -> bytes:
    """A JPEG of 20x24 pixels, a function of its class and its number."""
    from PIL import Image

    generator = np.random.default_rng((label, number))
    color = np.random.default_rng(label).integers(40, 215, 3)
    pixels = np.clip(color + generator.normal(0, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def webvision(base: Path) -> None:
    """51 classes, of which the builder takes 50: six training images and one for validation of each."""
    lines: dict[str, list[str]] = {"train_filelist_google": [], "val_filelist": []}
    for label in range(51):
        for number in range(6):
            name = f"google/q{label + 1:04d}/{number}.jpg"
            _put(base / name, picture(label, number))
            lines["train_filelist_google"].append(f"{name} {label}")
        name = f"val{label + 1:06d}.jpg"
        _put(base / "val_images_256" / name, picture(label, 6))
        lines["val_filelist"].append(f"{name} {label}")
    for name, mine in lines.items():
        _put(base / "info" / f"{name}.txt", "".join(f"{line}\n" for line in mine).encode())


def clothing1m(base: Path) -> None:
    """14 classes of unequal size: 8 to 21 noisy images, a third with the next class's label."""
    noisy, clean = [], []
    keys: dict[str, list[str]] = {}
    for label in range(14):
        counts = {"noisy_train": 8 + label, "clean_train": 1, "clean_val": 1, "clean_test": 3}
        for part, count in counts.items():
            for number in range(count):
                key = f"images/{label}/{part}/{number}.jpg"
                _put(base / key, picture(label, 100 * len(keys) + number))
                keys.setdefault(part, []).append(key)
                given = (label + (number % 3 == 0)) % 14
                (
                    noisy.append(f"{key} {given}")
                    if part == "noisy_train"
                    else clean.append(f"{key} {label}")
                )
    for part, mine in keys.items():
        _put(base / f"{part}_key_list.txt", "".join(f"{key}\n" for key in mine).encode())
    for name, mine in (("noisy_label_kv", noisy), ("clean_label_kv", clean)):
        _put(base / f"{name}.txt", "".join(f"{line}\n" for line in mine).encode())


def red_mini_imagenet(out: Path) -> None:
    """As tfds prepares `controlled_noisy_web_labels/mini_imagenet_red`: train_20 and validation."""
    import tensorflow_datasets as tfds

    features = {
        "id": tfds.features.Text(),
        "image": tfds.features.Image(encoding_format="jpeg"),
        "is_clean": tfds.features.Scalar(dtype=np.bool_),
        "label": tfds.features.ClassLabel(num_classes=100),
    }
    _prepare(
        "controlled_noisy_web_labels",
        "mini_imagenet_red",
        out,
        features,
        {"train_20": lambda: _red(6), "validation": lambda: _red(1, start=6)},
    )


def _red(count: int, start: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    for label in range(100):
        for number in range(start, start + count):
            web = start == 0 and number == 0
            name = f"{label}/{number}"
            yield (
                name,
                {
                    "id": name,
                    "image": io.BytesIO(picture((label + web) % 100, number)),
                    "is_clean": not web,
                    "label": label,
                },
            )


def imagenet_validation(out: Path) -> None:
    """As tfds prepares `imagenet2012`: the split "validation", of the first 60 of 1000 classes."""
    import tensorflow_datasets as tfds

    features = {
        "file_name": tfds.features.Text(),
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=[f"n{c:08d}" for c in range(1000)]),
    }
    _prepare("imagenet2012", "", out, features, {"validation": _validation})


def _validation() -> Iterator[tuple[str, dict[str, Any]]]:
    for label in range(60):
        name = f"ILSVRC2012_val_{label + 1:08d}.JPEG"
        image = io.BytesIO(picture(label, 7))
        yield name, {"file_name": name, "image": image, "label": label}


def _prepare(name: str, config: str, out: Path, features: dict[str, Any], splits) -> None:
    """A tfds set under a name that stock builders have, made without them."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

    configs = [tfds.core.BuilderConfig(name=config, version="1.0.0")] if config else []
    with registered.skip_registration():

        class Made(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")
            BUILDER_CONFIGS = configs

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                del dl_manager
                return {split: make() for split, make in splits.items()}

            def _generate_examples(self):
                raise NotImplementedError

    Made.name = name
    builder = Made(
        data_dir=str(out), file_format="array_record", **({"config": config} if config else {})
    )
    builder.download_and_prepare()


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
