"""CIFAR-10 with 40 % or 60 % symmetric noise, in the setting of FaMUS's Table 1 (MW-Net's rows).

Xu, Zhu, Jiang, Yang: Faster Meta Update Strategy for Noise-Robust Deep Learning, CVPR 2021,
https://arxiv.org/abs/2104.15092

    famus train --config=configs/cifar10.py:40 --workdir=runs/cifar10_40
    famus train --config=configs/cifar10.py:60 --workdir=runs/cifar10_60
    famus train --config=configs/cifar10.py:smoke --workdir=runs/cifar10_smoke

CIFAR-10 must be prepared by tfds (the error says how); --config.data.data_dir=... says where it lies.
"40" is the default. "smoke" (40 %) is a small CNN on a few thousand images for 300 steps and one seed:
it shows that the parts work together, not who wins.

Not yet run to the end here, apart from "smoke".

What the paper prints (its Table 1; best test accuracy in %, ± not given there; ms per step on a V100):

    method          ms    40 %   60 %
    MW-Net          933   89.6   84.5
    MW-Net + FaMUS  284   90.5   85.8

As in the paper: WideResNet-28-10, batches of 100, 1000 trusted images (100 per class; the meta batch is
100 too), SGD with momentum 0.9, learning rate 0.05 divided by 10 at 18,000 and 19,000 of 20,000 steps,
weight decay 5e-4, β = 1e-3; noise that redraws among all classes, the true one included, so that 36 %
or 54 % of the labels are wrong; gates with K = 4, λ1 = λ2 = 0.1, δ = 0.1, hidden width 128. Ours: 1000
images with noisy labels are held out for model selection, which the paper does not do, so training has
48,000 images instead of 49,000; the reweighting network's momentum of 0.9 is that of MW-Net's code.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

HEAD = {"kind": "last_layers", "k": 1, "virtual_step": "active"}
VARIANTS = ("40", "60", "smoke")


def get_config(variant: str = "40") -> ConfigDict:
    """The config: "40", "60" (% noise) or "smoke"; its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/cifar10.py:{variant}: choose one of {', '.join(VARIANTS)}")
    config = default_config()
    config.update(
        {
            "data": {
                "source": "cifar10",
                "noise": "mwnet/symmetric",
                "noise_rate": 0.6 if variant == "60" else 0.4,
                "trusted_per_class": 100,
                "validation_per_class": 100,
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
            "runs": (
                {"method": "ce"},
                {"method": "mwnet", "estimator": {"kind": "all_layers"}},
                {
                    "method": "mwnet",
                    "estimator": {"kind": "learned_gates", "preset": "paper", "lag": 2},
                },
                {"method": "mwnet", "estimator": HEAD},
            ),
            "seeds": (0, 1, 2),
        }
    )
    if variant == "smoke":
        _shrink(config)
    return config


def _shrink(config: Any) -> None:
    config.data.update({"max_train": 5000, "max_test": 1000, "validation_per_class": 20})
    config.model.update({"name": "cnn", "overrides": {"widths": (16, 32, 64)}})
    config.schedule.update(
        {"steps": 300, "milestones": (200, 250), "eval_every": 50, "checkpoint_every": 300}
    )
    config.runs = (
        {"method": "ce"},
        {"method": "mwnet", "estimator": {"kind": "all_layers"}},
        {"method": "mwnet", "estimator": HEAD},
    )
    config.seeds = (0,)
