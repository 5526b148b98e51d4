"""`famus predict` on what `famus train` has left behind, through files."""

import csv
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from famus_jax.cli import main
from famus_jax.predictor import Features, Images, load_predictor, predict
from famus_jax.sealed import read_sealed, write_sealed
from famus_jax.train import loop
from famus_jax.train.config import RunConfig, parse_config
from famus_jax.train.data_setup import SeedData
from famus_jax.train.experiment import run_experiment
from famus_jax.train.predictors import find_predictor, predictor_of
from famus_jax.train.setting import Seeded, make_setting

# ml_collections reads config files with a loader method that Python is about to remove.
pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")

CONFIG = """
from famus_jax.train.config import default_config
def get_config():
    config = default_config()
    config.update({
        "data": {"source": SOURCE, "noise": "symmetric", "noise_rate": 0.2, "trusted_per_class": 0,
                 "validation_per_class": 1},
        "model": {"name": "mlp", "overrides": {"hidden": (16,)}},
        "schedule": {"steps": 30, "batch_size": 32, "eval_every": 15, "checkpoint_every": 30},
        "runs": ({"method": "ce"}, {"method": "ce_early_stop"}), "seeds": (0, 1)})
    return config
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Handwritten digits as PNG files in a folder per class and split, and two runs on them."""
    from sklearn.datasets import load_digits

    root, digits = tmp_path_factory.mktemp("made"), load_digits()
    for i, (image, label) in enumerate(zip(digits.images[:420], digits.target, strict=False)):
        path = root / "digits" / ("train" if i < 300 else "test") / f"class {label}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((15 * image).astype(np.uint8)).save(path)
    (root / "config.py").write_text(CONFIG.replace("SOURCE", repr(str(root / "digits"))))
    assert main(["famus", "train", f"--config={root}/config.py", f"--workdir={root}/work"]) == 0
    return root


@pytest.fixture
def work(made, tmp_path):
    """A copy, to be spoiled."""
    return shutil.copytree(made / "work", tmp_path / "work")


def predicted(*words, out):
    assert main(["famus", "predict", *map(str, words), f"--out={out}"]) == 0
    return list(csv.DictReader(out.open()))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_accuracy_is_the_one_that_training_reports(made, tmp_path, seed):
    """Exactly, from the test images as files. Fails for parameters of another step or seed, other
    pre-processing, classes in another order, or a row beside its image."""
    tests = made / "digits" / "test"
    rows = predicted(made / "work", tests, f"--seed={seed}", out=tmp_path / "p.csv")
    assert {row["id"] for row in rows} == {str(path) for path in tests.rglob("*.png")}
    right = sum(row["id"].split("/")[-2] == row["predicted"] for row in rows)
    table = json.loads((made / "work" / "summary.json").read_text())["rows"]
    said = {(row["method"], row["seed"]): row["acc_last"] for row in table}
    assert right / len(rows) == pytest.approx(said["ce", seed], abs=1e-12)
    assert 0.3 < said["ce", seed] < 1
    for row in rows:
        every = {name: float(p) for name, p in row.items() if name.startswith("p_")}
        assert sum(every.values()) == pytest.approx(1, abs=1e-4)
        assert f"p_{row['predicted']}" == max(every, key=lambda name: every[name])
        assert float(row["probability"]) == max(every.values())


