"""Checkpoints: exact, of the right experiment, and never silently damaged."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from famus_jax.train.checkpoint import SEAL, Checkpoints

MADE_FROM = {"config.schedule": "a", "the training labels": "b"}


def state(value, size=3):
    """What a run carries: JAX's arrays, a typed key, and numpy's in double precision."""
    networks = {"w": jnp.full((2, size), value, jnp.float32), "key": jax.random.key(value)}
    return networks, np.full((2, 5), value + 1e-12), np.array(-value, np.int32)


def record(step):
    return {"step": step, "history": [{"loss": 1 / step}]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with Checkpoints(folder, MADE_FROM) as checkpoints:
        for step in (4, 8, 12):
            checkpoints.save(step, state(step), record(step))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def restored(folder, like=None, made_from=MADE_FROM):
    with Checkpoints(folder, made_from) as checkpoints:
        return checkpoints.restore(state(0) if like is None else like)


def assert_is(found, step):
    """Bit by bit, by dtype and by kind of array."""
    (networks, sums, number), told = found
    expected, expected_sums, expected_number = state(step)
    assert isinstance(networks["w"], jax.Array)
    assert (networks["key"] == expected["key"]).all()
    for a, b in ((networks["w"], expected["w"]), (sums, expected_sums), (number, expected_number)):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert isinstance(sums, np.ndarray)
    assert told == record(step)


def test_comes_back_in_its_own_precision_and_the_last_two_are_kept(folder):
    """Fails if an array of numpy's goes through JAX, which rounds it to 32 bits."""
    assert_is(restored(folder), 12)
    assert sorted(path.name for path in folder.iterdir()) == ["12", "8"]


def files_of(step):
    return sorted(str(path.relative_to(step)) for path in step.rglob("*") if path.is_file())


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_flipped_bit_in_any_file_falls_back_to_the_one_before(folder, saved):
    """Fails if a file, the seal itself included, is not covered: another array would come back."""
    rng = np.random.default_rng(0)
    for name in files_of(saved / "12"):
        shutil.rmtree(folder)
        shutil.copytree(saved, folder)
        if not (path := folder / "12" / name).stat().st_size:
            continue
        flip(path, int(rng.integers(8 * path.stat().st_size)))
        with pytest.warns(UserWarning, match="is damaged.*the checkpoint before it is used"):
            found = restored(folder)
        assert_is(found, 8)
        with Checkpoints(folder, MADE_FROM) as checkpoints:  # and the step can be saved again
            checkpoints.save(12, state(12), record(12))
        assert_is(restored(folder), 12)


@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_cut_or_missing_file_falls_back(folder, damage):
    files = [folder / "12" / name for name in files_of(folder / "12") if name != SEAL]
    largest = max(files, key=lambda path: path.stat().st_size)
    if damage == "cut":
        largest.write_bytes(largest.read_bytes()[:-1])
    else:
        largest.unlink()
    with pytest.warns(UserWarning, match=largest.name):
        assert_is(restored(folder), 8)


def test_where_both_are_damaged_the_file_is_blamed_and_nothing_is_removed(folder):
    """Fails if the network is blamed, or training begins anew without a word."""
    for step in ("8", "12"):
        flip(folder / step / "state" / "manifest.ocdbt", 100)
    with pytest.raises(ValueError, match=r"manifest\.ocdbt is damaged.*no whole checkpoint before"):
        restored(folder)
    assert files_of(folder / "8")
    assert files_of(folder / "12")


def test_what_a_killed_writer_leaves_does_not_count(folder):
    """A step whose seal is not written yet, and a folder that orbax had not finished."""
    (folder / "12" / SEAL).unlink()
    (folder / "16.orbax-checkpoint-tmp").mkdir()
    assert_is(restored(folder), 8)
    assert [path.name for path in folder.iterdir()] == ["8"]


@pytest.mark.parametrize(
    ("made_from", "message"),
    [
        ({**MADE_FROM, "config.schedule": "c"}, r"another experiment \(it differs in schedule\)"),
        ({**MADE_FROM, "the training labels": "c"}, "other data .*the training labels"),
    ],
)
def test_another_experiment_is_refused(folder, made_from, message):
    with pytest.raises(ValueError, match=f"{message}.*--workdir, or delete"):
        restored(folder, made_from=made_from)


def test_another_network_is_refused_by_the_array(folder):
    """Fails if orbax may cut or fill up an array of another size, as it does."""
    with pytest.raises(
        ValueError, match=r"network, optimizer or method \(array 0\.w is float32 \[2, 3\]"
    ):
        restored(folder, like=state(0, size=4))
    narrow = (*state(0)[:1], np.zeros((2, 5), np.float32), state(0)[2])
    with pytest.raises(
        ValueError, match=r"array 1 is float64 \[2, 5\] there, float32 \[2, 5\] here"
    ):
        restored(folder, like=narrow)
