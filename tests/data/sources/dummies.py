"""Dummy files in the layouts of data sets that can't be had here."""

import numpy as np
from PIL import Image


def picture(path, number, size=(9, 7)):
    """A JPEG whose mean gray tells `number` (steps of 8 survive the compression)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 8 * number, np.uint8)).save(path, quality=95)


def webvision(root):
    """Four training images (one beyond the 50 classes), two for validation."""
    base = root / "webvision"
    train = [("google/q0001/a.jpg", 0), ("google/q0002/b c.jpg", 1), ("google/q0050/d.jpg", 49)]
    for number, (name, _) in enumerate(train):
        picture(base / name, number, size=(9, 7 + number))
    lines = "".join(f"{n} {y}\n" for n, y in [*train, ("google/q0051/e.jpg", 50)])
    (base / "info").mkdir()
    (base / "info" / "train_filelist_google.txt").write_text(lines)
    for number in (1, 2):
        picture(base / "val_images_256" / f"val00000{number}.jpg", 10 + number)
    (base / "info" / "val_filelist.txt").write_text("val000001.jpg 3\nval000002.jpg 50\n\n")
    return base


def clothing1m(root, annotations=""):
    """Two noisy images, and one for each clean split."""
    base = root / "clothing1m"
    lists = base / annotations
    lists.mkdir(parents=True)
    keys = {
        "noisy_train": ["images/0/00/a.jpg", "images/1/00/b.jpg"],
        "clean_train": ["images/2/00/c.jpg"],
        "clean_val": ["images/3/00/d.jpg"],
        "clean_test": ["images/4/00/e.jpg"],
    }
    for name, some in keys.items():
        (lists / f"{name}_key_list.txt").write_text("".join(f"{k}\n" for k in some))
        for key in some:
            picture(base / key, int(key[7]))
    noisy, clean = (
        keys["noisy_train"],
        [k for n, some in keys.items() if n != "noisy_train" for k in some],
    )
    (lists / "noisy_label_kv.txt").write_text(
        "".join(f"{k} {13 - i}\n" for i, k in enumerate(noisy))
    )
    (lists / "clean_label_kv.txt").write_text("".join(f"{k} {i}\n" for i, k in enumerate(clean)))
    return base