def test_every_kind_of_file_gives_the_same(made, tmp_path):
    """Single files, a folder, tables of paths and arrays. Fails if one is read or ordered otherwise."""
    run = made / "work" / "runs" / "ce" / "seed_1"
    files = sorted((made / "digits" / "test").rglob("*.png"))[:40]
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])
    ids = [path.relative_to(made).as_posix() for path in files]
    (made / "t.csv").write_text("note,path\n" + "".join(f"x,{name}\n" for name in ids))
    np.savez(tmp_path / "a.npz", images=images, ids=ids, labels=np.zeros(40, int))
    np.save(tmp_path / "a.npy", images)
    folder = tmp_path / "any" / "depth"
    folder.mkdir(parents=True)
    for i, path in enumerate(files):
        shutil.copy(path, folder / f"{i:02d}.png")
    given = {
        "files": files,
        "table": [made / "t.csv"],
        "npz": [tmp_path / "a.npz"],
        "npy": [tmp_path / "a.npy"],
        "folder": [tmp_path / "any"],
    }
    rows = {k: predicted(run, *v, out=tmp_path / f"{k}.csv") for k, v in given.items()}
    want = [{k: v for k, v in row.items() if k != "id"} for row in rows["files"]]
    for found in rows.values():
        assert [{k: v for k, v in row.items() if k != "id"} for row in found] == want
    assert [row["id"] for row in rows["files"]] == list(map(str, files))
    assert [row["id"] for row in rows["table"]] == [row["id"] for row in rows["npz"]] == ids
    assert rows["npy"][3]["id"] == "row_0000003"
    assert rows["folder"][3]["id"] == str(folder / "03.png")


def test_the_best_few(made, tmp_path):
    files = [made / "digits" / "test"]
    run = made / "work" / "runs" / "ce" / "seed_0" / "predictor"
    every = predicted(run, *files, out=tmp_path / "all.csv")
    best = predicted(run, *files, "--top=2", out=tmp_path / "top.csv")
    assert list(best[0]) == ["id", "predicted", "probability", "predicted_2", "probability_2"]
    for row, all_of_it in zip(best, every, strict=True):
        p = sorted((float(v), k[2:]) for k, v in all_of_it.items() if k.startswith("p_"))
        assert (float(row["probability"]), row["predicted"]) == p[-1]
        assert (float(row["probability_2"]), row["predicted_2"]) == p[-2]


def test_what_is_in_the_folder(made):
    """Of the training part alone: the mean by an independent route."""
    loaded = load_predictor(find_predictor(made / "work", "ce", 0))
    assert isinstance(loaded.inputs, Images)
    assert loaded.inputs.shape == (8, 8, 3)
    assert loaded.class_names == tuple(f"class {c}" for c in range(10))
    files = list((made / "digits" / "train").rglob("*.png"))
    mean = np.mean([np.asarray(Image.open(path)) for path in files]) / 255
    np.testing.assert_allclose(loaded.inputs.mean, mean, rtol=0.02)  # ten are held out
    assert not (made / "work" / "runs" / "ce_early_stop" / "seed_0" / "predictor").exists()


def test_which_checkpoint(made, work, tmp_path, capsys):
    """Each way to say it, and what is answered where it does not say enough."""
    runs = work / "runs"
    want = runs / "ce" / "seed_0" / "predictor"
    for place in (work, runs / "ce", runs / "ce" / "seed_0", want):
        assert find_predictor(place, seed=0) == want
    for wrong, message in [
        ((work,), "choose one, --seed=0, --seed=1"),
        ((work, "cee"), r"no 'cee'; did you mean 'ce'\? There is: --method=ce, --method=ce_early"),
        ((work, "", 3), "no 'seed_3'"),
        ((runs / "ce_early_stop" / "seed_0",), r"'ce' looked at .* give .*runs/ce/seed_0"),
        ((work, "ce_early_stop", 1), r"no parameters of its own: give .*runs/ce/seed_1"),
        ((tmp_path / "no",), "is not there"),
        ((made / "config.py",), "is a file, not a folder"),
        ((made / "digits",), "there is no predictor in"),
    ]:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            find_predictor(*wrong)
    (runs / "ce" / "seed_1" / "result.json").unlink()
    shutil.rmtree(runs / "ce" / "seed_1" / "predictor")
    with pytest.raises(FileNotFoundError, match="is not finished: the same famus train command"):
        find_predictor(work, "ce", 1)
    assert (
        main(["famus", "predict", str(work), "x.png", "--seed=1", f"--out={tmp_path}/o.csv"]) == 1
    )
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_of_an_earlier_version_gets_a_predictor_as_told(made, work, monkeypatch):
    """Its result stays readable, and the way that the error names gives the very same files, without
    a step trained."""
    run = work / "runs" / "ce" / "seed_0"
    want = {p.name: p.read_bytes() for p in (run / "predictor").iterdir()}
    shutil.rmtree(run / "predictor")
    result = read_sealed(run / "result.json")
    kept = {k: v for k, v in result["files"].items() if "predictor" not in k}
    assert len(kept) == len(result["files"]) - 2
    write_sealed(run / "result.json", {**result, "files": kept})
    command = ["famus", "train", f"--config={made}/config.py", f"--workdir={work}"]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", lambda *a, **k: pytest.fail("trained"))
        assert main(command) == 0
    with pytest.raises(FileNotFoundError, match="earlier famus_jax. Delete .*seed_0/result.json"):
        find_predictor(work, "ce", 0)
    (run / "result.json").unlink()
    assert main(command) == 0
    assert {p.name: p.read_bytes() for p in (run / "predictor").iterdir()} == want


