"""Every method on one small, real data set: with trusted labels and without, exact and + FaMUS.

    famus train --config=configs/methods_images.py --workdir=runs/methods_images
    famus train --config=configs/methods_images.py:mixmatch --workdir=runs/methods_images_mixmatch
    famus train --config=configs/methods_images.py:smoke --workdir=runs/methods_images_smoke

5,000 images of CIFAR-10 at 16 x 16 pixels, 60 % symmetric noise (54 % wrong labels), 1,000 trusted ones
for the methods that need them, a small CNN, 1,200 steps for all, three seeds: within an hour on two
cores; resumable. "mixmatch" holds the rows that train on soft targets, at nine to fourteen times the
price of plain training, beside plain cross-entropy. CIFAR-10 must be prepared by tfds (the error says
how); --config.data.data_dir=... says where it lies. "smoke" (digits, no download) shows that the parts
work together, no more.

The same tuning for all: one setting of each method at three values, on a seed that is not in the table,
by the accuracy on held-out noisy labels at the last of 1,500 steps; the variants "tune_low", "tune_mid"
and "tune_high" hold all methods' values:

    famus train --config=configs/methods_images.py:tune_low --workdir=runs/methods_images_tune_low

Fine-tuning: its learning rate; MW-Net: β, which the pseudo-clean MW-Net takes over; MLC: its step; meta
label correction: its learning rate; MixMatch: λ_u, for the rows with and without weights. L2R has none.
"FaMUS" is `learned_gates("paper")` with K = 2 of 4 layers.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

VARIANTS = ("main", "mixmatch", "tune_low", "tune_mid", "tune_high", "smoke")
EXACT, PART = {"kind": "all_layers"}, {"kind": "all_layers", "examples": 8}
GATES = {"kind": "learned_gates", "preset": "paper", "target": 2, "lag": 2}
BASELINES = ("ce", "ce_early_stop", "trusted_only", "noisy_plus_trusted", "finetune", "clean")
RUNS = (
    {"method": "mwnet", "estimator": EXACT},
    {"method": "mwnet", "estimator": PART},
    {"method": "mwnet", "estimator": GATES},
    {"method": "l2r", "estimator": EXACT},
    {"method": "l2r", "estimator": GATES},
    {"method": "mlc", "estimator": EXACT},
    {"method": "mlc", "estimator": GATES},
    {"method": "meta_label_correction", "estimator": EXACT},
    {"method": "mwnet_pseudo_clean", "estimator": GATES},
)
MIXMATCH = (
    {"method": "ce"},
    {"method": "ce_early_stop"},
    {"method": "dividemix"},
    {"method": "mixmatch_pseudo_clean", "estimator": GATES},
)
TUNED = (
    {"method": "ce"},
    {"method": "finetune"},
    {"method": "mwnet", "estimator": PART},
    {"method": "mlc", "estimator": EXACT},
    {"method": "meta_label_correction", "estimator": EXACT},
    {"method": "dividemix"},
)
# (section, setting): its three values.
VALUES = {
    ("schedule", "finetune_learning_rate"): (0.003, 0.01, 0.03),
    ("meta", "learning_rate"): (3e-4, 1e-3, 3e-3),
    ("transition", "step"): (0.7, 7.0, 70.0),
    ("label_correction", "learning_rate"): (1e-4, 3e-4, 1e-3),
    ("pseudo_clean", "lambda_u"): (1.0, 5.0, 25.0),
}
CHOSEN = dict(zip(VALUES, (1, 0, 2, 2, 1)))  # positions in VALUES


def get_config(variant: str = "main") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(
            f"configs/methods_images.py:{variant}: choose one of {', '.join(VARIANTS)}"
        )
    config = default_config()
    config.update(
        {
            "data": {
                "source": "cifar10",
                "noise": "symmetric",
                "noise_rate": 0.6,
                "trusted_per_class": 100,
                "validation_per_class": 50,
                "image_size": 16,
                "max_train": 5000,
                "max_test": 3000,
            },
            "model": {"name": "cnn", "overrides": {"widths": (32, 64, 64)}},
            "schedule": {
                "steps": 1200,
                "batch_size": 64,
                "meta_batch_size": 32,
                "learning_rate": 0.03,
                "decay": "cosine",
                "weight_decay": 5e-4,
                "finetune_steps": 300,
                "eval_every": 120,
                "checkpoint_every": 240,
            },
            "meta": {"optimizer": "adam", "start": "random", "monotone": False},
            "pseudo_clean": {"warm_up_steps": 360, "ramp_steps": 360, "mixup": 1.0},
            "seeds": (0, 1, 2),
        }
    )
    tuning = variant.removeprefix("tune_") if variant.startswith("tune_") else ""
    for (section, name), values in VALUES.items():
        if name == "lambda_u" and variant == "main":
            continue  # none of its rows reads it
        level = ("low", "mid", "high").index(tuning) if tuning else CHOSEN[section, name]
        config[section][name] = values[level]
    config.runs = (*({"method": name} for name in BASELINES), *(dict(run) for run in RUNS))
    if variant == "mixmatch":
        config.runs = tuple(dict(run) for run in MIXMATCH)
    if tuning:
        config.schedule.update({"steps": 1500, "eval_every": 150, "checkpoint_every": 300})
        config.pseudo_clean.update({"warm_up_steps": 450, "ramp_steps": 450})
        config.runs, config.seeds = tuple(dict(run) for run in TUNED), (100,)
    if variant == "smoke":
        _shrink(config)
    return config


def _shrink(config: Any) -> None:
    config.data.update(
        {
            "source": "famus_digits",
            "image_size": 0,
            "max_train": 600,
            "max_test": 100,
            "trusted_per_class": 2,
            "validation_per_class": 5,
        }
    )
    config.model.update({"name": "mlp", "overrides": {"hidden": (16, 16)}})
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
    config.runs = (
        *({"method": name} for name in BASELINES),
        *({"method": name, "estimator": dict(EXACT)} for name in ("mwnet", "l2r", "mlc")),
        {"method": "mwnet_pseudo_clean", "estimator": dict(EXACT)},
        {"method": "dividemix"},
    )
    config.seeds = (0,)
