"""Any file: read, or refused by a sentence of ours. A checkpoint: the same arrays, or a refusal."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fuzz.oracle import fuzz, refusal
from hypothesis import strategies as st

from famus_jax.data import load_source
from famus_jax.data.noise.files import read_table, write_table
from famus_jax.data.noise.table import make_table
from famus_jax.files import read_json
from famus_jax.train.checkpoint import Checkpoints

pytestmark = pytest.mark.filterwarnings("ignore")


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


@st.composite
def damages(draw, contents):
    """A valid file, or one with bytes changed, cut off, put in; or no such file at all."""
    name = draw(st.sampled_from(sorted(contents)))
    content = bytearray(contents[name])
    how = draw(st.sampled_from(["whole", "flip", "cut", "insert", "other"]))
    at = draw(st.integers(0, len(content) - 1))
    if how == "flip":
        content[at] ^= 1 << draw(st.integers(0, 7))
    elif how == "cut":
        del content[at:]
    elif how == "insert":
        content[at:at] = draw(st.binary(min_size=1, max_size=8))
    elif how == "other":
        content = bytearray(draw(st.binary(max_size=40)))
    return name, bytes(content)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Noise tables in the formats that we write."""
    folder, found = tmp_path_factory.mktemp("tables"), {}
    table = make_table([f"train_{i:05d}" for i in range(6)], np.arange(6) % 3)
    for name in ("a.json", "a.csv"):
        write_table(folder / name, table)
        found[name] = (folder / name).read_bytes()
    return found


@pytest.mark.parametrize("count", [60, pytest.param(10_000, marks=pytest.mark.fuzz)])
def test_noise_tables(count, tables, tmp_path):
    def check(case):
        name, content = case
        (tmp_path / name).write_bytes(content)
        refusal(lambda: read_table(tmp_path / name))

    fuzz(count, damages(tables), check)


@pytest.mark.parametrize("count", [60, pytest.param(10_000, marks=pytest.mark.fuzz)])
def test_json(count, tmp_path):
    """What a work directory holds."""
    contents = {"a.json": json.dumps({"digest": "abc", "config": {"seeds": [0, 1]}}).encode()}

    def check(case):
        name, content = case
        (tmp_path / name).write_bytes(content)
        refusal(lambda: read_json(tmp_path / name))

    fuzz(count, damages(contents), check)


@pytest.mark.parametrize("count", [60, pytest.param(10_000, marks=pytest.mark.fuzz)])
def test_arrays(count, tmp_path):
    """`.npz` data. Nothing in one may be run, nor a few bytes ask for gigabytes."""
    labels = np.arange(12) % 3
    features = np.linspace(0, 1, 48, dtype=np.float32).reshape(12, 4)
    contents = {
        "features.npz": npz(images=features, labels=labels),
        "pixels.npz": npz(images=np.zeros((12, 4, 4, 1), np.uint8), labels=labels),
        "objects.npz": npz(images=features, labels=np.array([{"a": 1}] * 12, object)),
    }

    def check(case):
        name, content = case
        (tmp_path / name).write_bytes(content)
        refusal(lambda: load_source(str(tmp_path / name), "train", None))

    fuzz(count, damages(contents), check)


STATE = ({"w": jnp.arange(6.0).reshape(2, 3)}, jax.random.key(0))


@pytest.mark.parametrize("count", [8, pytest.param(2_000, marks=pytest.mark.fuzz)])
def test_checkpoints(count, tmp_path_factory):
    """One byte of one file changed, or cut off: the same arrays and record, or a refusal."""
    whole = tmp_path_factory.mktemp("whole")
    with Checkpoints(whole) as checkpoints:
        checkpoints.save(3, STATE, {"step": 3})
    files = {
        str(path.relative_to(whole)): path.read_bytes()
        for path in sorted(whole.rglob("*"))
        if path.is_file() and path.stat().st_size
    }

    def check(case):
        folder = tmp_path_factory.mktemp("damaged")
        for name, content in {**files, case[0]: case[1]}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        found = []

        def restore():
            with Checkpoints(folder) as checkpoints:
                if checkpoints.latest_step() is not None:
                    found.append(checkpoints.restore(STATE))

        if refusal(restore) is None and found:
            (params, key), record = found[0]
            np.testing.assert_array_equal(params["w"], STATE[0]["w"])
            assert (jax.random.key_data(key) == jax.random.key_data(STATE[1])).all()
            assert record == {"step": 3}

    fuzz(count, damages(files), check)
