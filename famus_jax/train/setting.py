"""What all runs of an experiment share: data, network, evaluator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from famus_jax.core.active_layers import Seen
from famus_jax.core.checks import check_estimator
from famus_jax.core.cost import program_costs
from famus_jax.core.estimator import Estimator
from famus_jax.core.problem import Problem
from famus_jax.data.augment.named import check_augment, named_augment
from famus_jax.differentiate.linearize import Forward
from famus_jax.forward import compute_in, linen_forward, linen_init
from famus_jax.models import build_model
from famus_jax.train import data_setup
from famus_jax.train.config import ExperimentConfig, RunConfig
from famus_jax.train.data_setup import SeedData, Sources
from famus_jax.train.evaluation import Evaluator
from famus_jax.train.evidence import recorder
from famus_jax.train.fingerprint import MadeFrom
from famus_jax.train.network_check import check_network
from famus_jax.train.placement import ONE_DEVICE, Placement
from famus_jax.train.pretrained import from_trunk, read_pretrained
from famus_jax.uses.record import Record

PyTree = Any


class Setting(NamedTuple):
    """The parts that all runs share.

    Attributes:
      config, workdir: of the experiment.
      sources: the data set, before any seed.
      forward: the network in training mode.
      featured: the same, with its features: `{"logits", "features"}`.
      predict: the network in evaluation mode.
      evaluator: of `predict`.
      init: `key -> (params, model_state)`, compiled.
      image_shape: of one example.
      placement: the devices.
      pretrained: the weights of a file that networks start from, or None.
      record: what the steps record of every example; None for too many examples and classes.
    """

    config: ExperimentConfig
    workdir: Path
    sources: Sources
    forward: Forward
    featured: Forward
    predict: Forward
    evaluator: Evaluator
    init: Callable[[jax.Array], tuple[PyTree, PyTree]]
    image_shape: tuple[int, ...]
    placement: Placement = ONE_DEVICE
    pretrained: Any = None
    record: Record | None = None


class Seeded(NamedTuple):
    """One run of one seed, and what it works on.

    Attributes:
      run, seed: which.
      data: splits and noisy labels of that seed.
      evaluated: the test set and the noisy validation set, by name.
      made_from: hashes of config and data, see `fingerprint`.
    """

    run: RunConfig
    seed: int
    data: SeedData
    evaluated: dict[str, Iterable[PyTree]]
    made_from: MadeFrom


def make_setting(
    config: ExperimentConfig, workdir: Path, placement: Placement = ONE_DEVICE
) -> Setting:
    """Reads the data and builds the network.

    Raises what `load_sources` and `build_model` raise, and `ValueError` for an augmentation or for
    pretrained weights that do not fit the images or the network.
    """
    build_model_of(config, 2)  # what it can't be is known before anything is read
    trunk = read_pretrained(config.model)
    sources = data_setup.load_sources(config.data)
    model = build_model_of(config, sources.train.num_classes)
    shape = tuple(sources.train.images.shape[1:])

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        return linen_init(model, key, np.zeros((1, *shape), np.float32))

    check_network(config.model, init, shape)
    check_augment(named_augment(config.data.augment, "data.augment"), shape, "data.augment")

    def forward(*, train: bool = True, features: bool = False) -> Forward:
        made = linen_forward(model, train=train, features=features)
        narrow = config.model.dtype != "float32"
        return compute_in(made, jnp.dtype(config.model.dtype)) if narrow else made

    predict = forward(train=False)
    return Setting(
        config=config,
        workdir=workdir,
        sources=sources,
        forward=forward(),
        featured=forward(features=True),
        predict=predict,
        evaluator=Evaluator(predict),
        init=from_trunk(jax.jit(init), trunk),
        image_shape=shape,
        placement=placement,
        pretrained=trunk,
        record=recorder(len(sources.train.labels), sources.train.num_classes),
    )


def build_model_of(config: ExperimentConfig, num_classes: int) -> Any:
    """The network that a config names.

    Raises `ValueError` for a name or an override that is not known, with those that are.
    """
    try:
        return build_model(config.model.name, num_classes, **config.model.overrides)
    except TypeError as error:
        raise ValueError(f"model.overrides: {error}") from error


def shapes_of(
    params: PyTree, model_state: PyTree, batch: PyTree
) -> tuple[PyTree, PyTree, jax.Array, PyTree]:
    """The arguments of a forward pass, from which a network's layers are found."""
    return params, model_state, jax.random.key(0), batch


def batch_shapes(setting: Setting, n: int = 2) -> dict[str, jax.ShapeDtypeStruct]:
    """Whatever the training batch of any method holds, n examples of it."""
    columns = {
        "image": ((n, *setting.image_shape), np.float32),
        "label": ((n,), np.int32),
        "index": ((n,), np.int32),
        "step": ((), np.int32),
        "target": ((n, setting.sources.train.num_classes), np.float32),
        "labeled": ((n,), np.float32),
        "lambda_u": ((), np.float32),
    }
    return {name: jax.ShapeDtypeStruct(*column) for name, column in columns.items()}


def check_fits(setting: Setting, problem: Problem, estimator: Estimator, batch_size: int) -> None:
    """Raises `ValueError` if an estimator does not fit the network or the method; compiles nothing.

    Args:
      setting: what all runs share.
      problem, estimator: of the run.
      batch_size: examples in a training batch, as the step takes it.
    """
    params, model_state = jax.eval_shape(setting.init, jax.random.key(0))
    batch = batch_shapes(setting)
    problem = problem.on(*shapes_of(params, model_state, batch), by=estimator.active.layers_by)
    n, m = batch_size, setting.config.schedule.meta_batch_size
    assert problem.layers is not None
    seen = Seen(problem.layers, program_costs(problem, estimator, n, m))
    check_estimator(problem, estimator, seen, n)
