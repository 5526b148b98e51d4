"""Training on labels that an audit mends: what is trained on, what is kept, what is refused."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from famus_jax.data.splits import Splits
from famus_jax.data.types import Examples
from famus_jax.progress import Progress
from famus_jax.sealed import read_sealed
from famus_jax.train import mended as module
from famus_jax.train.config import parse_config
from famus_jax.train.data_setup import SeedData, Sources
from famus_jax.train.experiment import run_experiment

QUIET: Any = {"show": lambda text: None}
N, C = 12, 3
TRUTH = np.arange(N, dtype=np.int32) % C
TRAIN, VALIDATION, TRUSTED = np.array([4, 0, 7, 9, 1, 11]), np.array([2, 5]), np.array([3, 10])


def seeded():
    noisy = TRUTH.copy()
    noisy[[0, 7, 2]] = (TRUTH[[0, 7, 2]] + 1) % C  # two of the training set, one held out
    inputs = np.eye(C, dtype=np.float32)[TRUTH]
    data = SeedData(
        images=inputs,
        clean=TRUTH,
        noisy=noisy,
        splits=Splits(TRAIN, VALIDATION, TRUSTED),
        noise_rate=None,
        noise_transition=np.eye(C),
        noise_digest="",
        normalize=None,
        num_classes=C,
    )
    train = Examples(inputs, TRUTH, np.array([f"id{i:02d}" for i in range(N)]), C, ("a", "b", "c"))
    one: Any = SimpleNamespace(
        data=data, seed=3, run=SimpleNamespace(name="mended"), made_from={"config": "x"}
    )
    return Sources(train, train, 0), one


def answers(issue, suggested, likely):
    """An audit that says so of its items, and what it was asked."""
    asked = []

    def audit(items, **more):
        asked.append((items, more))
        n = len(items.labels)
        issues = SimpleNamespace(
            is_label_issue=np.isin(items.ids, issue),
            suggested_label=np.array([suggested.get(i, -9) for i in items.ids], np.int32),
            p_suggested=np.array([0.9 if i in likely else 0.1 for i in items.ids]),
        )
        assert n == len(TRAIN) + len(TRUSTED)
        return SimpleNamespace(issues=issues)

    return audit, asked


def run(tmp_path):
    sources, one = seeded()
    with Progress(1, "step", show=False) as progress:
        return module.mended(sources, one, tmp_path / "run", progress)


def test_issues_get_the_suggestion_or_are_left_out(tmp_path, monkeypatch):
    """Fails if another example's label moves, or a position among the audited is taken for one among
    all."""
    audit, asked = answers(["id00", "id07"], {"id00": 0}, ["id00"])
    monkeypatch.setattr(module, "audit", audit)
    found = run(tmp_path)
    assert found.data.splits.train.tolist() == [4, 0, 9, 1, 11]  # in their order, without 7
    assert found.data.noisy[found.data.splits.train].tolist() == TRUTH[[4, 0, 9, 1, 11]].tolist()
    held_out = [*VALIDATION, *TRUSTED]
    assert found.data.noisy[held_out].tolist() == seeded()[1].data.noisy[held_out].tolist()
    items, more = asked[0]
    assert items.ids.tolist() == [f"id{i:02d}" for i in np.sort([*TRAIN, *TRUSTED])]
    right = dict(zip(items.ids.tolist(), more["known"].right.tolist()))
    assert {i for i, label in right.items() if label >= 0} == {"id03", "id10"}
    assert (right["id03"], right["id10"]) == (TRUTH[3], TRUTH[10])
    assert items.ids[more["known"].added].tolist() == ["id03", "id10"]
    assert more["seed"] == 3


def test_it_is_asked_once(tmp_path, monkeypatch):
    """Fails if a run that goes on audits again, or a damaged file is believed."""
    audit, asked = answers(["id00"], {"id00": 0}, ["id00"])
    monkeypatch.setattr(module, "audit", audit)
    first = run(tmp_path).data
    again = run(tmp_path).data
    assert len(asked) == 1
    assert again.noisy.tolist() == first.noisy.tolist()
    path = tmp_path / "run" / module.FILE
    path.write_text(path.read_text().replace("labels", "lapels"))
    with pytest.warns(UserWarning, match="made again"):
        assert run(tmp_path).data.noisy.tolist() == first.noisy.tolist()
    assert len(asked) == 2
    kept = read_sealed(path)
    kept["made_from"] = {"config": "y"}
    path.unlink()
    module.write_sealed(path, {k: kept[k] for k in ("labels", "seconds", "made_from")})
    with pytest.raises(ValueError, match="config"):
        run(tmp_path)


def test_nothing_left_is_said(tmp_path, monkeypatch):
    audit, _ = answers([f"id{i:02d}" for i in range(N)], {}, [])
    monkeypatch.setattr(module, "audit", audit)
    with pytest.raises(ValueError, match=r"leaves 0 of 6 training examples.*leave this run out"):
        run(tmp_path)


def test_streams_are_refused():
    config = {"data": {"source": "./a", "path": "stream"}, "runs": [{"method": "mended"}]}
    with pytest.raises(ValueError, match=r"'mended' audits all images at once.*'memory'"):
        parse_config(config)


@pytest.mark.slow
def test_it_finds_what_is_wrong_and_trains_better(tmp_path):
    """Points in ten clouds, a third of the labels wrong; a network large enough to learn them by heart.

    Fails if the mended labels never reach the training.
    """
    rng = np.random.default_rng(0)
    truth = np.arange(600) % 10
    centers = rng.normal(size=(10, 16))
    inputs = (centers[truth] + 0.5 * rng.normal(size=(600, 16))).astype(np.float32)
    np.savez(tmp_path / "points.npz", images=inputs, labels=truth)
    config = {
        "data": {
            "source": str(tmp_path / "points.npz"),
            "noise": "symmetric_exclusive",
            "noise_rate": 0.33,
            "trusted_per_class": 0,
            "validation_per_class": 2,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (256, 256)}},
        "schedule": {"steps": 600, "batch_size": 32, "eval_every": 300, "checkpoint_every": 600},
        "runs": [{"method": "ce"}, {"method": "mended"}],
    }
    result = run_experiment(config, tmp_path / "work", **QUIET)
    by_method = {row["method"]: row for row in result["rows"]}
    assert by_method["mended"]["seconds"] > by_method["ce"]["seconds"]
    ce, mended = (by_method[name]["acc_last"] for name in ("ce", "mended"))
    assert mended > ce + 0.03, (ce, mended)
