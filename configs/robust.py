"""Methods of one line or one memory side by side: ELR, SOP, robust losses, on CIFAR; label correction.

ELR: Liu et al., NeurIPS 2020, https://arxiv.org/abs/2007.00151; SOP: Liu et al., ICML 2022,
https://arxiv.org/abs/2202.14026; GCE: Zhang, Sabuncu, NeurIPS 2018, https://arxiv.org/abs/1805.07836;
SCE: Wang et al., ICCV 2019, https://arxiv.org/abs/1908.06112; NCE + RCE: Ma et al., ICML 2020,
https://arxiv.org/abs/2006.13554; meta label correction: Zheng et al., AAAI 2021,
https://arxiv.org/abs/1911.03809

    famus train --config=configs/robust.py:cifar10_symmetric_40 --workdir=runs/robust/symmetric_40
    famus train --config=configs/robust.py:smoke --workdir=runs/robust/smoke

A variant is DATA_NOISE_RATE: cifar10 or cifar100, symmetric or asymmetric (look-alikes; CIFAR-10 only),
40 or 60; or cifar10_label_correction, symmetric 40 %, a thousand trusted images. "smoke" (digits, no
download) takes a handful of steps with a small MLP: it shows that the parts work together, no more.
CIFAR must be prepared by tfds (the error says how); --config.data.data_dir=... says where it lies.

Not yet run here, apart from "smoke".

As in public code of these methods: ELR's λ = 3, β = 0.7 (CIFAR-10 symmetric), λ = 1, β = 0.9
(asymmetric), λ = 7, β = 0.9 (CIFAR-100); SOP's steps for u and v 10 and 10 (CIFAR-10), 1 and 10
(CIFAR-100); GCE's q = 0.7; SCE's α = 0.1, β = 1 (CIFAR-100: 6 and 0.1); NCE + RCE's α = 1, β = 1
(CIFAR-100: 10 and 0.1). The network and the schedule are ELR's for all rows: ResNet-34 with a small
stem, batches of 128, learning rate 0.02, weight decay 1e-3. Ours: one cosine over 120 epochs (ELR
restarts it every 10), the same schedule for methods that were published with others, A = -4 of reverse
cross-entropy as in its paper (public code: log 1e-4), images with noisy labels held out for selection.
Label correction: ResNet-32, batches of 100, learning rate 0.1 divided by 10 after 80 and 100 of 120
epochs, Adam with 3e-4, embeddings of 128.
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

NOISES = {"symmetric": "symmetric", "asymmetric": "dividemix/asymmetric"}
VARIANTS = (
    "cifar10_symmetric_40",
    "cifar10_symmetric_60",
    "cifar10_asymmetric_40",
    "cifar100_symmetric_40",
    "cifar100_symmetric_60",
    "cifar10_label_correction",
    "smoke",
)
METHODS = (
    *("ce", "ce_early_stop", "elr", "elr_plus", "sop", "gce", "sce", "nce_rce", "mae"),
    *("label_smoothing", "bootstrap_soft", "bootstrap_hard", "clean"),
)


def get_config(variant: str = "cifar10_symmetric_40") -> ConfigDict:
    """The config of a variant (see above); its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/robust.py:{variant}: choose one of {', '.join(VARIANTS)}")
    plain = variant in ("smoke", "cifar10_label_correction")
    data, noise, rate = ("cifar10_symmetric_40" if plain else variant).split("_")
    ten = data == "cifar10"
    epoch = -(-49_000 // 128)  # steps
    config = default_config()
    config.update(
        {
            "data": {
                "source": data,
                "noise": NOISES[noise],
                "noise_rate": int(rate) / 100,
                "trusted_per_class": 0,
                "validation_per_class": 100 if ten else 10,
                "augment": "crop_flip",
            },
            "model": {"name": "resnet_34", "overrides": {"stem": "cifar"}},
            "schedule": {
                "steps": 120 * epoch,
                "batch_size": 128,
                "learning_rate": 0.02,
                "weight_decay": 1e-3,
                "eval_every": epoch,
                "checkpoint_every": 5 * epoch,
            },
            "elr": {
                "weight": (3.0 if noise == "symmetric" else 1.0) if ten else 7.0,
                "decay": 0.7 if ten and noise == "symmetric" else 0.9,
            },
            "sop": {"u_step": 10.0 if ten else 1.0, "v_step": 10.0},
            "robust": {
                "sce_alpha": 0.1 if ten else 6.0,
                "sce_beta": 1.0 if ten else 0.1,
                "nce_alpha": 1.0 if ten else 10.0,
                "rce_beta": 1.0 if ten else 0.1,
            },
            "runs": tuple({"method": method} for method in METHODS),
            "seeds": (0, 1, 2),
        }
    )
    if variant == "cifar10_label_correction":
        _label_correction(config)
    if variant == "smoke":
        _shrink(config)
    return config


def _label_correction(config: Any) -> None:
    epoch = -(-48_000 // 100)
    config.data.trusted_per_class = 100
    config.model.name = "resnet_32"
    config.model.overrides = ConfigDict({})
    config.schedule.update(
        {
            "steps": 120 * epoch,
            "batch_size": 100,
            "meta_batch_size": 100,
            "learning_rate": 0.1,
            "decay": "step",
            "milestones": (80 * epoch, 100 * epoch),
            "weight_decay": 5e-4,
            "eval_every": epoch,
            "checkpoint_every": 5 * epoch,
        }
    )
    exact, head = {"kind": "all_layers"}, {"kind": "last_layers", "k": 1, "virtual_step": "active"}
    config.runs = (
        {"method": "ce"},
        {"method": "finetune"},
        {"method": "meta_label_correction", "estimator": exact},
        {"method": "meta_label_correction", "estimator": head},
    )


def _shrink(config: Any) -> None:
    config.data.update({"source": "famus_digits", "augment": "shift", "validation_per_class": 5})
    config.model.name = "mlp"
    config.model.overrides = ConfigDict({"hidden": (16, 16)})
    config.schedule.update({"steps": 10, "batch_size": 32, "eval_every": 5, "checkpoint_every": 10})
    config.runs = tuple({"method": m} for m in ("ce", "elr", "sop", "gce", "sce", "nce_rce"))
    config.seeds = (0,)
