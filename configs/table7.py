"""FaMUS, Table 7: Red Mini-ImageNet, wrong labels from the web at a controlled rate, at 32x32 pixels.

Xu, Zhu, Jiang, Yang: Faster Meta Update Strategy for Noise-Robust Deep Learning, CVPR 2021,
https://arxiv.org/abs/2104.15092; the data and MentorMix: Jiang, Huang, Liu, Yang, ICML 2020,
https://arxiv.org/abs/1911.09781

    famus train --config=configs/table7.py:40 --workdir=runs/table7/40
    famus train --config=configs/table7.py:40_mentormix --workdir=runs/table7/40_mentormix
    python -m experiments.dummy_sets --out=runs/dummy
    famus train --config=configs/table7.py:smoke --workdir=runs/table7/smoke

A variant is the noise in %, two networks and what stands beside them: 20, 40, 60 or 80; with _mentormix
the row of MentorMix, one network of its own. The data are prepared by tfds (the error says how);
--config.data.data_dir=... says where they lie. "smoke" takes a handful of steps of a small network on a
made-up set of the same format: it shows that the parts work together, no more.

Not yet run here, apart from "smoke": about 253,000 steps of two networks on 256 images each; 200,000
of one on 128.

What the paper prints (best test accuracy in %):

                      20      40      60      80    mean
    cross-entropy  47.36   42.70   37.30   29.76   39.28
    Mixup          49.10   46.40   40.58   33.58   42.41
    DivideMix      50.96   46.72   43.14   34.50   43.83
    MentorMix      51.02   47.14   43.80   33.46   43.85
    FaMUS          51.42   48.06   45.10   35.50   45.02

As in the paper and its released code: PreAct-ResNet-18, batches of 64, SGD with momentum 0.9, weight
decay 5e-4, learning rate 0.02 divided by 10 after 200 and 250 (at 60 and 80 %: 100 and 200) of 300
epochs, which follow 30 of warm-up; MixUp's a is 1, 1.5, 1.5, 2 and λ_u 50, 50, 50, 100 by the noise;
β = 1e-3; gates with K = 4, λ1 = λ2 = 0.1, δ = 0.1. MentorMix, as its row was made by the code released
with the paper: ResNet-32, percentile 0.7, 0.5, 0.3, 0.1 and a = 2, 8, 4, 8 by the noise, no second
reweighting, a burn-in of 10 of 100; its steps, batch and rates are not written down there, so they are
those of MentorMix on CIFAR (`table5.py`). Ours: an epoch is one pass over the training set; milestones
are counted after the warm-up; ten images per class with noisy labels are held out for model selection;
one row of mixup and cross-entropy with the schedule of the two networks, MixUp's a being 1.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

# Noise in %: images, milestones in epochs, a of MixUp, λ_u, MentorMix's percentile and a.
LEVELS: dict[str, tuple[int, tuple[int, int], float, float, float, float]] = {
    "20": (50_000, (200, 250), 1.0, 50.0, 0.7, 2.0),
    "40": (50_010, (200, 250), 1.5, 50.0, 0.5, 8.0),
    "60": (50_000, (100, 200), 1.5, 50.0, 0.3, 4.0),
    "80": (50_008, (100, 200), 2.0, 100.0, 0.1, 8.0),
}
VARIANTS = (*LEVELS, *(f"{level}_mentormix" for level in LEVELS), "smoke")
WARM_UP = 30  # epochs
EXACT = {"kind": "all_layers"}
GATES = {"kind": "learned_gates", "preset": "paper", "lag": 2}
RUNS = (
    {"method": "ce"},
    {"method": "ce_early_stop"},
    {"method": "mixup"},
    {"method": "dividemix"},
    {"method": "mixmatch_pseudo_clean", "estimator": EXACT},
    {"method": "mixmatch_pseudo_clean", "estimator": GATES},
)


def get_config(variant: str = "40") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/table7.py:{variant}: choose one of {', '.join(VARIANTS)}")
    level = "20" if variant == "smoke" else variant.removesuffix("_mentormix")
    images, milestones, mixup, lambda_u, percentile, concentration = LEVELS[level]
    epoch = -(-(images - 1000) // 64)  # steps
    config = default_config()
    config.update(
        {
            "data": {
                "source": "controlled_noisy_web_labels/mini_imagenet_red",
                "train_split": f"train_{level}",
                "test_split": "validation",
                "image_size": 32,
                "noise": "none",
                "trusted_per_class": 0,
                "validation_per_class": 10,
                "augment": "crop_flip",
            },
            "model": {"name": "preact_resnet_18", "overrides": {}},
            "schedule": {
                "steps": (WARM_UP + 300) * epoch,
                "batch_size": 64,
                "meta_batch_size": 64,
                "learning_rate": 0.02,
                "decay": "step",
                "milestones": tuple((WARM_UP + at) * epoch for at in milestones),
                "weight_decay": 5e-4,
                "eval_every": epoch,
                "checkpoint_every": 5 * epoch,
            },
            "meta": {
                "optimizer": "sgd",
                "learning_rate": 1e-3,
                "start": "random",
                "monotone": False,
            },
            "pseudo_clean": {
                "warm_up_steps": WARM_UP * epoch,
                "split_every": epoch,
                "mixup": mixup,
                "lambda_u": lambda_u,
                "ramp_steps": 16 * epoch,
            },
            "mentormix": {"percentile": percentile, "concentration": concentration},
            "runs": tuple(dict(run) for run in RUNS),
            "seeds": (0, 1, 2),
        }
    )
    if variant.endswith("_mentormix"):
        _one_network(config)
    if variant == "smoke":
        _shrink(config)
    return config


def _one_network(config: Any) -> None:
    config.model.update({"name": "resnet_32", "overrides": {}})
    config.schedule.update(
        {
            "steps": 200_000,
            "batch_size": 128,
            "learning_rate": 0.1,
            "decay": "cosine",
            "milestones": (),
            "weight_decay": 2e-4,
            "eval_every": 1000,
            "checkpoint_every": 5000,
        }
    )
    config.runs = tuple({"method": method} for method in ("ce", "mentornet", "mentormix"))


def _shrink(config: Any) -> None:
    config.data.update({"data_dir": "runs/dummy", "image_size": 8, "validation_per_class": 1})
    config.model.update({"name": "mlp", "overrides": {"hidden": (16, 16)}})
    config.schedule.update(
        {
            "steps": 6,
            "batch_size": 16,
            "meta_batch_size": 16,
            "milestones": (4, 5),
            "eval_every": 3,
            "checkpoint_every": 6,
        }
    )
    config.pseudo_clean.update({"warm_up_steps": 2, "split_every": 2, "ramp_steps": 2})
    config.runs = (
        {"method": "ce"},
        {"method": "mentormix"},
        {"method": "mixmatch_pseudo_clean", "estimator": dict(EXACT)},
    )
    config.seeds = (0,)
