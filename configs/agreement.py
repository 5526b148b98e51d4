"""How close cheaper meta gradients come to the exact one along real training runs.

    python -m experiments.agreement --config=configs/agreement.py:WHICH --workdir=runs/agreement_WHICH

"digits" (the default): 1,797 handwritten digits that come with scikit-learn, 60 % symmetric noise, 50
trusted images, a CNN of five layers; minutes on two cores. "cifar10": WideResNet-16-2 on 5,000
images of CIFAR-10 (prepared by tfds; --config.data.data_dir=... says where it lies); hours on a CPU,
for an accelerator. "gates": what learned gates cost and do along runs of the three presets, a
WideResNet-10-1 on the same images at 16 x 16 pixels; minutes. "smoke" is "digits" for seconds. All
resume.

The first run carries the comparison of `agreement.estimators`; every run with learned gates is compared
at its own gates. The gates' penalties are the presets' own; K is 2 of 5 layers (cifar10: 4).
"""

from typing import Any

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

VARIANTS = ("digits", "cifar10", "gates", "smoke")
ONLY = {"virtual_step": "active"}
EXACT, HEAD = {"kind": "all_layers"}, {"kind": "last_layers", "k": 1}
DEPTH = {"kind": "random_depth", "probabilities": 0.2}
ESTIMATORS = (
    EXACT,
    {"kind": "second_order"},
    {**EXACT, "route": "vjp"},
    {**EXACT, "virtual_step": "actual"},
    {**EXACT, "through_optimizer": True},
    {**EXACT, "examples": 16},
    {**EXACT, "examples": 8},
    HEAD,
    {**HEAD, **ONLY},
    {"kind": "last_layers", "k": 2},
    {"kind": "last_layers", "k": 2, **ONLY},
    {"kind": "random_layers", "s": 2},
    {"kind": "random_layers", "s": 2, "unbiased": True},
    DEPTH,
    {**DEPTH, **ONLY},
)


def get_config(variant: str = "digits") -> ConfigDict:
    """The config of one of `VARIANTS`; its values can be changed on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/agreement.py:{variant}: choose one of {', '.join(VARIANTS)}")
    config = default_config()
    config.meta.update({"optimizer": "adam", "learning_rate": 1e-3})
    config.meta.update({"start": "random", "monotone": False})
    config.agreement = ConfigDict(
        {
            "estimators": tuple(dict(estimator) for estimator in ESTIMATORS),
            "points": 8,
            "batches": 16,
            "draws": 4,
            "burn_in": 0.25,
            "rounds": 30,
        }
    )
    (_cifar10 if variant in ("cifar10", "gates") else _digits)(config)
    if variant == "gates":
        _gates(config)
    if variant == "smoke":
        config.schedule.update({"steps": 6, "eval_every": 6, "checkpoint_every": 6})
        config.seeds = (0,)
        config.model.update({"overrides": {"widths": (4, 4), "norm": "group"}})
        config.agreement.update({"points": 2, "batches": 2, "draws": 2, "rounds": 2})
    return config


def _runs(config: Any, target: float, budget: float) -> None:
    gates = (
        {"kind": "learned_gates", "preset": "paper", "target": target, "lag": 2},
        {"kind": "learned_gates", "preset": "budget", "target": budget, "lag": 2, **ONLY},
    )
    config.runs = tuple({"method": "mwnet", "estimator": spec} for spec in (dict(EXACT), *gates))


def _digits(config: Any) -> None:
    config.data.update(
        {
            "source": "famus_digits",
            "noise": "symmetric",
            "noise_rate": 0.6,
            "trusted_per_class": 5,
            "validation_per_class": 10,
        }
    )
    overrides = {"widths": (16, 32, 32, 64), "norm": "group"}
    config.model.update({"name": "cnn", "overrides": overrides})
    config.schedule.update(
        {
            "steps": 800,
            "batch_size": 64,
            "meta_batch_size": 16,
            "learning_rate": 0.03,
            "decay": "cosine",
            "weight_decay": 5e-4,
            "eval_every": 100,
            "checkpoint_every": 100,
        }
    )
    config.seeds = (0, 1, 2)
    _runs(config, target=2, budget=1.4)


def _cifar10(config: Any) -> None:
    config.data.update(
        {
            "source": "cifar10",
            "noise": "symmetric",
            "noise_rate": 0.6,
            "trusted_per_class": 100,
            "validation_per_class": 20,
            "max_train": 5000,
            "max_test": 3000,
            "augment": "crop_flip",
        }
    )
    config.model.update({"name": "wrn_28_2", "overrides": {"depth": 16}})
    config.schedule.update(
        {
            "steps": 8000,
            "batch_size": 64,
            "meta_batch_size": 32,
            "learning_rate": 0.05,
            "decay": "cosine",
            "weight_decay": 5e-4,
            "eval_every": 250,
            "checkpoint_every": 250,
        }
    )
    config.seeds = (0,)
    _runs(config, target=4, budget=1.6)


def _gates(config: Any) -> None:
    """The three presets, samplers and L_g on, as the paper has them; a budget of 1.6 plain steps."""
    config.data.update({"image_size": 16})
    config.model.update({"overrides": {"depth": 10, "width": 1}})
    config.schedule.update({"steps": 600, "batch_size": 32, "meta_batch_size": 16})
    config.schedule.update({"eval_every": 150, "checkpoint_every": 150})
    gates = {"kind": "learned_gates", "lag": 2}
    config.runs = tuple(
        {"method": "mwnet", "estimator": {**gates, **spec}}
        for spec in (
            {"preset": "paper", "target": 4},
            {"preset": "released"},
            {"preset": "budget", "target": 1.6, **ONLY},
        )
    )
    config.agreement.update({"estimators": (dict(EXACT), {**HEAD, **ONLY})})
    config.agreement.update({"points": 4, "batches": 8, "draws": 2, "rounds": 20})
