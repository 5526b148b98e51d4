"""Training and evaluation: modules keep the mode that their user chose, arguments are found by name."""

import dataclasses
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from famus_jax.forward import linen_forward, linen_init, nnx_forward

KEY = jax.random.key(3)
X = jax.random.normal(jax.random.key(1), (8, 3)) + 1.0
BATCH = {"image": X}
NAMES = {
    "train": True,
    "training": True,
    "is_training": True,
    "is_train": True,
    "update_stats": True,
    "deterministic": False,
    "use_running_average": False,
    "inference": False,
    "eval": False,
}


def evaluation(forward):
    return dataclasses.replace(forward, train=False)


def assert_evaluates(forward, params, state, expected):
    """The numbers of evaluation, the same at every call, whatever the key; also after training."""
    outputs, same = evaluation(forward)(params, state, None, BATCH)
    assert same is state
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    _, later = forward(params, state, KEY, BATCH)
    once, _ = evaluation(forward)(params, later, None, BATCH)
    again, _ = evaluation(forward)(params, later, jax.random.key(7), BATCH)
    np.testing.assert_array_equal(once, again)


# --- parts that stay in evaluation mode ----------------------------------------------------------


class Parts(nnx.Module):
    """Two norms and a dropout; which of them trains can be read off the numbers."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.pretrained = nnx.BatchNorm(3, epsilon=0.0, rngs=rngs)
        self.pretrained.mean[...] = jnp.full(3, 5.0)
        self.new = nnx.BatchNorm(3, epsilon=0.0, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.drop(self.new(x)) + 100 * self.pretrained(x)


def normalized(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0))


@pytest.mark.parametrize(
    "frozen", [(), ("pretrained",), ("drop",), ("pretrained", "drop")], ids=str
)
def test_nnx_parts_in_evaluation_mode_stay_there(frozen):
    """The outputs and the running statistics of training, by hand.

    Fails if `train()` is called on every module, or `eval()` on more than what the user chose.
    """
    model = Parts()
    for name in frozen:
        getattr(model, name).eval()
    forward, params, state = nnx_forward(model)
    outputs, new = forward(params, state, KEY, BATCH)
    x = np.asarray(X)
    by_norm = x - 5.0 if "pretrained" in frozen else normalized(x)
    rest = np.asarray(outputs) - 100 * by_norm
    dropped = np.abs(rest) < 1e-3
    if "drop" in frozen:
        np.testing.assert_allclose(rest, normalized(x), atol=1e-3)
    else:
        assert 0 < dropped.sum() < dropped.size
        np.testing.assert_allclose(rest[~dropped], 2 * normalized(x)[~dropped], atol=1e-3)
    moved = 5.0 if "pretrained" in frozen else 0.99 * 5.0 + 0.01 * x.mean(0)
    np.testing.assert_allclose(new["pretrained"]["mean"][...], np.full(3, moved), rtol=1e-5)
    np.testing.assert_allclose(new["new"]["mean"][...], 0.01 * x.mean(0), rtol=1e-4)
    assert_evaluates(forward, params, state, x + 100 * (x - 5.0))


def test_nnx_the_mode_is_the_one_at_the_call():
    """As documented: after `eval()` on the whole, it trains once `train()` was called.

    Fails if a model that was evaluated before is trained, or not, by another rule than the parts'.
    """
    model = Parts()
    model.eval()
    forward, params, state = nnx_forward(model)
    model.train()
    again, _, _ = nnx_forward(model)
    outputs, new = forward(params, state, KEY, BATCH)
    np.testing.assert_allclose(outputs, X + 100 * (X - 5.0), rtol=1e-5)
    np.testing.assert_array_equal(new["new"]["mean"][...], np.zeros(3))
    assert np.any(again(params, state, KEY, BATCH)[1]["new"]["mean"][...])


def test_linen_parts_in_evaluation_mode_stay_there():
    """A norm made with `use_running_average=True` among others. Fails if its statistics move, or if
    those of the others do not."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=True, epsilon=0.0, name="frozen")(x)
            return nn.BatchNorm(use_running_average=not train, name="new")(x)

    params, state = linen_init(Net(), KEY, X)
    state["batch_stats"]["frozen"]["mean"] = jnp.full(3, 5.0)
    forward = linen_forward(Net())
    _, new = forward(params, state, KEY, BATCH)
    np.testing.assert_array_equal(new["batch_stats"]["frozen"]["mean"], np.full(3, 5.0))
    np.testing.assert_allclose(
        new["batch_stats"]["new"]["mean"], 0.01 * (np.asarray(X) - 5.0).mean(0), rtol=1e-4
    )
    assert_evaluates(forward, params, state, (np.asarray(X) - 5.0) / np.sqrt(1 + 1e-5))


def test_nnx_mode_in_an_attribute_of_ones_own():
    """Fails if evaluation knows flax's two names only, or takes a method for a mode."""

    class Own(nnx.Module):
        def __init__(self, **mode):
            self.scale = nnx.Param(jnp.ones(()))
            for name, value in mode.items():
                setattr(self, name, value)

        def inference(self, x):
            return x

    class Noisy(Own):
        def __call__(self, x):
            return self.inference(x) * (2.0 if self.training else 1.0)

    forward, params, state = nnx_forward(Noisy(training=True))
    np.testing.assert_array_equal(forward(params, state, None, BATCH)[0], 2 * X)
    np.testing.assert_array_equal(evaluation(forward)(params, state, None, BATCH)[0], X)


# --- the mode as an argument ---------------------------------------------------------------------


def made(arguments, body):
    """A function of one's own argument names."""
    namespace = {}
    exec(f"def call(self, x, {arguments}): return {body}", namespace)
    return namespace["call"]


