"""A work directory goes with one config and one state of the data, and damage in it is noticed."""

import contextlib
import json
import shutil
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiments.kills.compare import differences
from famus_jax.lock import alone_in
from famus_jax.sealed import read_sealed
from famus_jax.train import data_setup, fingerprint, loop
from famus_jax.train.config import parse_config
from famus_jax.train.experiment import run_experiment

HEAD = {"kind": "last_layers", "k": 1, "virtual_step": "active"}
QUIET: Any = {"show": lambda text: None}
RUN = "runs/l2r-last_layers_1_active_step/seed_0"


def photos(root):
    """40 pictures in two class folders, a noise table for them, and a table of paths."""
    rng, paths = np.random.default_rng(0), ["path,label"]
    for i in range(40):
        path = root / "photos" / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        # As many bytes for each, so that no size tells them apart.
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).save(path, compress_level=0)
        paths.append(f"photos/{path.parent.name}/{path.name},{path.parent.name}")
    (root / "table.csv").write_text("\n".join(paths) + "\n")
    write_noise(root, moved=0)
    return root


def write_noise(root, moved):
    """Every label, the first `moved` of them turned into the other one."""
    lines = [f"{'ab'[i % 2]}/{i:02d}.png,{(i % 2) ^ (i < moved)}" for i in range(40)]
    (root / "noise.csv").write_text("\n".join(["id,label", *lines]) + "\n")


