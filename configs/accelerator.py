"""CIFAR-10 with 60 % symmetric noise on one accelerator: every estimator beside fair baselines.

    famus train --config=configs/accelerator.py:wrn_28_2 --workdir=runs/accelerator/wrn_28_2
    famus train --config=configs/accelerator.py:wrn_28_10_60 --workdir=runs/accelerator/wrn_28_10_60
    famus train --config=configs/accelerator.py:smoke --workdir=runs/accelerator/smoke

"wrn_28_2" (WideResNet-28-2, batches of 128) and "preact_resnet_18" (batches of 64): 5,000 steps for
every row, meta batches of a quarter. They ask whether the learned gate beats the last layers, random
depths and the head at equal cost (1.4 plain steps for last layers and `budget`, by analysis), and what
active-step, actual-step and every-4 lose. "wrn_28_10_60", "_40" and "_20" are the paper's Table
1 setting as configs/table1.py has it (20,000 steps, batches of 100, meta batches of 100), with the few
rows that its first cells need; L2R there takes MW-Net's 20,000 steps, not the paper's 60,000.
"smoke" (digits, no download) takes a handful of steps with a small MLP.

CIFAR-10 must be prepared by tfds; --config.data.data_dir=... says where it lies. In pieces of a few
minutes: --max_minutes=8, again and again; `python -m experiments.accelerator --list` has the commands.

Not yet run here, apart from "smoke".

One schedule and one meta-learning rate for all rows of "wrn_28_2" and "preact_resnet_18"; nothing was
tuned. Adam at 1e-3 for θ, since SGD at the paper's 1e-3 hardly moves it in 5,000 steps.
"""

import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

TABLE1 = Path(__file__).with_name("table1.py")
BASELINES = ("ce", "ce_early_stop", "trusted_only", "noisy_plus_trusted", "finetune", "clean")
ONLY = {"virtual_step": "active"}
EXACT, HEAD = {"kind": "all_layers"}, {"kind": "last_layers", "k": 1}
DEPTH = {"kind": "random_depth", "probabilities": 0.2, **ONLY}
PAPER = {"kind": "learned_gates", "preset": "paper", "lag": 2}
BUDGET = {"kind": "learned_gates", "preset": "budget", "target": 1.4, "lag": 2, **ONLY}
NETWORKS = {"wrn_28_2": (128, 6), "preact_resnet_18": (64, 4)}  # batch; last layers for 1.4 steps
VARIANTS = (*NETWORKS, "wrn_28_10_60", "wrn_28_10_40", "wrn_28_10_20", "smoke")


def estimators(top: int, batch: int) -> tuple[dict[str, Any], ...]:
    """MW-Net's rows; `top` layers are the fixed set that costs what gates with a budget do."""
    return (
        EXACT,
        {**EXACT, "examples": batch // 8},
        {**EXACT, "update_every": 4},
        {**EXACT, "virtual_step": "actual"},
        DEPTH,
        {**DEPTH, "examples": batch // 4},
        {"kind": "last_layers", "k": top, **ONLY},
        {"kind": "random_layers", "s": 4},
        HEAD,
        {**HEAD, **ONLY},
        {**HEAD, "virtual_step": "actual"},
        {**HEAD, **ONLY, "update_every": 4},
        PAPER,
        {**PAPER, **ONLY},
        BUDGET,
    )


def get_config(variant: str = "wrn_28_2") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/accelerator.py:{variant}: choose one of {', '.join(VARIANTS)}")
    if variant.startswith("wrn_28_10"):
        return _table1(variant.rsplit("_", 1)[1])
    batch, top = NETWORKS.get(variant, (64, 2))
    config = default_config()
    config.update(
        {
            "data": {
                "source": "cifar10",
                "noise": "mwnet/symmetric",
                "noise_rate": 0.6,
                "trusted_per_class": 100,
                "validation_per_class": 100,
                "augment": "crop_flip",
            },
            "model": {"name": variant, "overrides": {}},
            "schedule": {
                "steps": 5000,
                "batch_size": batch,
                "meta_batch_size": batch // 4,
                "learning_rate": 0.05,
                "decay": "cosine",
                "momentum": 0.9,
                "weight_decay": 5e-4,
                "finetune_steps": 500,
                "finetune_learning_rate": 0.005,
                "eval_every": 500,
                "checkpoint_every": 1000,
            },
            "runs": (
                *({"method": name} for name in BASELINES),
                *({"method": "mwnet", "estimator": dict(e)} for e in estimators(top, batch)),
                *({"method": "l2r", "estimator": dict(e)} for e in (EXACT, HEAD)),
            ),
            "seeds": (0, 1, 2),
        }
    )
    if variant == "smoke":
        _shrink(config)
    return config


def _table1(noise: str) -> ConfigDict:
    """Table 1's own setting; only the rows are ours to choose."""
    config = runpy.run_path(str(TABLE1))["get_config"](f"cifar10_mwnet_{noise}")
    config.runs = (
        {"method": "ce"},
        *(
            {"method": "mwnet", "estimator": dict(e)}
            for e in (EXACT, PAPER, HEAD, {**HEAD, **ONLY}, {**EXACT, "examples": 13})
        ),
        {"method": "l2r", "estimator": dict(PAPER)},
    )
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
            "finetune_steps": 10,
            "meta_batch_size": 16,
            "eval_every": 10,
            "checkpoint_every": 20,
        }
    )
    config.runs = (
        {"method": "ce"},
        {"method": "finetune"},
        {"method": "mwnet", "estimator": {**EXACT, "examples": 8}},
        {"method": "mwnet", "estimator": {**HEAD, **ONLY}},
        # K of three layers instead of twenty-nine; few programs to compile.
        {"method": "mwnet", "estimator": {**PAPER, "target": 2, "max_programs": 2}},
    )
    config.seeds = (0,)
