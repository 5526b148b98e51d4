"""FaMUS, Table 8: long-tailed CIFAR-10 and CIFAR-100, MW-Net + FaMUS with cross-entropy and LDAM.

Xu et al., CVPR 2021, https://arxiv.org/abs/2104.15092; LDAM: Cao et al., NeurIPS 2019; class-balanced
losses: Cui et al., CVPR 2019; MW-Net: Shu et al., NeurIPS 2019.

    famus train --config=configs/table8.py:cifar10_100 --workdir=runs/table8/cifar10_100
    famus train --config=configs/table8.py:cifar10_100_ldam --workdir=runs/table8/cifar10_100_ldam
    famus train --config=configs/table8.py:smoke --workdir=runs/table8/smoke

A variant is DATA_FACTOR: cifar10 or cifar100, the largest class over the smallest 100, 50, 20 or 10;
with _ldam the rows whose loss has margins, on a network whose logits are cosines. "smoke" and
"smoke_ldam" (digits, no download) take a handful of steps with a small MLP: they show that the parts
work together, no more. CIFAR must be prepared by tfds.

Not yet run here, apart from "smoke" and "smoke_ldam".

What the paper prints (best test accuracy in %; ± not given; MW-Net + FaMUS is 2.9 times as fast):

                     CIFAR-10  100     50      20      10     CIFAR-100  100     50      20      10
    cross-entropy             70.36   74.81   82.23   86.39             38.32   43.85   51.14   55.71
    focal                     70.38   76.71   82.76   86.66
    class-balanced focal      74.57   79.27   84.36   87.49
    LDAM-DRW                  77.03                   88.16
    MW-Net                    75.21   80.06   84.94   87.84             42.09   46.74   54.37   58.46
    MW-Net + FaMUS, CE        79.30   83.15   87.15   89.39             45.60   49.56   56.22   60.42
    MW-Net + FaMUS, LDAM      80.96   83.32   86.24   87.90             46.03   49.93   55.95   59.03

As in the paper: ResNet-32, learning rate 0.1 divided by 10 at epochs 160 and 180 of 200, SGD with
momentum 0.9, weight decay 5e-4, ten trusted images per class, β = 1e-5, gates with K = 4, δ = 0.01
(λ1 = λ2 = 0.1, of the two values that the paper searched). It does not state the batch size (100 here,
as in MW-Net's code), the margins or the scale (0.5 and 30, LDAM's own). Ours: images are held out for
model selection (100 per class of CIFAR-10, 10 of CIFAR-100), which makes the largest class as much
smaller; the meta loss of the LDAM rows is cross-entropy of the scaled logits, without margins; the rate
falls to a hundredth in two steps of ten for all rows.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

FACTORS = (100, 50, 20, 10)
VARIANTS = (
    *(
        f"{data}_{factor}{ldam}"
        for data in ("cifar10", "cifar100")
        for factor in FACTORS
        for ldam in ("", "_ldam")
    ),
    "smoke",
    "smoke_ldam",
)
ESTIMATORS = (
    {"kind": "all_layers"},
    {"kind": "learned_gates", "preset": "paper", "lag": 2, "learning_rate": 0.01},
    {"kind": "last_layers", "k": 1, "virtual_step": "active"},
)
TRUSTED, BATCH, EPOCHS = 10, 100, 200


def get_config(variant: str = "cifar10_100") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/table8.py:{variant}: choose one of {', '.join(VARIANTS)}")
    smoke, ldam = variant.startswith("smoke"), variant.endswith("_ldam")
    data, factor = ("cifar10", "10") if smoke else variant.split("_")[:2]
    classes = 10 if data == "cifar10" else 100
    held_out = 1000 // classes
    steps = EPOCHS * _images(classes, int(factor), held_out) // BATCH
    every = steps // 20
    plain = ("ldam", "ldam_drw") if ldam else ("ce", "focal", "cb_focal", "finetune")
    learned = ("mwnet_ldam", "mwnet_ldam_drw") if ldam else ("mwnet",)
    config = default_config()
    config.update(
        {
            "data": {
                "source": data,
                "noise": "none",
                "imbalance_factor": float(factor),
                "imbalance_profile": "mwnet",
                "trusted_per_class": TRUSTED,
                "validation_per_class": held_out,
                "augment": "crop_flip",
            },
            "model": {"name": "resnet_32", "overrides": {"cosine_head": True} if ldam else {}},
            "schedule": {
                "steps": steps,
                "batch_size": BATCH,
                "meta_batch_size": BATCH,
                "learning_rate": 0.1,
                "decay": "step",
                "milestones": (steps * 160 // EPOCHS, steps * 180 // EPOCHS),
                "momentum": 0.9,
                "weight_decay": 5e-4,
                "finetune_steps": 500,
                "eval_every": every,
                "checkpoint_every": every,
            },
            "meta": {
                "hidden": 100,
                "learning_rate": 1e-5,
                "momentum": 0.9,
                "optimizer": "sgd",
                "start": "random",
                "monotone": False,
            },
            "long_tail": {
                "gamma": 1.0,
                "beta": 0.9999,
                "max_margin": 0.5,
                "scale": 30.0,
                "defer": 160 / EPOCHS,
            },
            "runs": (
                *({"method": name} for name in plain),
                *({"method": name, "estimator": dict(e)} for name in learned for e in ESTIMATORS),
            ),
            "seeds": (0, 1, 2),
        }
    )
    if smoke:
        _shrink(config)
    return config


def _images(classes: int, factor: int, held_out: int) -> int:
    """Training images: class i of C has n_max · f^(−i / (C − 1)), n_max what is left of a class."""
    largest = 50_000 / classes - held_out - TRUSTED
    return sum(int(largest * factor ** (-i / (classes - 1))) for i in range(classes))


def _shrink(config: Any) -> None:
    config.data.update({"source": "famus_digits", "augment": "shift", "validation_per_class": 5})
    widths = {"hidden": (32, 32)}
    config.model.update({"name": "mlp", "overrides": {**config.model.overrides, **widths}})
    config.schedule.update(
        {
            "steps": 20,
            "milestones": (16, 18),
            "batch_size": 50,
            "meta_batch_size": 20,
            "finetune_steps": 10,
            "eval_every": 10,
            "checkpoint_every": 20,
        }
    )
    config.runs = tuple(_small(run) for run in config.runs)
    config.seeds = (0,)


def _small(run: dict[str, Any]) -> dict[str, Any]:
    """Gates of a network with fewer layers than K, and fewer programs to compile."""
    estimator = run.get("estimator", {})
    if estimator.get("kind") != "learned_gates":
        return run
    return {**run, "estimator": {**estimator, "target": 2, "max_programs": 2}}
