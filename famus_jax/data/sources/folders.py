"""Which files of a folder are images of it, at any depth: hidden ones left out, links followed once."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from famus_jax.data.sources.images import SUFFIXES

# What file servers and systems put beside one's files: thumbnails, forks, waste.
_NOT_ONES_OWN = frozenset({
    "@eadir", "@tmp", "@recycle", "@transcode", "@synoresource", "#recycle", "#snapshot", "__macosx",
    "$recycle.bin", "lost+found", "system volume information",
})  # fmt: skip

# Images all the same; that they are left out must not go unnoticed.
_NOT_READ = frozenset({
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".nef", ".cr2", ".arw", ".psd", ".tga", ".eps",
    ".dcm", ".svg", ".exr", ".hdr",
})  # fmt: skip


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or a system's own, by its name."""
    return name.startswith(".") or name.casefold() in _NOT_ONES_OWN


def visible_folders(folder: Path) -> list[Path]:
    """The sub-folders, links to folders included, sorted; without hidden ones.

    Raises:
      ValueError: the folder can't be read.
    """
    return sorted(Path(e.path) for e in _entries(folder) if e.is_dir())


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and below it, for which no class matters; see `Tree`.

    Raises:
      ValueError: a folder that can't be read.
    """
    tree = Tree(folder, root_is_seen=False)
    found = tree.images(folder)
    tree.warn()
    return found


class Tree:
    """Finds images below folders of one root, each folder once, however many links lead to it."""

    def __init__(self, root: Path, *, root_is_seen: bool = True):
        self._seen = {_identity(root): root} if root_is_seen else {}
        self._left_out = [
            f"{entry.path} leads nowhere"
            for entry in _entries(root)
            if entry.is_symlink() and not os.path.exists(entry.path)
        ]
        self._other_images: dict[str, int] = {}

    def images(self, folder: Path) -> list[Path]:
        """The image files in a folder and below it. Pipes and devices are none.

        Raises:
          ValueError: a folder that can't be read, or that was found before, in another class.
        """
        return self._images(folder, folder)

    def warn(self) -> None:
        """Says which links were not followed, and how many images are of types that aren't read."""
        if self._other_images:
            counts = ", ".join(f"{n} {suffix}" for suffix, n in sorted(self._other_images.items()))
            warnings.warn(
                f"images of types that are not read are left out ({counts}); convert them to .png",
                stacklevel=3,
            )
        if self._left_out:
            more = f" (and {len(self._left_out) - 5} more)" if len(self._left_out) > 5 else ""
            warnings.warn(
                "links that are not followed: " + "; ".join(self._left_out[:5]) + more, stacklevel=3
            )

    def _images(self, folder: Path, top: Path) -> list[Path]:
        identity = _identity(folder)
        if identity in self._seen:
            self._found_again(folder, self._seen[identity], top)
            return []
        self._seen[identity] = folder
        found = []
        for entry in _entries(folder):
            if entry.is_dir():
                found += self._images(Path(entry.path), top)
            elif entry.is_file():
                suffix = os.path.splitext(entry.name)[1].lower()
                if suffix in SUFFIXES:
                    found.append(Path(entry.path))
                elif suffix in _NOT_READ:
                    self._other_images[suffix] = self._other_images.get(suffix, 0) + 1
            elif entry.is_symlink():
                self._left_out.append(f"{entry.path} leads nowhere")
        return found

    def _found_again(self, folder: Path, first: Path, top: Path) -> None:
        if first in folder.parents:
            self._left_out.append(f"{folder} leads back to {first}")
        elif top == first or top in first.parents:
            self._left_out.append(f"{folder} is {first} again")
        else:
            raise ValueError(
                f"{folder} and {first} are the same folder, linked into two classes; remove one link"
            )


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not is_hidden(e.name)), key=lambda e: e.name)
    except OSError as error:
        raise ValueError(f"the folder {folder} can't be read: {error.strerror}") from error


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
