"""CIFAR-10N: labels that people gave, beside numbers that others measured on them.

Wei et al., Learning with Noisy Labels Revisited, ICLR 2022, https://arxiv.org/abs/2110.12088

    famus train --config=configs/cifar10n.py:worst --workdir=runs/cifar10n/worst
    famus train --config=configs/cifar10n.py:smoke --workdir=runs/cifar10n/smoke

A variant is the labels: aggregate, random1 or worst (9, 17 and 40 % wrong). The file of labels is yours
to get; it is a pickle, which is never opened here. Made into an array once (`famus_jax.data.read_table`
says how), it becomes a table by id, where the config looks for it:

    from famus_jax.data import read_table, write_table
    write_table("runs/cifar10n/worst.csv", read_table("labels.npy", order="torchvision"))

"smoke" (digits and symmetric noise, no download) takes a handful of steps with a small MLP: it shows
that the parts work together, no more. CIFAR-10 must be prepared by tfds (the error says how).

Not yet run here, apart from "smoke".

The yardstick is a re-run of 2026 (ReScience) on the worst labels, selected on noisy validation, with a
ResNet-34 that has ImageNet's stem (test accuracy in %):

    CE            75.5      DISC        83.0
    ELR           76.9      ELR+        81.5
    SOP           71.8      DivideMix   86.4
    Co-teaching   75.6      ProMix      89.0

As there: the network and the selection ("selected" in our tables). Ours: the schedule of `robust.py`
for one network and of DivideMix for two (variant worst_two), since theirs are not known to us; 100
images per class are held out.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

LABELS = ("aggregate", "random1", "worst")
VARIANTS = (*LABELS, *(f"{labels}_two" for labels in LABELS), "smoke")
METHODS = ("ce", "ce_early_stop", "elr", "sop", "gce", "sce", "mixup", "mentormix", "clean")


def get_config(variant: str = "worst") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/cifar10n.py:{variant}: choose one of {', '.join(VARIANTS)}")
    labels = "worst" if variant == "smoke" else variant.removesuffix("_two")
    epoch = -(-49_000 // 128)  # steps
    config = default_config()
    config.update(
        {
            "data": {
                "source": "cifar10",
                "noise_table": f"runs/cifar10n/{labels}.csv",
                "trusted_per_class": 0,
                "validation_per_class": 100,
                "augment": "crop_flip",
            },
            "model": {"name": "resnet_34"},
            "schedule": {
                "steps": 120 * epoch,
                "batch_size": 128,
                "learning_rate": 0.02,
                "weight_decay": 1e-3,
                "eval_every": epoch,
                "checkpoint_every": 5 * epoch,
            },
            "elr": {"weight": 3.0, "decay": 0.7},
            "runs": tuple({"method": method} for method in METHODS),
            "seeds": (0, 1, 2),
        }
    )
    if variant.endswith("_two"):
        _two_networks(config)
    if variant == "smoke":
        _shrink(config)
    return config


def _two_networks(config: Any) -> None:
    epoch = -(-49_000 // 64)
    config.schedule.update(
        {
            "steps": 300 * epoch,
            "batch_size": 64,
            "meta_batch_size": 64,
            "decay": "step",
            "milestones": (150 * epoch,),
            "weight_decay": 5e-4,
            "eval_every": epoch,
            "checkpoint_every": 5 * epoch,
        }
    )
    config.pseudo_clean.update(
        {"warm_up_steps": 10 * epoch, "split_every": epoch, "ramp_steps": 16 * epoch}
    )
    gates = {"kind": "learned_gates", "preset": "paper", "lag": 2}
    config.runs = (
        {"method": "dividemix"},
        {"method": "mixmatch_pseudo_clean", "estimator": gates},
    )


def _shrink(config: Any) -> None:
    config.data.update(
        {
            "source": "famus_digits",
            "noise_table": "",
            "noise": "symmetric",
            "augment": "shift",
            "validation_per_class": 5,
        }
    )
    config.model.update({"name": "mlp", "overrides": {"hidden": (16, 16)}})
    config.schedule.update({"steps": 10, "batch_size": 32, "eval_every": 5, "checkpoint_every": 10})
    config.runs = tuple({"method": m} for m in ("ce", "elr", "sop", "mentormix"))
    config.seeds = (0,)
