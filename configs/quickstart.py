"""Quick start: 1,797 handwritten digits, 40 % of labels flipped to the next class.

Which methods still learn, given two trusted images per class? A small CNN, one schedule, three seeds.

    famus train --config=configs/quickstart.py --workdir=runs/quickstart
"""

from ml_collections import ConfigDict

from famus_jax.train.config import default_config


def get_config() -> ConfigDict:
    """The config; every value can be changed on the command line: --config.schedule.steps=100."""
    head = {"kind": "last_layers", "k": 1, "virtual_step": "active"}
    gates = {"kind": "learned_gates", "preset": "paper", "target": 2, "lag": 2}  # FaMUS
    config = default_config()
    config.update(
        {
            "data": {
                "source": "famus_digits",
                "data_dir": "",
                "noise": "pair_flip",
                "noise_rate": 0.4,
                "trusted_per_class": 2,
                "validation_per_class": 20,
                "augment": "none",
            },
            "model": {"name": "cnn", "overrides": {"widths": (16, 32)}},
            "schedule": {
                "steps": 800,
                "batch_size": 100,
                "meta_batch_size": 20,
                "learning_rate": 0.1,
                "decay": "cosine",
                "momentum": 0.9,
                "weight_decay": 5e-4,
                "finetune_steps": 300,
                "finetune_learning_rate": 0.01,
                "eval_every": 50,
                "checkpoint_every": 400,
            },
            "runs": (
                {"method": "ce"},
                {"method": "ce_early_stop"},
                {"method": "noisy_plus_trusted"},
                {"method": "finetune"},
                {"method": "mwnet", "estimator": {"kind": "all_layers"}},
                {"method": "mwnet", "estimator": {"kind": "all_layers", "examples": 8}},
                {"method": "mwnet", "estimator": gates},
                {"method": "mwnet", "estimator": head},
                {"method": "l2r", "estimator": head},
                {"method": "clean"},
            ),
            "seeds": (0, 1, 2),
        }
    )
    return config
