"""Folders as they are found on people's disks: thumbnails, links, splits, names of every kind."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from famus_jax.cli import main
from famus_jax.data.sources import folders
from famus_jax.data.sources.file_lists import list_folder, list_table
from famus_jax.data.sources.load import load_labels
from famus_jax.data.sources.own_data import list_path, load_path

PIXEL = Image.fromarray(np.zeros((2, 2), np.uint8))


def make(root, *files):
    """Small images at these paths."""
    for file in files:
        os.makedirs(os.path.dirname(root / file), exist_ok=True)
        PIXEL.save(root / file, format="PNG")
    return root


def in_classes(root, names, count=4):
    return make(root, *(f"{name}/{i}.png" for name in names for i in range(count)))


def test_folders_are_numbered_as_one_counts(tmp_path):
    """Fails if they are sorted as text: 0, 1, 10, 2."""
    files = list_folder(in_classes(tmp_path, map(str, range(11)), count=1))
    assert files.class_names == tuple(map(str, range(11)))
    assert [i.split("/")[0] for i in files.ids] == [str(label) for label in files.labels]


def test_hidden_folders_at_any_depth(tmp_path):
    """Fails if a thumbnail counts as an image: it may be in the test set, its photo in training."""
    in_classes(tmp_path / ".data" / "set", ("cat", "dog"))
    root = tmp_path / ".data" / "set"  # hidden above the root is no matter
    make(root, "cat/.cache/thumbs/0.jpg", "cat/sub/@eaDir/0.png/1.png", "__MACOSX/cat/._0.png")
    make(root, "cat/._1.png", "dog/deep/.x/y/z/0.png", ".git/a.png", "@eaDir/b.png")
    assert len(list_folder(root).ids) == 8


def test_links_are_followed_everywhere(tmp_path):
    """A linked file, folder and class folder. Fails if one of the three is left out."""
    make(tmp_path / "store", "day1/0.png", "day1/1.png", "class/0.png", "one.png")
    in_classes(tmp_path / "set", ("a",), count=1)
    os.symlink(tmp_path / "store" / "day1", tmp_path / "set" / "a" / "day1")
    os.symlink(tmp_path / "store" / "class", tmp_path / "set" / "b")
    os.symlink(tmp_path / "store" / "one.png", tmp_path / "set" / "a" / "one.png")
    files = list_folder(tmp_path / "set")
    assert files.ids == ["a/0.png", "a/day1/0.png", "a/day1/1.png", "a/one.png", "b/0.png"]


def test_links_in_a_circle_and_links_to_nothing(tmp_path):
    """Fails if it never ends, or an image is there twice."""
    root = in_classes(tmp_path / "set", ("a", "b"), count=2)
    make(root, "a/sub/x.png")
    os.symlink(root, root / "a" / "up")
    os.symlink(root / "a" / "sub", root / "a" / "sub2")
    os.symlink(tmp_path / "gone", root / "b" / "gone")
    with pytest.warns(UserWarning, match="leads back to") as caught:
        files = list_folder(root)
    assert files.ids == ["a/0.png", "a/1.png", "a/sub/x.png", "b/0.png", "b/1.png"]
    text = str(caught[0].message)
    assert "sub2 is" in text
    assert "gone leads nowhere" in text
    os.symlink(root / "a" / "sub", root / "b" / "also")
    with pytest.raises(ValueError, match="linked into two classes"):
        list_folder(root)


def test_pipes_are_no_images_and_other_images_are_counted(tmp_path):
    in_classes(tmp_path, ("a", "b"))
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "photo.HEIC").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"left out \(1 .heic\)"):
        assert len(list_folder(tmp_path).ids) == 8


def test_a_pipe_in_a_table_is_named(tmp_path):
    """Fails if opening it waits for a writer, for ever."""
    in_classes(tmp_path, ("a", "b"))
    os.mkfifo(tmp_path / "pipe.png")
    rows = "a/0.png,0\nb/0.png,1\npipe.png,0\n/dev/zero,1\nnone.png,0\n"
    (tmp_path / "t.csv").write_text("path,label\n" + rows)
    with pytest.raises(ValueError, match="3 of 5 images can't be read") as caught:
        load_path(tmp_path / "t.csv")
    for name, why in (("pipe.png", "a pipe"), ("/dev/zero", "device"), ("none.png", "no such")):
        assert name in str(caught.value)
        assert why in str(caught.value)


def test_unicode_forms_are_one_class_and_one_id(tmp_path):
    """Fails if a folder copied from a file system that writes é as two letters is another class."""
    nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    make(tmp_path / "s", f"{nfc}/0.png", f"{nfd}/1.png", "thé/0.png")
    files = list_folder(tmp_path / "s")
    assert files.class_names == ("café", "thé")
    assert files.ids == ["café/0.png", "café/1.png", "thé/0.png"]
    make(tmp_path / "s", f"{nfd}/0.png")
    with pytest.raises(ValueError, match=r"caf\\xe9.*occurs more than once.*cafe\\u0301"):
        list_folder(tmp_path / "s")
    (tmp_path / "t.csv").write_text(f"path,label\ns/{nfc}/1.png,{nfd}\ns/thé/0.png,thé\n")
    table = list_table(tmp_path / "t.csv")  # on the disk it is the other form
    assert all(path.exists() for path in table.paths)


def test_names_that_are_no_utf8(tmp_path):
    """The id can be written to any file. Fails if it holds half a character."""
    in_classes(tmp_path, ("a", "b"))
    PIXEL.save(os.fsencode(tmp_path) + b"/a/\xff\xfe.png")
    files = list_folder(tmp_path)
    assert "a/\\xff\\xfe.png" in files.ids
    assert "".join(files.ids).encode()
    assert load_path(tmp_path).images.shape[0] == 9


def test_a_class_may_be_called_train(tmp_path):
    """Beside other classes it is one, with images or with folders in it."""
    files = list_path(in_classes(tmp_path / "v", ("bus", "car", "train")), "train")
    assert files.class_names == ("bus", "car", "train")
    in_classes(tmp_path / "w", ("bus", "car", "train/freight", "train/metro"))
    files = list_path(tmp_path / "w", "test")
    assert files.class_names == ("bus", "car", "train")
    assert np.bincount(files.labels).tolist() == [1, 1, 2]


def test_folders_that_are_splits(tmp_path):
    in_classes(tmp_path / "a", ("train/x", "train/y", "val/x", "val/y"), count=2)
    assert list_path(tmp_path / "a", "val").ids[0] == "val/x/0.png"
    assert len(list_path(tmp_path / "a", "all").ids) == 8
    with pytest.raises(FileNotFoundError, match=r"splits \['train', 'val'\], but no folder 'test'"):
        list_path(tmp_path / "a", "test")
    in_classes(tmp_path / "b", ("train/x", "train/y", "test/x", "extra"))  # test lacks y
    test = list_path(tmp_path / "b", "test")
    assert (test.class_names, set(test.labels.tolist())) == (("x", "y"), {0})
    in_classes(tmp_path / "c", ("train", "test"))
    with pytest.raises(ValueError, match="named as splits but hold no class folders"):
        list_path(tmp_path / "c", "train")


def test_a_split_of_any_name(tmp_path, capsys):
    """A "holdout" is a split, whichever one is wanted. Fails if wanting "train" makes classes of the
    two: then test images are trained on."""
    in_classes(tmp_path, ("train/cat", "train/dog", "holdout/cat", "holdout/dog"))
    for name in ("train", "holdout"):
        files, labels = list_path(tmp_path, name), load_labels(str(tmp_path), name)
        assert files.class_names == labels.class_names == ("cat", "dog")
        assert {i.split("/")[0] for i in files.ids} == {name}
        assert labels.ids.tolist() == files.ids
    out = tmp_path / "t.csv"
    write = ["--kind=symmetric", "--rate=0.5", f"--source={tmp_path}", f"--out={out}"]
    assert main(["famus", "noise", "write", *write]) == 0
    assert "examples        8" in capsys.readouterr().out
    rows = out.read_text().splitlines()[1:]
    assert {row.split("/")[0] for row in rows} == {"train"}
    assert {row.split(",")[1] for row in rows} <= {"cat", "dog"}
    in_classes(tmp_path, ("other/eel",))  # beside splits no class, but none of theirs either
    assert len(list_path(tmp_path, "all").ids) == 16
    with pytest.raises(ValueError, match="no class 'eel'.*folders of 'train' say which"):
        list_path(tmp_path, "other")
    with pytest.raises(ValueError, match="no class 'eel'") as caught:
        list_path(tmp_path, "other", ("cat", "dog"))
    assert "'train'" not in str(caught.value)  # the user said which there are


@pytest.mark.parametrize(("split", "walks"), [("train", 1), ("val", 0), ("all", 1)])
def test_training_folders_are_walked_once(tmp_path, monkeypatch, split, walks):
    """Fails if a large "train" is walked once for its classes and again for its images."""
    in_classes(tmp_path, ("train/x", "train/y", "val/x"))
    walked, images = [], folders.Tree.images
    monkeypatch.setattr(
        folders.Tree, "images", lambda tree, at: walked.append(at) or images(tree, at)
    )
    list_path(tmp_path, split)
    assert walked.count(tmp_path / "train" / "x") == walks


def test_given_classes(tmp_path):
    """Their order counts, and one may lack a folder. Fails if a stray folder makes a class."""
    in_classes(tmp_path, ("cat", "dog"))
    files = list_folder(tmp_path, ("eel", "dog", "cat"))
    assert files.class_names == ("eel", "dog", "cat")
    assert np.bincount(files.labels).tolist() == [0, 4, 4]
    with pytest.raises(ValueError, match=r"class folder .*dog: there is no class 'dog'"):
        list_folder(tmp_path, ("cat", "eel"))


def test_a_folder_called_nan_is_a_class_with_a_warning(tmp_path):
    in_classes(tmp_path, ("nan", "x"))
    with pytest.warns(UserWarning, match="the folder 'nan' is a class"):
        assert list_folder(tmp_path).class_names == ("nan", "x")


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    """Fails if its images are silently missing."""
    in_classes(tmp_path, ("a", "b", "b/sub"))
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match="sub can't be read: Permission denied"):
        list_folder(tmp_path)
