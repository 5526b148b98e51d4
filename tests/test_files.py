"""Files that are whole or absent, with the rights that the user's umask leaves."""

import json
import os
from pathlib import Path

import pytest

from famus_jax.files import expanded, finite, write_atomically, write_json


@pytest.mark.parametrize(("mask", "rights"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_umask_is_respected(tmp_path, mask, rights):
    """Fails if the rights are set to 0644 whatever the umask says."""
    old = os.umask(mask)
    try:
        write_atomically(tmp_path / "a" / "x", b"1")
        write_atomically(tmp_path / "a" / "x", b"2")
    finally:
        os.umask(old)
    assert (tmp_path / "a" / "x").stat().st_mode & 0o777 == rights
    assert (tmp_path / "a" / "x").read_bytes() == b"2"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "x", b"1")
    assert not list(tmp_path.iterdir())


def test_numbers_that_json_does_not_know(tmp_path):
    value = {"a": [1.5, float("nan")], "b": {"c": float("-inf")}, "d": (2, "inf", None, True)}
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "x", value)
    assert not (tmp_path / "x").exists()
    write_json(tmp_path / "x", finite(value))
    expected = {"a": [1.5, None], "b": {"c": None}, "d": [2, "inf", None, True]}
    assert json.loads((tmp_path / "x").read_text()) == expected


def test_home_folders(monkeypatch, tmp_path):
    """Fails if a user who isn't there ends in another library's words."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/a") == tmp_path / "a"
    assert expanded("a/~b") == Path("a/~b")
    with pytest.raises(ValueError, match=r"'~nobody_here/x'.*no such user.*\./~nobody_here"):
        expanded("~nobody_here/x")
