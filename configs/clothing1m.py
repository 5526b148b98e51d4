"""Clothing1M: a million shop images in 14 classes, about four in ten with a wrong label.

FaMUS: Xu, Zhu, Jiang, Yang, CVPR 2021, https://arxiv.org/abs/2104.15092; the data: Xiao et al., CVPR
2015.

    famus train --config=configs/clothing1m.py:clothing1m --workdir=runs/clothing1m/clothing1m \\
        --config.model.pretrained=resnet50.safetensors
    python -m experiments.dummy_sets --out=runs/dummy
    famus train --config=configs/clothing1m.py:smoke --workdir=runs/clothing1m/smoke

The data are handed out by their authors on request, the error says which files go where;
--config.data.data_dir=... says where. The weights of ImageNet, in torchvision's naming, are yours to
get: without model.pretrained the network starts at random, which is not the paper's setting. "smoke"
takes a handful of steps of a small network on made-up files of the same format: it shows that the
parts work together, no more.

Not yet run here, apart from "smoke": 150,000 steps of two networks on images of 224 pixels.

What is printed (best test accuracy in %):

    MLC                 71.06
    MW-Net              73.72
    MentorMix           74.30
    FaMUS               74.43
    DivideMix           74.76   in its own paper

As in the paper: ResNet-50, pretrained; batches of 32, in which classes are equally frequent; SGD with
momentum 0.9, weight decay 1e-3, learning rate 0.002 divided by 10 after 100 of 150 epochs of 1,000
batches; β = 1e-3; gates with K = 4, λ1 = λ2 = 0.1 (of the two values that the paper searched), δ = 0.1.
Not in the paper: the warm-up (one epoch of 1,000 here), MixUp's a and λ_u (0.5 and 0). Ours: batches
are balanced in the mean (smaller classes are repeated, `data.balanced`), not one by one; all images are
split anew every 10,000 steps (a pass over a million is dear), not a part of them every 1,000; 100
images per class with noisy labels are held out for model selection, where others use the clean ones;
images are fitted to 224 pixels, and cropped and flipped after padding by 4. The rows with trusted
labels (MW-Net, MLC) are left out: trusted data come from a folder or a table (`data.trusted_source`),
and the set's clean splits are neither.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

VARIANTS = ("clothing1m", "smoke")
EPOCH = 1000  # steps
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


def get_config(variant: str = "clothing1m") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/clothing1m.py:{variant}: choose one of {', '.join(VARIANTS)}")
    config = default_config()
    config.update(
        {
            "data": {
                "source": "famus_clothing1m",
                "image_size": 224,
                "noise": "none",
                "trusted_per_class": 0,
                "validation_per_class": 100,
                "balanced": True,
                "augment": "crop_flip",
                "path": "stream",
                "workers": 8,
            },
            "model": {"name": "resnet_50", "overrides": {}},
            "schedule": {
                "steps": 150 * EPOCH,
                "batch_size": 32,
                "meta_batch_size": 32,
                "learning_rate": 0.002,
                "decay": "step",
                "milestones": (100 * EPOCH,),
                "weight_decay": 1e-3,
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
                "split_every": 10 * EPOCH,
                "mixup": 0.5,
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
            "validation_per_class": 2,
            "workers": 0,
            "augment": "flip",
        }
    )
    config.model.update({"name": "mlp", "overrides": {"hidden": (16, 16)}})
    config.schedule.update(
        {
            "steps": 6,
            "batch_size": 14,
            "meta_batch_size": 14,
            "milestones": (4,),
            "eval_every": 3,
            "checkpoint_every": 6,
        }
    )
    config.pseudo_clean.update({"warm_up_steps": 2, "split_every": 2})
    config.runs = (
        {"method": "ce"},
        {"method": "mixmatch_pseudo_clean", "estimator": dict(EXACT)},
    )
    config.seeds = (0,)
