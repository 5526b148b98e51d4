"""FaMUS, Table 6: mini-WebVision, also evaluated on ILSVRC12's validation images of its 50 classes.

Xu, Zhu, Jiang, Yang: Faster Meta Update Strategy for Noise-Robust Deep Learning, CVPR 2021,
https://arxiv.org/abs/2104.15092

    famus train --config=configs/table6.py:webvision --workdir=runs/table6/webvision
    python -m experiments.dummy_sets --out=runs/dummy
    famus train --config=configs/table6.py:smoke --workdir=runs/table6/smoke

WebVision's files are fetched by hand (the error says which and where), ImageNet is prepared by tfds;
--config.data.data_dir=... says where they lie. "smoke" takes a handful of steps of a small network on
made-up files of the same format: it shows that the parts work together, no more.

Not yet run here, apart from "smoke": about 614,000 steps of two networks on images of 299 pixels.

What the paper prints (best accuracy of the ensemble in %):

                 WebVision top-1   top-5   ILSVRC12 top-1   top-5
    MW-Net                 74.52   88.89            72.60   88.80
    DivideMix              77.32   91.64            75.20   90.84
    MentorMix              76.0    90.2             72.9    91.1
    FaMUS                  79.40   92.80            77.00   92.76

As in the paper: Inception-ResNet-v2, batches of 16, SGD with momentum 0.9, weight decay 5e-4, learning
rate 0.02 divided by 10 after 100 of 150 epochs; β = 1e-3; gates with K = 4, λ1 = λ2 = 0.1 (of the two
values that the paper searched), δ = 0.1. Not in the paper: the warm-up (one epoch here), MixUp's a and
λ_u (4 and 0). Ours: the warm-up is a part of the 150 epochs; ten images per class with web labels are
held out for model selection; images are fitted to 299 pixels, and cropped and flipped after padding by
4. MW-Net's and MentorMix's settings for this set are not known to us: their rows are left out.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

VARIANTS = ("webvision", "smoke")
HELD_OUT = 10  # of each class
BATCH = 16
EPOCH = -(-(65_944 - 50 * HELD_OUT) // BATCH)  # steps
EXACT = {"kind": "all_layers"}
GATES = {"kind": "learned_gates", "preset": "paper", "lag": 2}
RUNS = (
    {"method": "ce"},
    {"method": "ce_early_stop"},
    {"method": "dividemix"},
    {"method": "mwnet_pseudo_clean", "estimator": GATES},
    {"method": "mixmatch_pseudo_clean", "estimator": EXACT},
    {"method": "mixmatch_pseudo_clean", "estimator": GATES},
)


def get_config(variant: str = "webvision") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/table6.py:{variant}: choose one of {', '.join(VARIANTS)}")
    config = default_config()
    config.update(
        {
            "data": {
                "source": "famus_mini_webvision",
                "test_split": "validation",
                "second_test": "imagenet2012",
                "second_split": "validation",
                "image_size": 299,
                "noise": "none",
                "trusted_per_class": 0,
                "validation_per_class": HELD_OUT,
                "augment": "crop_flip",
                "path": "stream",
                "workers": 8,
            },
            "model": {"name": "inception_resnet_v2", "overrides": {}},
            "schedule": {
                "steps": 150 * EPOCH,
                "batch_size": BATCH,
                "meta_batch_size": BATCH,
                "learning_rate": 0.02,
                "decay": "step",
                "milestones": (100 * EPOCH,),
                "weight_decay": 5e-4,
                "eval_every": EPOCH,
                "checkpoint_every": EPOCH,
            },
            "meta": {
                "optimizer": "sgd",
                "learning_rate": 1e-3,
                "start": "random",
                "monotone": False,
            },
            "pseudo_clean": {
                "warm_up_steps": EPOCH,
                "split_every": EPOCH,
                "mixup": 4.0,
                "lambda_u": 0.0,
            },
            "runs": tuple(dict(run) for run in RUNS),
            "seeds": (0, 1, 2),
        }
    )
    if variant == "smoke":
        _shrink(config)
    return config


def _shrink(config: Any) -> None:
    config.data.update(
        {
            "data_dir": "runs/dummy",
            "image_size": 8,
            "validation_per_class": 1,
            "workers": 0,
            "augment": "flip",
        }
    )
    config.model.update({"name": "mlp", "overrides": {"hidden": (16, 16)}})
    config.schedule.update({"steps": 6, "milestones": (4,), "eval_every": 3, "checkpoint_every": 6})
    config.pseudo_clean.update({"warm_up_steps": 2, "split_every": 2})
    config.runs = (
        {"method": "ce"},
        {"method": "mixmatch_pseudo_clean", "estimator": dict(EXACT)},
    )
    config.seeds = (0,)
