"""A small work directory with numbers that can be worked by hand."""

import json

from famus_jax.sealed import write_sealed

# Test accuracies at steps 10, 20 by seed; at the end 0.60, 0.70, 0.80: mean 70, sd sqrt(200 / 2) = 10.
ACCURACIES = {0: (0.5, 0.6), 1: (0.75, 0.7), 2: (0.65, 0.8)}
CONFIG = {
    "schedule": {"steps": 20, "finetune_steps": 5},
    "runs": [
        {"method": "ce", "estimator": {}},
        {"method": "mwnet", "estimator": {"kind": "all_layers"}},
    ],
    "seeds": [0, 1, 2],
    "data": {"noise_rate": 0.4},
}


def make(folder, finished=True, noise_rate=0.4):
    """Two methods, three seeds; `finished`: else the second method's last seed is half done."""
    config = {**CONFIG, "data": {"noise_rate": noise_rate}}
    write_sealed(folder / "config.json", {"digest": "0", "config": config, "made_from": {}})
    rows = []
    for method, label, name in (
        ("ce", "none", "ce"),
        ("mwnet", "all_layers", "mwnet-all_layers"),
    ):
        for seed, values in ACCURACIES.items():
            place = folder / "runs" / name / f"seed_{seed}"
            history = [
                _record(method, step, acc) for step, acc in zip((10, 20), values, strict=True)
            ]
            if not finished and (name, seed) == ("mwnet-all_layers", 2):
                place.mkdir(parents=True)
                half = json.dumps(history[0]) + "\n" + '{"step": 20, "test_acc'
                (place / "metrics.jsonl").write_text(half)
                continue
            rows.append(_row(method, label, seed, values))
            weights = {"edges": [0, 0.5, 1, 2], "right": [1, 2, 7], "wrong": [6, 3, 1]}
            write_sealed(
                place / "result.json",
                {
                    "row": rows[-1],
                    "history": history,
                    "weight_counts": weights if method == "mwnet" else None,
                    "noise_transition": [[0.6, 0.4], [0.3, 0.7]],
                },
            )
    if finished:
        made = {"command": "famus train --config=a.py", "commit": "abc", "device": "1 x cpu"}
        summary = {"rows": rows, "config": config, "provenance": made}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def _record(method, step, accuracy):
    record = {"step": step, "loss": 2 / step, "cost": 1.0, "test_accuracy": accuracy}
    if method == "mwnet":
        record |= {"cost": 1.5, "weight_clean": 1.2, "weight_wrong": 0.7}
        record["weight_by_loss"] = [1.5, 1.2, None, 0.4]
    return record


def _row(method, label, seed, values):
    return {
        "method": method,
        "estimator": label,
        "seed": seed,
        "acc_best": max(values),
        "acc_last": values[-1],
        "acc_selected": values[0],
        "noise_rate_realized": 0.38,
        "steps": 20,
        "seconds": 3.0,
        "step_cost": 1.5 if method == "mwnet" else 1.0,
        "weight_auroc": 0.9 if method == "mwnet" else None,
        "warnings": [],
    }
