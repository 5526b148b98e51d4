"""FaMUS, Table 4: which layers the meta gradient is of; MW-Net, CIFAR-100, 60 % symmetric noise.

Xu, Zhu, Jiang, Yang: Faster Meta Update Strategy for Noise-Robust Deep Learning, CVPR 2021,
https://arxiv.org/abs/2104.15092

    famus train --config=configs/table4.py:cifar100_60 --workdir=runs/table4/cifar100_60
    famus train --config=configs/table4.py:smoke --workdir=runs/table4/smoke

"smoke" (digits, no download) takes a handful of steps with a small MLP: it shows that the parts work
together, no more. CIFAR must be prepared by tfds (the error says how); --config.data.data_dir=... says
where it lies.

Not yet run here, apart from "smoke".

What the paper prints (best test accuracy in %, ± not given; ms per step on one V100):

                              ms   60 %
    MW-Net, all layers       933   61.7
    last blocks    b = 4     718   60.8
                   b = 8     569   61.9
                   b = 12    326   61.4
    random layers  s = 4     764   61.2
                   s = 8     826   61.6
                   s = 16    899   62.1
    FaMUS                    284   62.9

As in the paper: the setting of `table1.py`. The paper does not say what b counts. Its times fall with
b, so we read it as the lowest of WideResNet-28-10's twelve blocks that is active, with all above it and
the head: the last 21, 12 and 3 of its 29 layers. Ours: images with noisy labels are held out for model
selection, and gates are drawn two steps ahead.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

VARIANTS = ("cifar100_60", "smoke")
GATES = {"kind": "learned_gates", "preset": "paper", "lag": 2}
LAST_BLOCKS = {4: 21, 8: 12, 12: 3}  # b: layers, of 29
ESTIMATORS = (
    {"kind": "all_layers"},
    *({"kind": "last_layers", "k": k} for k in LAST_BLOCKS.values()),
    *({"kind": "random_layers", "s": s} for s in (4, 8, 16)),
    GATES,
)


def get_config(variant: str = "cifar100_60") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/table4.py:{variant}: choose one of {', '.join(VARIANTS)}")
    config = default_config()
    config.update(
        {
            "data": {
                "source": "cifar100",
                "noise": "mwnet/symmetric",
                "noise_rate": 0.6,
                "trusted_per_class": 10,
                "validation_per_class": 10,
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
    # Of three layers instead of twenty-nine.
    estimators = (
        {"kind": "all_layers"},
        {"kind": "last_layers", "k": 2},
        {"kind": "random_layers", "s": 2},
        {**GATES, "target": 2, "max_programs": 2},
    )
    config.runs = tuple({"method": "mwnet", "estimator": e} for e in estimators)
    config.seeds = (0,)
