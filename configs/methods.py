"""Every method side by side, until plain training has learned the noise by heart.

    python -m experiments.cifar10_features --data_dir=... --human_labels=... --out=runs/cifar10
    famus train --config=configs/methods.py:symmetric_60_one --workdir=runs/methods/symmetric_60_one
    python -m experiments.methods_table runs/methods/*
    famus train --config=configs/methods.py:smoke --workdir=runs/methods/smoke

12,500 images of CIFAR-10 as a pretrained network sees them (`experiments/cifar10_features.py`), a
quarter of them for testing with right labels; 200 trusted labels for the rows that use them, 1,000
noisy ones held out; an MLP, 3,000 steps of 128 for all rows (49 passes), three seeds. A variant is
SETTING_GROUP:

    symmetric_40, symmetric_60   labels drawn anew from all classes (36 and 54 % wrong)
    asymmetric_40                look-alikes taken for each other (20 % wrong)
    aggregate, worst             CIFAR-10N: labels that people gave (9 and 40 % wrong); arXiv:2110.12088

    one       one network, and the baselines, some of which train on the trusted labels
    weights   what learns weights or corrections, most of it from the trusted labels
    two       two networks, or (M-correction) one that is split in their way

The same tuning for all: one setting of a method at three values (`VALUES`), on a seed that is not in
the table, by the accuracy on held-out noisy labels at the last step, on symmetric_60 (for symmetric_40
too), asymmetric_40 and worst (for aggregate too). The learning rate is one for all rows and not tuned.
SETTING_GROUP_low, _mid and _high are those runs:

    famus train --config=configs/methods.py:worst_one_low --workdir=runs/methods/worst_one_low

`python -m experiments.methods_table --choose runs/methods/*` prints `CHOSEN`. What has no setting of
its own (L2R, MAE, mended labels) had nothing to tune. "smoke" (digits, no download) shows that the
parts work together, no more.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

SETTINGS: dict[str, dict[str, Any]] = {
    "symmetric_40": {"noise": "symmetric", "noise_rate": 0.4},
    "symmetric_60": {"noise": "symmetric", "noise_rate": 0.6},
    "asymmetric_40": {"noise": "dividemix/asymmetric", "noise_rate": 0.4},
    "aggregate": {"noise_table": "runs/cifar10/aggregate.csv"},
    "worst": {"noise_table": "runs/cifar10/worst.csv"},
}
TITLES = {
    "symmetric_40": "symmetric, 40 %",
    "symmetric_60": "symmetric, 60 %",
    "asymmetric_40": "asymmetric, 40 %",
    "aggregate": "CIFAR-10N aggregate",
    "worst": "CIFAR-10N worst",
}
LEVELS = ("low", "mid", "high")
TUNED_ON = {"symmetric_40": "symmetric_60", "aggregate": "worst"}  # the others on themselves
EXACT, PART = {"kind": "all_layers"}, {"kind": "all_layers", "examples": 8}
LAST = {"kind": "last_layers", "k": 1, "virtual_step": "active"}
GATES = {"kind": "learned_gates", "preset": "paper", "target": 1, "lag": 2}
BASELINES = ("ce", "ce_early_stop", "trusted_only", "noisy_plus_trusted", "finetune", "clean")
LOSSES = ("gce", "sce", "nce_rce", "mae", "label_smoothing", "bootstrap_soft", "bootstrap_hard")
GROUPS: dict[str, tuple[dict[str, Any], ...]] = {
    "one": tuple(
        {"method": name}
        for name in (*BASELINES, "mended", *LOSSES, "elr", "sop", "mixup", "mentornet", "mentormix")
    ),
    "weights": (
        {"method": "mwnet", "estimator": EXACT},
        {"method": "mwnet", "estimator": PART},
        {"method": "mwnet", "estimator": GATES},
        {"method": "l2r", "estimator": EXACT},
        {"method": "l2r", "estimator": LAST},
        {"method": "l2r", "estimator": GATES},
        {"method": "mlc", "estimator": EXACT},
        {"method": "meta_label_correction", "estimator": EXACT},
        {"method": "cmwnet", "estimator": PART},
        {"method": "mwnet_features", "estimator": PART},
        {"method": "mwnet_noisy_meta", "estimator": PART},
        {"method": "mwnet_clid", "estimator": PART},
        {"method": "mwnet_small_loss", "estimator": PART},
    ),
    "two": (
        {"method": "mwnet_pseudo_clean", "estimator": PART},
        {"method": "mixmatch_pseudo_clean", "estimator": PART},
        {"method": "dividemix"},
        {"method": "co_teaching"},
        {"method": "elr_plus"},
        {"method": "m_correction"},
    ),
}
# (section, setting): its three values, and below the method that chooses one of them; others that read
# the setting take the choice over. None reads two, but for the learning rate.
VALUES: dict[tuple[str, str], tuple[Any, Any, Any]] = {
    ("schedule", "finetune_learning_rate"): (0.001, 0.003, 0.01),
    ("robust", "q"): (0.5, 0.7, 0.9),
    ("robust", "sce_alpha"): (0.1, 1.0, 6.0),
    ("robust", "nce_alpha"): (1.0, 3.0, 10.0),
    ("robust", "smoothing"): (0.1, 0.3, 0.6),
    ("robust", "bootstrap_soft"): (0.95, 0.8, 0.6),
    ("robust", "bootstrap_hard"): (0.8, 0.6, 0.4),
    ("elr", "weight"): (1.0, 3.0, 7.0),
    ("sop", "u_step"): (0.1, 1.0, 10.0),
    ("mixup", "concentration"): (0.4, 1.0, 4.0),
    ("mentormix", "percentile"): (0.4, 0.6, 0.8),
    ("meta", "learning_rate"): (1e-3, 3e-3, 1e-2),
    ("transition", "step"): (0.3, 1.0, 3.0),
    ("label_correction", "learning_rate"): (1e-4, 3e-4, 1e-3),
    ("pseudo_clean", "lambda_u"): (0.0, 5.0, 25.0),
    ("co_teaching", "noise_rate"): (0.2, 0.4, 0.6),
    ("m_correction", "mixup"): (1.0, 8.0, 32.0),
}
CHOOSES: dict[tuple[str, str], str] = {
    ("schedule", "finetune_learning_rate"): "finetune",
    ("robust", "q"): "gce",
    ("robust", "sce_alpha"): "sce",
    ("robust", "nce_alpha"): "nce_rce",
    ("robust", "smoothing"): "label_smoothing",
    ("robust", "bootstrap_soft"): "bootstrap_soft",
    ("robust", "bootstrap_hard"): "bootstrap_hard",
    ("elr", "weight"): "elr",
    ("sop", "u_step"): "sop",
    ("mixup", "concentration"): "mixup",
    ("mentormix", "percentile"): "mentormix",
    ("meta", "learning_rate"): "mwnet",
    ("transition", "step"): "mlc",
    ("label_correction", "learning_rate"): "meta_label_correction",
    ("pseudo_clean", "lambda_u"): "dividemix",
    ("co_teaching", "noise_rate"): "co_teaching",
    ("m_correction", "mixup"): "m_correction",
}
CHOSEN: dict[str, tuple[int, ...]] = {  # positions in VALUES
    "symmetric_60": (2, 2, 1, 0, 2, 0, 2, 2, 2, 2, 0, 0, 2, 2, 2, 2, 2),
    "asymmetric_40": (0, 0, 1, 2, 2, 1, 2, 2, 0, 1, 1, 2, 1, 2, 1, 0, 1),
    "worst": (1, 2, 1, 1, 2, 1, 1, 2, 0, 2, 0, 1, 2, 2, 1, 2, 2),
}

_MAIN = tuple(f"{name}_{group}" for name in SETTINGS for group in GROUPS)
_TUNING = tuple(variant for variant in _MAIN if variant.rsplit("_", 1)[0] not in TUNED_ON)
VARIANTS = (*_MAIN, *(f"{variant}_{level}" for variant in _TUNING for level in LEVELS), "smoke")


def get_config(variant: str = "symmetric_60_one") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/methods.py:{variant}: choose one of {', '.join(VARIANTS)}")
    main, level = variant, ""
    if variant.endswith(LEVELS):
        main, level = variant.rsplit("_", 1)
    setting, group = ("symmetric_60", "one") if main == "smoke" else main.rsplit("_", 1)
    config = default_config()
    config.update(
        {
            "data": {
                "source": "./runs/cifar10/features.npz",
                "noise": "none",
                "trusted_per_class": 20,
                "validation_per_class": 100,
                **SETTINGS[setting],
            },
            "model": {"name": "mlp", "overrides": {"hidden": (256, 128)}},
            "schedule": {
                "steps": 3000,
                "batch_size": 128,
                "meta_batch_size": 64,
                "learning_rate": 0.03,
                "decay": "cosine",
                "weight_decay": 5e-4,
                "finetune_steps": 300,
                "eval_every": 50,
                "checkpoint_every": 3000,
            },
            "transition": {"carry": True},
            "pseudo_clean": {"warm_up_steps": 340, "ramp_steps": 680, "mixup": 1.0},
            "runs": tuple(dict(run) for run in GROUPS[group]),
            "seeds": (0, 1, 2),
        }
    )
    positions = CHOSEN.get(TUNED_ON.get(setting, setting), (1,) * len(VALUES))
    for ((section, name), values), position in zip(VALUES.items(), positions, strict=True):
        config[section][name] = values[LEVELS.index(level) if level else position]
    if level:
        config.runs, config.seeds = tuple(run for run in config.runs if _tuned(run)), (100,)
    if variant == "smoke":
        _shrink(config)
    return config


def _tuned(run: Any) -> bool:
    """Whether a setting in `VALUES` is chosen by this row's accuracy; plain training is for comparing.

    A row that reads a setting which another row chooses takes it over, so it needs no tuning run.
    """
    return run["method"] in ("ce", *CHOOSES.values())


def _shrink(config: Any) -> None:
    config.data.update(
        {
            "source": "famus_digits",
            "max_train": 600,
            "max_test": 100,
            "trusted_per_class": 2,
            "validation_per_class": 5,
        }
    )
    config.model.overrides = {"hidden": (16, 16)}
    config.schedule.update(
        {
            "steps": 8,
            "batch_size": 16,
            "meta_batch_size": 16,
            "finetune_steps": 4,
            "eval_every": 4,
            "checkpoint_every": 8,
        }
    )
    config.pseudo_clean.update({"warm_up_steps": 4, "split_every": 2, "ramp_steps": 2})
    rows = (run for group in GROUPS.values() for run in group)
    config.runs = tuple(dict(run) for run in rows if run["method"] != "mended")
    config.seeds = (0,)
