"""FaMUS, Table 1: MW-Net and L2R, exact and + FaMUS, on CIFAR-10 and CIFAR-100 with symmetric noise.

Xu, Zhu, Jiang, Yang: Faster Meta Update Strategy for Noise-Robust Deep Learning, CVPR 2021,
https://arxiv.org/abs/2104.15092

    famus train --config=configs/table1.py:cifar10_mwnet_40 --workdir=runs/table1/cifar10_mwnet_40
    famus train --config=configs/table1.py:smoke --workdir=runs/table1/smoke

A variant is DATA_METHOD_NOISE: cifar10 or cifar100, mwnet or l2r, 20, 40 or 60. "smoke" (digits, no
download) takes a handful of steps with a small MLP: it shows that the parts work together, no more.
CIFAR must be prepared by tfds (the error says how); --config.data.data_dir=... says where it lies.

Not yet run here, apart from "smoke".

What the paper prints (best test accuracy in %, ± not given; ms per step on one V100):

                     ms    CIFAR-10  20     40     60    CIFAR-100  20     40     60
    MW-Net           933            91.9   89.6   84.5             73.1   68.1   61.7
    MW-Net + FaMUS   284            92.9   90.5   85.8             73.6   69.4   62.9
    L2R              839            90.5   86.9   82.2             69.3   62.8   50.8
    L2R + FaMUS      244            91.3   87.6   82.8             70.7   65.5   51.6

As in the paper: WideResNet-28-10, batches of 100, 1000 trusted images, SGD with momentum 0.9, learning
rate 0.05; MW-Net: 20,000 steps, divided by 10 at 18,000 and 19,000, weight decay 5e-4, β = 1e-3; L2R:
60,000 steps, divided at 40,000 and 50,000; gates with K = 4, λ1 = λ2 = 0.1, δ = 0.1, hidden width 128;
noise that redraws among all classes, the true one included. The paper does not state L2R's weight decay
(5e-4 here); its dropout of 0.3 is of L2R's own code. Ours: images with noisy labels are held out for
model selection (100 per class of CIFAR-10, 10 of CIFAR-100); gates are drawn two steps ahead; and the
baselines that trusted labels allow without any of these methods stand beside them.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

VARIANTS = (
    *(
        f"{data}_{method}_{noise}"
        for data in ("cifar10", "cifar100")
        for method in ("mwnet", "l2r")
        for noise in (20, 40, 60)
    ),
    "smoke",
)
ESTIMATORS = (
    {"kind": "all_layers"},
    {"kind": "learned_gates", "preset": "paper", "lag": 2},
    {"kind": "last_layers", "k": 1, "virtual_step": "active"},
)
BASELINES = ("ce", "ce_early_stop", "trusted_only", "noisy_plus_trusted", "finetune", "clean")


def get_config(variant: str = "cifar10_mwnet_40") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/table1.py:{variant}: choose one of {', '.join(VARIANTS)}")
    smoke = variant == "smoke"
    data, method, noise = ("cifar10_mwnet_40" if smoke else variant).split("_")
    classes = 10 if data == "cifar10" else 100
    steps, milestones = (
        (20_000, (18_000, 19_000)) if method == "mwnet" else (60_000, (40_000, 50_000))
    )
    config = default_config()
    config.update(
        {
            "data": {
                "source": data,
                "noise": "mwnet/symmetric",
                "noise_rate": int(noise) / 100,
                "trusted_per_class": 1000 // classes,
                "validation_per_class": 1000 // classes,
                "augment": "crop_flip",
            },
            "model": {
                "name": "wrn_28_10",
                "overrides": {"dropout": 0.3} if method == "l2r" else {},
            },
            "schedule": {
                "steps": steps,
                "batch_size": 100,
                "meta_batch_size": 100,
                "learning_rate": 0.05,
                "decay": "step",
                "milestones": milestones,
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
            "runs": (
                *({"method": name} for name in BASELINES),
                *({"method": method, "estimator": dict(estimator)} for estimator in ESTIMATORS),
            ),
            "seeds": (0, 1, 2),
        }
    )
    if smoke:
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
            "finetune_steps": 10,
            "batch_size": 50,
            "meta_batch_size": 20,
            "eval_every": 10,
            "checkpoint_every": 20,
        }
    )
    config.runs = (
        {"method": "ce"},
        {"method": "finetune"},
        *({"method": "mwnet", "estimator": dict(estimator)} for estimator in ESTIMATORS),
        *({"method": "l2r", "estimator": dict(estimator)} for estimator in ESTIMATORS[2:]),
    )
    config.runs = tuple(_small(run) for run in config.runs)
    config.seeds = (0,)


def _small(run: dict[str, Any]) -> dict[str, Any]:
    """Gates of a network with fewer layers than K, and fewer programs to compile."""
    estimator = run.get("estimator", {})
    if estimator.get("kind") != "learned_gates":
        return run
    return {**run, "estimator": {**estimator, "target": 2, "max_programs": 2}}
