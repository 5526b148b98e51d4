"""The carried direction beside the exact gradient: how many examples, how often renewed, how long kept.

    famus train --config=configs/carried.py:digits --workdir=runs/carried/digits
    python -m experiments.cifar10_features --data_dir=... --human_labels=... --out=runs/cifar10
    famus train --config=configs/carried.py:features --workdir=runs/carried/features
    python -m experiments.carried_table runs/carried/* --json=results/carried.json
    famus train --config=configs/carried.py:smoke --workdir=runs/carried/smoke

MW-Net as it comes, ten seeds (100 to 109), batches of 64 and 16 trusted ones; nothing is tuned for any
row. "digits": the setting of `configs/estimators.py:digits_short`, every row. "features": 12,500 images
of CIFAR-10 as a pretrained network sees them (`configs/methods.py`), 60 % symmetric noise, 200 trusted
labels, as long as plain training needs to learn the noise by heart. "worst": the same images with the
worst of three people's labels (CIFAR-10N). "_norm": the same with a network with BatchNorm, which four
examples can't feed.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

SETTINGS = ("digits", "features", "worst")
VARIANTS = (*SETTINGS, *(f"{name}_norm" for name in SETTINGS), "smoke")
EXACT = {"kind": "all_layers"}
EIGHT = {**EXACT, "examples": 8}


def carried(k: int, j: int, decay: float) -> dict[str, Any]:
    """k examples are heard, the direction is renewed every j-th update."""
    return {**EXACT, "virtual_step": "carried", "examples": k, "renew_every": j, "decay": decay}


SHORT = (carried(4, 8, 0.5), carried(8, 8, 0.5), carried(8, 4, 0.5), carried(8, 1, 0.9))
SWEEP = (
    *SHORT,
    carried(2, 8, 0.5),
    carried(4, 4, 0.5),
    carried(4, 16, 0.5),
    carried(4, 8, 0.0),
    carried(4, 8, 0.9),
)


def get_config(variant: str = "digits") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/carried.py:{variant}: choose one of {', '.join(VARIANTS)}")
    config = default_config()
    name = "digits" if variant == "smoke" else variant.removesuffix("_norm")
    (_digits if name == "digits" else _features)(config)
    if name == "worst":
        config.data.update({"noise": "none", "noise_table": "runs/cifar10/worst.csv"})
    if variant.endswith("_norm"):
        config.model.overrides = {**config.model.overrides, "norm": "batch"}
    rows = SWEEP if variant in ("digits", "smoke") else SHORT
    config.runs = (
        {"method": "ce"},
        *({"method": "mwnet", "estimator": dict(row)} for row in (EXACT, EIGHT, *rows)),
    )
    config.schedule.update(
        {
            "batch_size": 64,
            "meta_batch_size": 16,
            "learning_rate": 0.03,
            "decay": "cosine",
            "weight_decay": 5e-4,
            "eval_every": 200,
            "checkpoint_every": config.schedule.steps,
        }
    )
    config.seeds = tuple(range(100, 110))
    if variant == "smoke":
        config.schedule.update({"steps": 16, "eval_every": 8, "checkpoint_every": 16})
        config.seeds = (0,)
    return config


def _digits(config: Any) -> None:
    config.data.update(
        {
            "source": "famus_digits",
            "noise": "symmetric",
            "noise_rate": 0.6,
            "trusted_per_class": 5,
            "validation_per_class": 10,
        }
    )
    config.model.update({"name": "mlp", "overrides": {"hidden": (256, 256)}})
    config.schedule.steps = 2000


def _features(config: Any) -> None:
    config.data.update(
        {
            "source": "./runs/cifar10/features.npz",
            "noise": "symmetric",
            "noise_rate": 0.6,
            "trusted_per_class": 20,
            "validation_per_class": 100,
        }
    )
    config.model.update({"name": "mlp", "overrides": {"hidden": (256, 128)}})
    config.schedule.steps = 3000