def settings(root, **data):
    return {
        "data": {
            "source": str(root / "photos"),
            "trusted_per_class": 1,
            "validation_per_class": 1,
            "noise": "none",
            "augment": "none",
            **data,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {
            "steps": 8,
            "batch_size": 8,
            "meta_batch_size": 4,
            "eval_every": 2,
            "checkpoint_every": 4,
        },
        "runs": [{"method": "ce"}, {"method": "l2r", "estimator": HEAD}],
        "seeds": [0],
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = photos(tmp_path_factory.mktemp("made"))
    return root, run_experiment(settings(root), root / "work", **QUIET)["rows"]


@pytest.fixture
def root(made, tmp_path):
    """The pictures and a finished experiment, to be spoiled."""
    return shutil.copytree(made[0], tmp_path / "copy")


def again(root, made):
    """Runs the same command in the copy."""
    config = settings(root)
    config["data"]["source"] = str(made[0] / "photos")  # the config is the same, word by word
    return run_experiment(config, root / "work", **QUIET)["rows"]


# --- data ---------------------------------------------------------------------------------------


def repaint(root):
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(root / "photos/b/01.png", compress_level=0)


def swap(root):
    (root / "photos/a").rename(root / "photos/c")
    (root / "photos/b").rename(root / "photos/a")
    (root / "photos/c").rename(root / "photos/b")


def rename(root):
    (root / "photos/b").rename(root / "photos/beta")


def add(root):
    shutil.copy(root / "photos/a/00.png", root / "photos/a/40.png")


def remove(root):
    (root / "photos/a/00.png").unlink()


def mend(root):
    table = (root / "table.csv").read_text()
    (root / "table.csv").write_text(table.replace("01.png,b", "01.png,a"))


def new_noise(root):
    write_noise(root, moved=9)


CHANGES = [
    (repaint, {}, "images"),
    (swap, {}, "images"),
    (rename, {}, "the class names"),
    (add, {}, "the number of"),
    (remove, {}, "the number of"),
    (mend, {"source": "table.csv"}, "the training labels"),
    (new_noise, {"noise_table": "noise.csv"}, "the noisy labels"),
]


def parts_of(root, path, data):
    config = settings(root, path=path, **{name: str(root / file) for name, file in data.items()})
    config = parse_config(config)
    sources = data_setup.load_sources(config.data)
    return fingerprint.of_data(sources, {0: data_setup.seed_data(sources, config.data, 0)})


@pytest.mark.parametrize("path", ["memory", "stream"])
@pytest.mark.parametrize(("change", "data", "named"), CHANGES, ids=[c[0].__name__ for c in CHANGES])
def test_any_change_of_the_data_is_named(tmp_path, path, change, data, named):
    """Fails if something that a run depends on is not in the fingerprint, or if the fingerprint
    changes by itself: with the place of the data, or a file's time."""
    before = parts_of(photos(tmp_path / "data"), path, data)
    (tmp_path / "data").rename(tmp_path / "moved")
    for file in (tmp_path / "moved").rglob("*.png"):
        file.touch()
    fingerprint.refuse_others(parts_of(tmp_path / "moved", path, data), before, tmp_path)
    change(tmp_path / "moved")
    with pytest.raises(ValueError, match=rf"other data \(these differ: .*{named}.*--workdir"):
        fingerprint.refuse_others(before, parts_of(tmp_path / "moved", path, data), tmp_path)


def test_of_a_large_streamed_set_the_times_count(tmp_path, monkeypatch):
    """Nothing is read of it. Fails if a file of the same size could take another's place."""
    monkeypatch.setattr(fingerprint, "READ_AT_MOST", 1000)
    monkeypatch.setattr(fingerprint, "files_checksum", lambda paths: pytest.fail("read"))
    root = photos(tmp_path)
    before = parts_of(root, "stream", {})
    assert before == parts_of(root, "stream", {})
    repaint(root)
    with pytest.raises(ValueError, match="their files' sizes or times of change"):
        fingerprint.refuse_others(before, parts_of(root, "stream", {}), tmp_path)
    assert "by size" not in fingerprint.shared(before)  # other hosts have other times


def test_results_of_mended_data_are_not_handed_back(made, root, monkeypatch):
    """The same command after a change; also where `config.json` is lost. Fails if results, or a
    checkpoint, are known by their place alone."""
    monkeypatch.setattr(loop, "train", lambda *a, **k: pytest.fail("trained"))
    config = settings(root)  # the source is another path: an experiment of its own
    with pytest.raises(ValueError, match=r"another experiment \(it differs in data\)"):
        run_experiment(config, root / "work", **QUIET)
    (root / "work/config.json").unlink()
    with pytest.raises(ValueError, match=r"another experiment \(it differs in data\)"):
        run_experiment(config, root / "work", **QUIET)
    for result in (root / "work").rglob("result.json"):
        result.unlink()
    with pytest.raises(ValueError, match=r"another experiment \(it differs in data\)"):
        run_experiment(config, root / "work", **QUIET)
    assert not (root / "work/config.json").exists()


def test_a_change_between_two_starts_is_refused(tmp_path):
    """Nothing is trained, nothing is written. Fails if only the config is compared."""
    root = photos(tmp_path)
    config = settings(root, noise_table=str(root / "noise.csv"))
    config["runs"] = config["runs"][:1]
    run_experiment(config, root / "work", **QUIET)
    kept = {path: path.stat().st_mtime_ns for path in (root / "work").rglob("*")}
    write_noise(root, moved=9)
    with pytest.raises(ValueError, match=r"work was made from other data .*the noisy labels"):
        run_experiment(config, root / "work", **QUIET)
    now = {path: path.stat().st_mtime_ns for path in (root / "work").rglob("*")}
    assert {k: v for k, v in now.items() if k.is_file()} == {
        k: v for k, v in kept.items() if k.is_file()
    }


# --- damage -------------------------------------------------------------------------------------


def results(work):
    """What is kept, to the byte."""
    names = (
        "config.json",
        f"{RUN}/result.json",
        f"{RUN}/weights.npz",
        f"{RUN}/predictor/predictor.json",
        f"{RUN}/predictor/arrays.npz",
        f"{RUN}/../label_issues.csv",
    )
    return {name: (work / name).read_bytes() for name in names}


def spoil(path, how):
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        path.write_bytes(path.read_bytes().replace(*how))


@pytest.mark.parametrize(
    ("name", "how", "warning"),
    [
        (f"{RUN}/result.json", (b'"loss": ', b'"loss": 1'), "result.json is damaged"),
        (f"{RUN}/result.json", "cut", "result.json is damaged"),
        (
            f"{RUN}/weights.npz",
            (b"weights.npy", b"weighty.npy"),
            "weights.npz is missing or damaged",
        ),
        (f"{RUN}/weights.npz", "gone", "weights.npz is missing or damaged"),
        (f"{RUN}/predictor/arrays.npz", "cut", "arrays.npz is missing or damaged"),
        (f"{RUN}/predictor/predictor.json", "gone", "predictor.json is missing or damaged"),
        (f"{RUN}/../label_issues.csv", "cut", "label_issues.changed.csv"),
        (f"{RUN}/../label_issues.csv", "gone", None),
        ("config.json", (b'"steps": 8', b'"steps": 9'), "config.json is damaged"),
        ("config.json", "gone", None),
    ],
)
def test_what_is_damaged_is_made_again(made, root, name, how, warning, recwarn):
    """The same bytes, without a step trained. Fails if damage is taken for a result, or for another
    experiment, or ends in a traceback."""
    expected = results(root / "work")
    spoil(root / "work" / name, how)
    rows = again(root, made)
    assert rows == made[1]
    assert results(root / "work") == expected
    told = [str(w.message) for w in recwarn if "famus" in str(w.filename)]
    assert [warning in text for text in told] == ([True] if warning else [])


def test_no_notes_in_a_list_are_lost(made, root):
    """Fails if notes that are written a second time overwrite those of the first."""
    path = root / "work" / RUN / ".." / "label_issues.csv"
    for notes in (b"first", b"second", b"third"):
        path.write_bytes(notes)
        with pytest.warns(UserWarning, match="was changed: it is kept as"):
            again(root, made)
    kept = {name: path.with_suffix(f".{name}.csv") for name in ("changed", "changed1", "changed2")}
    assert [file.read_bytes() for file in kept.values()] == [b"first", b"second", b"third"]


@pytest.mark.parametrize("name", ["config.json", f"{RUN}/result.json"])
def test_what_an_earlier_version_wrote_is_refused(made, root, name):
    """Fails if a finished experiment without checksums is taken for a damaged one, and trained anew."""
    path = root / "work" / name
    content = json.loads(path.read_text())
    del content["checksum"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"json has no checksum.*an earlier.*--workdir, or delete"):
        again(root, made)


@pytest.mark.slow
def test_fine_tuning_does_not_start_from_an_earlier_step(tmp_path):
    """Where the parent's last checkpoint is damaged the one before it is of an earlier step: fails
    if the run starts from that without a word."""
    root = photos(tmp_path)
    config = settings(root)
    config["runs"] = [{"method": "ce"}, {"method": "finetune"}]
    config["schedule"]["finetune_steps"] = 2
    rows = run_experiment(config, root / "work", **QUIET)["rows"]
    shutil.rmtree(root / "work/runs/finetune")
    parent = root / "work/runs/ce/seed_0"
    spoil(parent / "checkpoints/8/state/manifest.ocdbt", "cut")
    with (
        pytest.warns(UserWarning, match=r"manifest\.ocdbt is damaged"),
        pytest.raises(
            ValueError, match=r"last step, 8.* of step 4\): delete .*ce/seed_0/result.json"
        ),
    ):
        run_experiment(config, root / "work", **QUIET)
    (parent / "result.json").unlink()  # as told
    mended = run_experiment(config, root / "work", **QUIET)["rows"]
    for row in (*rows, *mended):
        row.pop("seconds")
    assert mended == rows


# --- interruptions ------------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing stops it, and nothing is done after it."""


def test_every_file_is_the_same_after_interruptions(made, tmp_path, monkeypatch):
    """Stopped again and again, at a checkpoint and after the evaluation that follows it, also in
    the second half, where weights are summed up, and inside a write. Fails if the sums come back in
    single precision, if TensorBoard loses an evaluation, or if a half-written neighbor stays.
    """
    train, work, left = loop.train, tmp_path / "work", []

    def stopping(run, folder, on_progress, clock):
        resumed = any((folder / "checkpoints").glob("*"))
        left[:] = [stops.pop(0) + resumed]  # a resumed run tells first where it is

        def stop(count, newest):
            left[0] -= 1
            if not left[0]:
                raise Killed

        return train(run, folder, stop, clock)

    monkeypatch.setattr(loop, "train", stopping)
    stops = [1, 2, 1, 9, 3, 2, 9]  # after so many evaluations; ce takes the first four
    for _ in range(6):
        with contextlib.suppress(Killed):
            run_experiment(settings(made[0]), work, **QUIET)
        if stops:
            (work / RUN).mkdir(parents=True, exist_ok=True)
            (work / RUN / ".result.json-abcdefgh.part").write_text("{")
    assert not stops
    assert len(list((work / RUN / "tensorboard").iterdir())) == 1
    assert differences(made[0] / "work", work) == []


def test_two_runs_in_one_folder_are_refused(made, root):
    """Before anything is read. Fails if both train, and each spoils the other's files."""
    with (
        alone_in(root / "work"),
        pytest.raises(ValueError, match=r"work is in use by process \d+ on "),
    ):
        again(root, made)
    assert again(root, made) == made[1]
    assert read_sealed(root / "work/config.json")["made_from"]["config.schedule"]