def test_cosines_are_scaled_as_in_the_loss(tmp_path):
    """Fails if probabilities of LDAM, whose logits lie in [-1, 1], are all alike; or others scaled."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "f.npz", images=rng.normal(size=(40, 4)), labels=np.arange(40) % 2)
    config = parse_config(
        {
            "data": {"source": str(tmp_path / "f.npz"), "trusted_per_class": 0},
            "model": {"name": "mlp", "overrides": {"hidden": (4,), "cosine_head": True}},
            "runs": [{"method": "ldam"}],
            "long_tail": {"scale": 12.0},
        }
    )
    setting = make_setting(config, tmp_path)
    data = SeedData(*[None] * 7, None, 2)  # type: ignore[arg-type]
    member = setting.init(jax.random.key(0))
    for method, scale in [("ldam", 12.0), ("ce", 1.0)]:
        made = predictor_of(setting, Seeded(RunConfig(method), 0, data, {}, {}), [member])
        assert (made.scale, made.inputs) == (scale, Features(4))
        p = predict(made, np.eye(4, dtype=np.float32))
        cosines = np.asarray(setting.predict(*member, None, {"image": np.eye(4)})[0])
        odds = np.exp(scale * (cosines[:, 1] - cosines[:, 0]).astype(np.float64))
        np.testing.assert_allclose(p[:, 1] / p[:, 0], odds, rtol=1e-4)


@pytest.mark.slow
def test_two_networks_decide_together(made, tmp_path):
    """Features, and the ensemble's accuracy. Fails if one of the two is kept, or the features are
    normalized."""
    rng, labels = np.random.default_rng(0), np.arange(300) % 3
    features = rng.normal(size=(300, 4)).astype(np.float32) + 1.5 * np.eye(3, 4)[labels]
    source = tmp_path / "f.npz"
    np.savez(source, images=features.astype(np.float32), labels=labels)
    config = {
        "data": {
            "source": str(source),
            "noise_rate": 0.3,
            "trusted_per_class": 0,
            "validation_per_class": 5,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {"steps": 8, "batch_size": 16, "eval_every": 4, "checkpoint_every": 8},
        "pseudo_clean": {"warm_up_steps": 3, "split_every": 3},
        "runs": [{"method": "dividemix"}],
        "seeds": [0],
    }
    row = run_experiment(config, tmp_path / "work", show=lambda text: None)["rows"][0]
    rows = predicted(tmp_path / "work", source, out=tmp_path / "p.csv")
    from famus_jax.data import load_path

    test = load_path(source, "test")
    said = {f"row_{i:07d}": str(label) for i, label in enumerate(labels)}
    right = [r["predicted"] == said[r["id"]] for r in rows if r["id"] in set(test.ids.tolist())]
    assert len(right) == len(test.labels)
    assert np.mean(right) == pytest.approx(row["acc_last"], abs=1e-12)
    assert len(load_predictor(tmp_path / "work/runs/dividemix/seed_0/predictor").members) == 2
