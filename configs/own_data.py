"""Your own noisy images, one folder per class, and a few that you trust, in folders named alike.

    famus train --config=configs/own_data.py --workdir=runs/mine \\
        --config.data.source=./photos --config.data.trusted_source=./photos_trusted

    famus train --config=configs/own_data.py:untrusted --workdir=runs/mine_untrusted \\
        --config.data.source=./photos

"mended" trains on the labels as an audit mends them (see famus audit). For color photos install
famus_jax[features]: a pretrained network then looks at them in the place of a small one. "untrusted" is
for when you trust none: two networks find labels that look right for each other. A run leaves
weights.npz (ids, and what it tells of every label) and a list of label issues: label_issues.txt says
what to know first, label_issues.csv has every example, label_issues.png the first of them.

Nothing is mirrored, since letters and digits mean something else then. For photos, where left and right
are alike, add --config.data.augment=crop_flip.

The paths may also be tables (.csv, .parquet) of paths and labels, or .npz files. Without a "train"
and a "test" folder in the source, a part of it is held out for testing (with its labels as they
are). For larger images raise data.image_size and take a larger network, for instance
--config.model.name=preact_resnet_18.
"""

from ml_collections import ConfigDict

from famus_jax.train.config import default_config


def get_config(variant: str = "trusted") -> ConfigDict:
    """The config; every value can be changed on the command line."""
    if variant not in ("trusted", "untrusted"):
        raise ValueError(f"configs/own_data.py:{variant}: choose trusted or untrusted")
    part = {"kind": "all_layers", "examples": 8}
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
                "augment": "pad_crop",
            },
            "model": {"name": "cnn", "overrides": {}},
            "schedule": {
                "steps": 1500,
                "batch_size": 64,
                "meta_batch_size": 32,
                "learning_rate": 0.05,
                "decay": "cosine",
                "weight_decay": 5e-4,
                "eval_every": 150,
                "checkpoint_every": 750,
            },
            "runs": (
                {"method": "ce"},
                {"method": "ce_early_stop"},
                {"method": "finetune"},
                {"method": "mended"},
                {"method": "mwnet", "estimator": part},
            ),
            "seeds": (0,),
        }
    )
    if variant == "untrusted":
        config.data.trusted_per_class = 0
        config.pseudo_clean.update({"warm_up_steps": 200, "ramp_steps": 300, "mixup": 1.0})
        config.pseudo_clean.lambda_u = 5.0
        config.runs = (
            {"method": "ce"},
            {"method": "ce_early_stop"},
            {"method": "mended"},
            {"method": "mwnet_pseudo_clean", "estimator": part},
            {"method": "mixmatch_pseudo_clean", "estimator": {**part, "examples": 32}},
        )
    return config