@pytest.mark.parametrize("default", ["", "=False", "=True"], ids=["required", "False", "True"])
@pytest.mark.parametrize("library", ["linen", "nnx"])
@pytest.mark.parametrize("name", NAMES)
def test_found_by_name(name, library, default):
    """Fails if a name is not known, is inverted, or its default is left in force."""
    call = made(f"*, {name}{default}", name)
    if library == "linen":
        forward = linen_forward(type("Net", (nn.Module,), {"__call__": call})())
    else:
        forward, _, _ = nnx_forward(type("Net", (nnx.Module,), {"__call__": call})())
    assert forward({}, {}, None, BATCH)[0] is NAMES[name]
    assert evaluation(forward)({}, {}, None, BATCH)[0] is not NAMES[name]


class Told(nnx.Module):
    """Ported from Linen: dropout and a norm that take the mode of each call."""

    def __init__(self):
        self.drop, self.norm = (
            nnx.Dropout(0.5, rngs=nnx.Rngs(0)),
            nnx.BatchNorm(3, rngs=nnx.Rngs(0)),
        )

    def __call__(self, x, deterministic=False, use_running_average=False):
        x = self.norm(x, use_running_average=use_running_average)
        return self.drop(x, deterministic=deterministic)


def test_nnx_evaluates_what_is_told_by_arguments():
    """Both arguments are set. Fails if evaluation relies on `eval()`, which arguments overrule, or if
    only the first of two is found."""
    forward, params, state = nnx_forward(Told())
    assert_evaluates(forward, params, state, X / np.sqrt(1 + 1e-5))


def test_given_arguments_are_left_alone():
    """Fails if a mode that `input` gives by position is given a second time by name."""
    call = made("train, *, deterministic", "(train, deterministic)")
    net = type("Net", (nnx.Module,), {"__call__": call})()
    forward, _, _ = nnx_forward(net, input=lambda batch: (batch["image"], "mine"))
    assert forward({}, {}, None, BATCH)[0] == ("mine", False)
    linen = type("Net", (nn.Module,), {"__call__": call})()
    forward = linen_forward(linen, input=lambda batch: (batch["image"], "mine"))
    assert evaluation(forward)({}, {}, None, BATCH)[0] == ("mine", True)


def test_other_names_by_a_function():
    """The documented way for a network whose argument has another name, in both libraries.

    Fails if `call` or `method` are not told the mode.
    """
    call = made("phase", "phase")
    forward, _, _ = nnx_forward(
        type("Net", (nnx.Module,), {"__call__": call})(),
        call=lambda model, x, train: model(x, phase="train" if train else "test"),
    )
    assert forward({}, {}, None, BATCH)[0] == "train"
    assert evaluation(forward)({}, {}, None, BATCH)[0] == "test"
    forward = linen_forward(
        type("Net", (nn.Module,), {"__call__": call})(),
        method=lambda module, x, train: module(x, phase="train" if train else "test"),
    )
    assert forward({}, {}, None, BATCH)[0] == "train"
    assert evaluation(forward)({}, {}, None, BATCH)[0] == "test"


@pytest.mark.parametrize("draws", [True, False], ids=["draws", "moves"])
def test_nnx_evaluation_that_trains_warns(draws):
    """A mode by a name that nobody can know. Fails if dropout or the batch's own statistics in
    evaluation go unnoticed."""

    class Net(nnx.Module):
        def __init__(self):
            self.inner = Told()

        def __call__(self, x, frozen=False):
            return self.inner(x, frozen or not draws, frozen or draws)

    forward, params, state = nnx_forward(Net())
    words = "draws random numbers" if draws else "moves running statistics"
    with pytest.warns(
        UserWarning, match=rf"in evaluation mode .*{words}.*call=lambda model, x, train"
    ):
        jax.jit(evaluation(forward))(params, state, None, BATCH)
    told, _, _ = nnx_forward(Net(), call=lambda model, x, train: model(x, frozen=not train))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.jit(evaluation(told))(params, state, None, BATCH)


class LinenShell(nn.Module):
    inner: nn.Module

    def __call__(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


class NNXShell(nnx.Module):
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


def test_a_shell_hands_the_mode_on():
    """`**kwargs` around a network that takes `train`, and around one that does not.

    Fails if the mode gets lost in silence, or if the error names no way to say it.
    """
    call = made("train=None", "train")
    inner = type("Net", (nn.Module,), {"__call__": call})()
    assert linen_forward(LinenShell(inner))({}, {}, None, BATCH)[0] is True
    forward, _, _ = nnx_forward(NNXShell(type("Net", (nnx.Module,), {"__call__": call})()))
    assert evaluation(forward)({}, {}, None, BATCH)[0] is False
    forward, params, state = nnx_forward(NNXShell(Told()))
    with pytest.raises(ValueError, match=r"no such argument .*call=lambda model, x, train: model"):
        forward(params, state, None, BATCH)
    with pytest.raises(
        ValueError, match=r"no such argument .*method=lambda module, x, train: module"
    ):
        linen_init(LinenShell(nn.Dense(2)), KEY, X)


def test_sequential():
    """flax's `Sequential` hands keyword arguments to its first layer alone. Fails if that gets a mode
    which it does not take."""
    net = nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(2)])
    params, state = linen_init(net, KEY, X)
    assert linen_forward(net)(params, state, None, BATCH)[0].shape == (8, 2)
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(3, 3, rngs=rngs), nnx.Dropout(0.5, rngs=rngs))
    forward, params, state = nnx_forward(model)
    assert np.any(np.asarray(forward(params, state, KEY, BATCH)[0]) == 0)
    assert_evaluates(forward, params, state, model.layers[0](X))
