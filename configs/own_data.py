"""Your own noisy images, one folder per class, and a few that you trust, in folders named alike.

    famus train --config=configs/own_data.py --workdir=runs/mine \\
        --config.data.source=./photos --config.data.trusted_source=./photos_trusted

The paths may also be tables (.csv, .parquet) of paths and labels, or .npz files. Without a "train"
and a "test" folder in the source, a part of it is held out for testing (with its labels as they
are). For larger images raise data.image_size and take a larger network, for instance
--config.model.name=preact_resnet_18.
"""

from ml_collections import ConfigDict

from famus_jax.train.config import default_config


def get_config() -> ConfigDict:
    """The config; every value can be changed on the command line."""
    head = {"kind": "top_k", "k": 1, "lookahead": "active_only"}
    config = default_config()
    config.update(
        {
            "data": {
                "source": "./photos",
                "trusted_source": "",
                "trusted_per_class": 5,
                "validation_per_class": 5,
                "image_size": 32,
                "noise": "none",
                "augment": "pad_crop_flip",
            },
            "model": {"name": "cnn", "overrides": {}},
            "schedule": {
                "steps": 1000,
                "batch_size": 64,
                "meta_batch_size": 32,
                "learning_rate": 0.05,
                "eval_every": 100,
                "checkpoint_every": 500,
            },
            "meta": {"optimizer": "adam"},
            "runs": (
                {"method": "ce"},
                {"method": "ce_early_stop"},
                {"method": "finetune"},
                {"method": "l2r", "estimator": head},
            ),
            "seeds": (0,),
        }
    )
    return config
