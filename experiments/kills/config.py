"""The three kinds of runs to kill: one network, two, and one whose images are streamed.

They take some seconds, and evaluate and save often, so that kills fall into every part of a run.
"""

from ml_collections import ConfigDict

from famus_jax.train.config import default_config

LAST_LAYER = {"kind": "last_layers", "k": 1, "virtual_step": "active"}
RUNS = {
    "one": ({"method": "ce"}, {"method": "finetune"}, {"method": "l2r", "estimator": LAST_LAYER}),
    "two": (
        {"method": "mwnet_pseudo_clean", "estimator": {"kind": "all_layers", "examples": 8}},
        {"method": "mixmatch_pseudo_clean", "estimator": LAST_LAYER},
    ),
    "stream": ({"method": "ce"}, {"method": "l2r", "estimator": LAST_LAYER}),
}


def get_config(kind: str = "one") -> ConfigDict:
    """The experiment of a kind."""
    config = default_config()
    config.data.update({"validation_per_class": 5, "max_test": 100, "augment": "shift"})
    if kind == "two":
        config.data.update({"trusted_per_class": 0, "max_train": 400})
        config.pseudo_clean.update({"warm_up_steps": 20, "ramp_steps": 20})
    if kind == "stream":
        config.data.update({"path": "stream", "workers": 2, "threads": 2})
    config.model.update({"name": "mlp", "overrides": {"hidden": (16, 16)}})
    config.schedule.update(
        {
            "steps": 120,
            "finetune_steps": 40,
            "batch_size": 16,
            "meta_batch_size": 8,
            "eval_every": 4,
            "checkpoint_every": 8,
        }
    )
    config.runs = RUNS[kind]
    return config
