"""Texts with labels that rules gave: every method that could help, with and without trusted labels.

    python -m experiments.real_noise_tables --texts=DIR --out=runs/real_noise
    famus train --config=configs/real_noise.py:trec_100_trusted --workdir=runs/rules/trec_100_trusted
    python -m experiments.methods_table --study=real_noise runs/rules/*
    famus train --config=configs/real_noise.py:smoke --workdir=runs/rules/smoke

Two sets, each with a rule's label and a person's for every text (how a folder must look:
`experiments/real_noise_tables.py`):

    trec      4,791 questions by six topics, 46 % wrong: the majority of 68 keyword rules (Awasthi et
              al., arXiv:2004.06025), the questions of Li and Roth (2002)
    hausa     2,045 news titles in Hausa by five topics, 50 % wrong: a gazetteer (Hedderich et al.,
              arXiv:2010.03179)

A variant is SET_N_GROUP, with N trusted labels, equally many of each class (about 20 and 100):

    trec_none_plain, hausa_none_plain       methods without trusted labels
    trec_20_trusted, trec_100_trusted, ...  methods with

An MLP on hashed words and parts of words; 2,000 steps of 64 for all rows, long enough that plain
training learns most wrong labels by heart; three seeds. Twenty texts of each class are held out with
the rules' labels. The same tuning for all rows: one setting of a method at three values (`VALUES`) on a
seed that is not in the table, by the accuracy on held-out rules' labels at the last step, on the
settings with 100 trusted labels and on those with none: SET_N_GROUP_low, _mid and _high.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

# Trusted and held-out texts per class.
SETTINGS: dict[str, dict[str, Any]] = {
    "trec_none": {"set": "trec", "trusted_per_class": 0},
    "trec_20": {"set": "trec", "trusted_per_class": 3},
    "trec_100": {"set": "trec", "trusted_per_class": 17},
    "hausa_none": {"set": "hausa_topics", "trusted_per_class": 0},
    "hausa_20": {"set": "hausa_topics", "trusted_per_class": 4},
    "hausa_100": {"set": "hausa_topics", "trusted_per_class": 20},
}
TITLES = {
    "trec_none": "TREC, no trusted label",
    "trec_20": "TREC, 18 trusted",
    "trec_100": "TREC, 102 trusted",
    "hausa_none": "Hausa topics, no trusted label",
    "hausa_20": "Hausa topics, 20 trusted",
    "hausa_100": "Hausa topics, 100 trusted",
}
TRUSTED = {"trec_20": 18, "trec_100": 102, "hausa_20": 20, "hausa_100": 100}
LEVELS = ("low", "mid", "high")
TUNED_ON = {"trec_20": "trec_100", "hausa_20": "hausa_100"}  # the others on themselves
EXACT, PART = {"kind": "all_layers"}, {"kind": "all_layers", "examples": 8}
LAST = {"kind": "last_layers", "k": 1, "virtual_step": "active"}
GATES = {"kind": "learned_gates", "preset": "paper", "target": 1, "lag": 2}
GROUPS: dict[str, tuple[dict[str, Any], ...]] = {
    "plain": (
        *(
            {"method": name}
            for name in ("ce", "ce_early_stop", "clean", "gce", "nce_rce", "elr", "mixup")
        ),
        *({"method": name} for name in ("mentornet", "co_teaching", "m_correction", "elr_plus")),
        {"method": "mwnet_noisy_meta", "estimator": PART},
        {"method": "mwnet_small_loss", "estimator": PART},
        {"method": "mixmatch_pseudo_clean", "estimator": PART},
    ),
    "trusted": (
        *({"method": name} for name in ("ce", "trusted_only", "noisy_plus_trusted", "finetune")),
        {"method": "mwnet", "estimator": PART},
        {"method": "mwnet", "estimator": GATES},
        {"method": "l2r", "estimator": EXACT},
        {"method": "l2r", "estimator": LAST},
        {"method": "mlc", "estimator": EXACT},
        {"method": "meta_label_correction", "estimator": EXACT},
        {"method": "cmwnet", "estimator": PART},
        {"method": "mwnet_features", "estimator": PART},
    ),
}
# (section, setting): its three values, and below the method that chooses one of them.
VALUES: dict[tuple[str, str], tuple[Any, Any, Any]] = {
    ("schedule", "finetune_learning_rate"): (0.003, 0.01, 0.03),
    ("robust", "q"): (0.5, 0.7, 0.9),
    ("robust", "nce_alpha"): (1.0, 3.0, 10.0),
    ("elr", "weight"): (1.0, 3.0, 7.0),
    ("mixup", "concentration"): (0.4, 1.0, 4.0),
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
    ("robust", "nce_alpha"): "nce_rce",
    ("elr", "weight"): "elr",
    ("mixup", "concentration"): "mixup",
    ("meta", "learning_rate"): "mwnet",
    ("transition", "step"): "mlc",
    ("label_correction", "learning_rate"): "meta_label_correction",
    ("pseudo_clean", "lambda_u"): "mixmatch_pseudo_clean",
    ("co_teaching", "noise_rate"): "co_teaching",
    ("m_correction", "mixup"): "m_correction",
}
CHOSEN: dict[str, tuple[int, ...]] = {  # positions in VALUES
    "trec_none": (1, 0, 2, 1, 0, 1, 1, 1, 2, 0, 0),
    "trec_100": (0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1),
    "hausa_none": (1, 0, 2, 1, 2, 1, 1, 1, 0, 0, 0),
    "hausa_100": (0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1),
}

_MAIN = tuple(
    f"{name}_{'trusted' if setting['trusted_per_class'] else 'plain'}"
    for name, setting in SETTINGS.items()
)
_TUNING = tuple(variant for variant in _MAIN if variant.rsplit("_", 1)[0] not in TUNED_ON)
VARIANTS = (*_MAIN, *(f"{variant}_{level}" for variant in _TUNING for level in LEVELS), "smoke")


def get_config(variant: str = "trec_100_trusted") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/real_noise.py:{variant}: choose one of {', '.join(VARIANTS)}")
    main, level = variant, ""
    if variant.endswith(LEVELS):
        main, level = variant.rsplit("_", 1)
    setting, group = ("trec_100", "trusted") if main == "smoke" else main.rsplit("_", 1)
    folder = f"./runs/real_noise/{SETTINGS[setting]['set']}"
    config = default_config()
    config.update(
        {
            "data": {
                "source": folder,
                "label_column": "true_label",
                "text_buckets": 1024,
                "noise": "none",
                "noise_table": f"{folder}/train.tsv",
                "trusted_per_class": SETTINGS[setting]["trusted_per_class"],
                "validation_per_class": 20,
            },
            "model": {"name": "mlp", "overrides": {"hidden": (128,)}},
            "schedule": {
                "steps": 2000,
                "batch_size": 64,
                "meta_batch_size": 20,
                "learning_rate": 0.1,
                "decay": "cosine",
                "weight_decay": 5e-4,
                "finetune_steps": 300,
                "eval_every": 100,
                "checkpoint_every": 2000,
            },
            "transition": {"carry": True},
            "pseudo_clean": {"warm_up_steps": 200, "ramp_steps": 400, "mixup": 1.0},
            "runs": tuple(dict(run) for run in GROUPS[group]),
            "seeds": (0, 1, 2),
        }
    )
    positions = CHOSEN[TUNED_ON.get(setting, setting)]
    for ((section, name), values), position in zip(VALUES.items(), positions, strict=True):
        config[section][name] = values[LEVELS.index(level) if level else position]
    if level:
        choosing = ("ce", *CHOOSES.values())
        config.runs = tuple(run for run in config.runs if run["method"] in choosing)
        config.seeds = (100,)
    if variant == "smoke":
        _shrink(config)
    return config


def _shrink(config: Any) -> None:
    """Digits in the place of texts: nothing to fetch."""
    config.data.update(
        {
            "source": "famus_digits",
            "label_column": "label",
            "noise": "symmetric",
            "noise_table": "",
            "max_train": 600,
            "max_test": 100,
            "trusted_per_class": 2,
            "validation_per_class": 5,
        }
    )
    config.model.overrides = {"hidden": (16,)}
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
    config.pseudo_clean.update({"warm_up_steps": 4, "ramp_steps": 2})
    config.runs = tuple(dict(run) for group in GROUPS.values() for run in group)
    config.seeds = (0,)
