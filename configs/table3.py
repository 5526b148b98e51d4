"""FaMUS, Table 3: the losses of the gates, MW-Net on CIFAR-10 and CIFAR-100 with 60 % symmetric noise.

Xu, Zhu, Jiang, Yang: Faster Meta Update Strategy for Noise-Robust Deep Learning, CVPR 2021,
https://arxiv.org/abs/2104.15092

    famus train --config=configs/table3.py:cifar10 --workdir=runs/table3/cifar10
    famus train --config=configs/table3.py:smoke --workdir=runs/table3/smoke

A variant is the data: cifar10 or cifar100. "smoke" (digits, no download) takes a handful of steps with
a small MLP: it shows that the parts work together, no more. CIFAR must be prepared by tfds (the error
says how); --config.data.data_dir=... says where it lies.

Not yet run here, apart from "smoke".

What the paper prints (best test accuracy in %, ± not given; ms per step on one V100):

                      ms   CIFAR-10   CIFAR-100
    L_c              933       84.5        61.7
    L_c + L_g        446       85.2        62.2
    L_c + L_r        275       85.3        62.0
    all three        284       85.8        62.9

As in the paper: the setting of `table1.py`; λ1 = 0 leaves out L_r, λ2 = 0 leaves out L_g (Eq. 10 to
12). The row L_c has the numbers and the time of MW-Net itself, so it stands for all layers here; gates
with L_c alone are a row of ours. Ours too: images with noisy labels are held out for model selection,
and gates are drawn two steps ahead.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

VARIANTS = ("cifar10", "cifar100", "smoke")
GATES = {"kind": "learned_gates", "preset": "paper", "lag": 2}
ESTIMATORS = (
    {"kind": "all_layers"},
    {**GATES, "lambda_r": 0.0, "lambda_g": 0.0},
    {**GATES, "lambda_r": 0.0},
    {**GATES, "lambda_g": 0.0},
    GATES,
)


def get_config(variant: str = "cifar10") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/table3.py:{variant}: choose one of {', '.join(VARIANTS)}")
    data = "cifar10" if variant == "smoke" else variant
    per_class = 100 if data == "cifar10" else 10
    config = default_config()
    config.update(
        {
            "data": {
                "source": data,
                "noise": "mwnet/symmetric",
                "noise_rate": 0.6,
                "trusted_per_class": per_class,
                "validation_per_class": per_class,
                "augment": "crop_flip",
            },
            "model": {"name": "wrn_28_10", "overrides": {}},
            "schedule": {
                "steps": 20_000,
                "batch_size": 100,
                "meta_batch_size": 100,
                "learning_rate": 0.05,
                "decay": "step",
                "milestones": (18_000, 19_000),
                "momentum": 0.9,
                "weight_decay": 5e-4,
                "finetune_steps": 1000,
                "finetune_learning_rate": 0.005,
                "eval_every": 500,
                "checkpoint_every": 1000,
            },
            "meta": {
                "hidden": 100,
                "learning_rate": 1e-3,
                "momentum": 0.9,
                "optimizer": "sgd",
                "start": "random",
                "monotone": False,
            },
            "runs": tuple({"method": "mwnet", "estimator": dict(e)} for e in ESTIMATORS),
            "seeds": (0, 1, 2),
        }
    )
    if variant == "smoke":
        _shrink(config)
    return config


def _shrink(config: Any) -> None:
    config.data.update(
        {
            "source": "famus_digits",
            "augment": "shift",
            "trusted_per_class": 5,
            "validation_per_class": 5,
        }
    )
    config.model.update({"name": "mlp", "overrides": {"hidden": (32, 32)}})
    config.schedule.update(
        {
            "steps": 20,
            "milestones": (12, 16),
            "batch_size": 50,
            "meta_batch_size": 20,
            "eval_every": 10,
            "checkpoint_every": 20,
        }
    )
    # K of three layers instead of twenty-nine, and fewer programs to compile.
    small = {"target": 2, "max_programs": 2}
    config.runs = tuple(
        {"method": "mwnet", "estimator": {**e, **(small if e["kind"] == "learned_gates" else {})}}
        for e in ESTIMATORS[1:3]
    )
    config.seeds = (0,)
