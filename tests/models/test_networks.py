"""What the networks promise beside their forwards: norms, dtypes, modes, initialization, errors."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import InvalidRngError

from famus_jax.models import (
    MLP,
    MODELS,
    SmallCNN,
    WideResNet,
    blocks,
    build_model,
    layers,
)

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 3)), jnp.float32)
SMALL = {
    "mlp": {"hidden": (8,)},
    "cnn": {"widths": (4, 8)},
    "wrn_28_2": {"depth": 10, "width": 1},
}


def filled(model, *inputs):
    """Variables of `model` with random positive-variance values, without compiling its `init`."""
    rng = np.random.default_rng(1)
    variables = jax.eval_shape(lambda key: model.init(key, *inputs), jax.random.key(0))
    return jax.tree.map(
        lambda x: (0.3 + 0.2 * rng.normal(size=x.shape).clip(-1, 1)).astype(x.dtype), variables
    )


def leaf_dtypes(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree)}


SHORT = {
    "wrn_28_2": {"depth": 10},
    "resnet_32": {"depth": 8},
    "resnet_34": {"blocks": (1, 1)},
    "resnet_50": {"blocks": (1, 1)},
    "inception_resnet_v2": {"repeats": (1, 1, 1)},
}


def image_spec(name):
    size = 96 if name == "inception_resnet_v2" else 32
    return jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)


@pytest.mark.parametrize("norm", layers.NORMS)
@pytest.mark.parametrize("name", ["cnn", "wrn_28_2", "preact_resnet_18", "resnet_32"])
def test_half_precision_keeps_parameters_state_and_logits_float32(name, norm):
    model = build_model(name, 5, norm=norm, dtype=jnp.bfloat16)
    variables = jax.eval_shape(model.init, jax.random.key(0), image_spec(name))
    assert leaf_dtypes(variables) == {jnp.dtype("float32")}
    logits, state = jax.eval_shape(
        partial(model.apply, train=True, mutable=["batch_stats"]), variables, image_spec(name)
    )
    assert (logits.shape, logits.dtype) == ((2, 5), jnp.float32)
    assert ("batch_stats" in variables) == (norm == "batch")
    assert leaf_dtypes(state) <= {jnp.dtype("float32")}


def test_half_precision_computes_in_half_precision():
    # Fails if `dtype` doesn't reach the convolutions and the norms.
    model = build_model("wrn_28_2", 5, dtype=jnp.bfloat16)
    variables = jax.eval_shape(model.init, jax.random.key(0), image_spec("wrn_28_2"))
    jaxpr = jax.make_jaxpr(partial(model.apply, train=False))(variables, image_spec("wrn_28_2"))
    convolutions = [e for e in jaxpr.eqns if e.primitive.name == "conv_general_dilated"]
    assert len(convolutions) == 1 + 24 + 3
    assert {e.outvars[0].aval.dtype for e in convolutions} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_double_precision_parameters_give_double_precision_logits(name):
    model = build_model(name, 5, **SMALL[name])
    with jax.enable_x64(True):
        images = IMAGES.astype(jnp.float64)
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        variables = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float64), dict(variables)
        )
        logits = jax.eval_shape(partial(model.apply, train=False), variables, images)
    assert logits.dtype == jnp.float64


@pytest.mark.parametrize("norm", ["group", "layer", "none"])
def test_other_norms_treat_examples_apart(norm):
    # Fails if a norm mixes examples, or if one of them is BatchNorm after all.
    model = SmallCNN(5, widths=(8, 8), norm=norm)
    variables = filled(model, IMAGES)
    apply = jax.jit(partial(model.apply, train=True))
    together = apply(variables, IMAGES)
    alone = jnp.concatenate([apply(variables, x[None]) for x in IMAGES])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "groups"), [(3, 1), (4, 1), (8, 2), (16, 4), (20, 4), (64, 16), (160, 32)]
)
def test_group_norm_groups(channels, groups):
    assert layers._num_groups(channels) == groups


def test_norm_as_a_callable():
    seen = []

    def norm(*, train, dtype, name):
        seen.append((train, dtype, name))
        return nn.LayerNorm(dtype=dtype, name=name)

    model = SmallCNN(5, widths=(4, 8), norm=norm, dtype=jnp.bfloat16)
    variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    assert seen == [(False, jnp.bfloat16, "norm0"), (False, jnp.bfloat16, "norm1")]
    assert set(variables["params"]["norm0"]) == {"scale", "bias"}


def test_small_cnn_by_hand():
    # One 3x3 convolution without norm, mean, dense: fails on padding, ReLU or pooling mistakes.
    model = SmallCNN(2, widths=(3,), norm="none")
    params = model.init(jax.random.key(1), IMAGES)["params"]
    kernel, bias = (np.asarray(params["conv0"][k]) for k in ("kernel", "bias"))
    padded = np.pad(np.asarray(IMAGES), ((0, 0), (1, 1), (1, 1), (0, 0)))
    h = np.zeros((4, 8, 8, 3))
    for i in range(3):
        for j in range(3):
            h += padded[:, i : i + 8, j : j + 8] @ kernel[i, j]
    pooled = np.maximum(h + bias, 0).mean((1, 2))
    expected = pooled @ np.asarray(params["head"]["kernel"]) + np.asarray(params["head"]["bias"])
    logits = model.apply({"params": params}, IMAGES)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_mlp_by_hand():
    model = MLP(2, hidden=(6,))
    params = model.init(jax.random.key(1), IMAGES)["params"]
    x = np.asarray(IMAGES).reshape(4, -1)
    d, top = params["dense0"], params["head"]
    h = np.maximum(x @ np.asarray(d["kernel"]) + np.asarray(d["bias"]), 0)
    expected = h @ np.asarray(top["kernel"]) + np.asarray(top["bias"])
    np.testing.assert_allclose(model.apply({"params": params}, IMAGES), expected, rtol=1e-4)


def test_wide_resnet_drops_between_the_convolutions_in_training_only():
    # With a second convolution that copies, block(x) - x is what dropout left of the first half's
    # output. Fails if dropout stands anywhere else, has another scale, or stays on.
    x = IMAGES[..., :2]
    block = blocks.PreActivation(
        features=2,
        strides=1,
        norm="none",
        dtype=None,
        kernel_init=layers.KAIMING_FAN_OUT,
        dropout=0.5,
    )
    params = filled(block, x, False)["params"]
    params["conv1"]["kernel"] = params["conv1"]["kernel"] - 0.3
    params["conv2"]["kernel"] = np.pad(np.eye(2)[None, None], [(1, 1), (1, 1), (0, 0), (0, 0)])
    params["conv2"]["bias"] = np.zeros(2, np.float32)

    @partial(jax.jit, static_argnums=1)
    def run(key, train):
        return block.apply({"params": params}, x, train, rngs={"dropout": jax.random.key(key)}) - x

    whole, first, second = np.asarray(run(0, False)), np.asarray(run(0, True)), run(1, True)
    kept = np.abs(first) > 1e-6
    assert 0.2 < kept[whole > 1e-6].mean() < 0.8
    np.testing.assert_allclose(first[kept], 2 * whole[kept], rtol=1e-4, atol=1e-5)
    assert not np.allclose(first, second, atol=1e-5)


def test_wide_resnet_hands_its_dropout_on():
    model = WideResNet(10, 1, 5, dropout=0.5)
    variables = filled(model, IMAGES)
    jax.eval_shape(partial(model.apply, train=False), variables, IMAGES)
    with pytest.raises(InvalidRngError, match="dropout"):
        jax.eval_shape(partial(model.apply, train=True, mutable=["batch_stats"]), variables, IMAGES)


def test_initializers_have_pytorchs_scales():
    # Fails if fan in and fan out change places, or for a truncated normal (0.77 of the variance).
    shape, key = (3, 3, 32, 128), jax.random.key(0)
    fan_out = np.asarray(layers.KAIMING_FAN_OUT(key, shape))
    fan_in = np.asarray(layers.KAIMING_FAN_IN(key, shape))
    default = np.asarray(layers.TORCH_DEFAULT(key, shape))
    assert np.var(fan_out) == pytest.approx(2 / (9 * 128), rel=0.05)
    assert np.var(fan_in) == pytest.approx(2 / (9 * 32), rel=0.05)
    assert np.abs(default).max() == pytest.approx(1 / np.sqrt(9 * 32), rel=1e-3)
    assert np.var(default) == pytest.approx(1 / (3 * 9 * 32), rel=0.05)


@pytest.mark.parametrize(
    ("name", "kernels", "head"),
    [
        ("wrn_28_2", layers.KAIMING_FAN_OUT, layers.TORCH_DEFAULT),
        ("preact_resnet_18", layers.TORCH_DEFAULT, layers.TORCH_DEFAULT),
        ("resnet_32", layers.KAIMING_FAN_IN, layers.KAIMING_FAN_IN),
        ("resnet_50", layers.KAIMING_FAN_OUT, layers.TORCH_DEFAULT),
        ("inception_resnet_v2", layers.TORCH_DEFAULT, layers.TORCH_DEFAULT),
        ("efficientnet_lite0", layers.KAIMING_FAN_OUT, layers.TORCH_DEFAULT),
    ],
)
def test_every_layer_starts_as_in_the_original(name, kernels, head):
    seen = {nn.Conv: set(), nn.Dense: set()}

    def watch(call, args, kwargs, context):
        if type(context.module) in seen:
            seen[type(context.module)].add(context.module.kernel_init)
        return call(*args, **kwargs)

    model = build_model(name, 10, **SHORT.get(name, {}))
    with nn.intercept_methods(watch):
        jax.eval_shape(model.init, jax.random.key(0), image_spec(name))
    assert seen == {nn.Conv: {kernels}, nn.Dense: {head}}


def test_initial_head_is_that_of_pytorch():
    class Head(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layers.head(x, 100, torch_bias=True)

    params = Head().init(jax.random.key(0), jnp.zeros((1, 400)))["params"]["head"]
    for leaf in (params["kernel"], params["bias"]):
        assert 0.9 / 20 < np.abs(leaf).max() < 1 / 20


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"inception_resnet_v2", "wrn_28_10"}))
def test_every_model_maps_images_to_logits(name):
    model = build_model(name, 7)
    spec = image_spec(name)
    variables = jax.eval_shape(model.init, jax.random.key(0), spec)
    assert set(variables) <= {"params", "batch_stats"}
    logits = jax.eval_shape(partial(model.apply, train=False), variables, spec)
    assert (logits.shape, logits.dtype) == ((2, 7), jnp.float32)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"mlp"}))
def test_images_of_another_rank_or_type(name):
    model = build_model(name, 5)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"\[n, H, W, C\].*\(32, 32, 3\)"):
        jax.eval_shape(model.init, key, jnp.zeros((32, 32, 3)))
    with pytest.raises(TypeError, match="uint8; scale it"):
        jax.eval_shape(model.init, key, jnp.zeros((1, 32, 32, 3), jnp.uint8))


def test_build_model_errors():
    with pytest.raises(ValueError, match=r"'wrn_28_20'. Did you mean 'wrn_28_\d+'\? Known: cnn, "):
        build_model("wrn_28_20", 10)
    with pytest.raises(ValueError, match="num_classes must be a positive whole number, got 0"):
        build_model("cnn", 0)
    with pytest.raises(TypeError, match="no attribute 'droput'; it takes depth, dropout, dtype"):
        build_model("wrn_28_2", 10, droput=0.3)
    with pytest.raises(ValueError, match="unknown norm 'bach'; pass one of 'batch', "):
        jax.eval_shape(build_model("cnn", 5, norm="bach").init, jax.random.key(0), IMAGES)


@pytest.mark.parametrize(
    ("overrides", "message"), [({"depth": 27}, "6 k \\+ 4.*27"), ({"dropout": 1.0}, "rate.*1.0")]
)
def test_wide_resnet_errors(overrides, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(build_model("wrn_28_2", 5, **overrides).init, jax.random.key(0), IMAGES)


def test_num_classes_of_a_module_is_checked_too():
    with pytest.raises(ValueError, match="num_classes must be a positive whole number, got 0"):
        jax.eval_shape(MLP(0).init, jax.random.key(0), IMAGES)


@pytest.mark.slow
def test_cosine_head():
    """Cosines of features and columns, by numpy; no bias; a dead feature vector gives 0 and slope 0.

    Fails if only one of the two is normalized, or along the wrong axis.
    """
    model = build_model("mlp", 3, hidden=(5,), cosine_head=True)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, 6)), jnp.float32)
    params = model.init(jax.random.key(0), x)["params"]
    numbers = jax.tree.map(np.asarray, params)
    assert list(params["head"]) == ["kernel"]
    h = np.maximum(np.asarray(x) @ numbers["dense0"]["kernel"] + numbers["dense0"]["bias"], 0)
    kernel = numbers["head"]["kernel"]
    lengths = np.linalg.norm(h, axis=1)[:, None] * np.linalg.norm(kernel, axis=0)[None, :]
    np.testing.assert_allclose(model.apply({"params": params}, x), h @ kernel / lengths, rtol=1e-5)
    slope = jax.grad(lambda p: model.apply({"params": p}, 0 * x).sum())(params)
    assert all(not leaf.any() for leaf in jax.tree.leaves(slope))
