"""One command at a time in a folder, with the kernel's lock."""

import errno
import fcntl
import subprocess
import sys

import pytest

from famus_jax.lock import NAME, alone_in, in_use

HOLD = """
import sys
from pathlib import Path
from famus_jax.lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "work")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_is_refused_and_told_by_whom(tmp_path, holder):
    """Fails without a lock, or for a message that leaves open whom to wait for."""
    with (
        pytest.raises(ValueError, match=rf"work is in use by process {holder.pid} on .*--workdir"),
        alone_in(tmp_path / "work"),
    ):
        pass
    holder.stdin.close()
    holder.wait()
    assert not (tmp_path / "work").exists()  # it was made for the lock, and nothing came of it


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
    """Fails for a lock that is a file: it would stay for ever."""
    holder.kill()
    holder.wait()
    assert (tmp_path / "work" / NAME).exists()
    with alone_in(tmp_path / "work"):
        (tmp_path / "work" / "kept").write_text("x")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["kept"]


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyError), alone_in(tmp_path / "deep" / "work"):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    """Fails if the work there is refused, or goes on without a word."""

    def flock(handle, operation):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="work can't be locked .*no locks"):  # noqa: SIM117
        with alone_in(tmp_path / "work"):
            (tmp_path / "work" / "kept").write_text("x")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["kept"]


def test_in_use_tells_a_holder_from_what_one_left(tmp_path, holder):
    """Fails if the file alone is taken for a running process, or asking takes the lock away."""
    work = tmp_path / "work"
    assert in_use(work)
    holder.kill()
    holder.wait()
    assert (work / NAME).exists()
    assert not in_use(work)
    assert not in_use(tmp_path / "none")
    with alone_in(work):
        assert in_use(work)
