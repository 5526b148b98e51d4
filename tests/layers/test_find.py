"""Layers by tracing: order, membership and costs, on every way of writing a network."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from famus_jax import find_layers, linen_forward, nnx_forward
from famus_jax.models import WideResNet

KEY = jax.eval_shape(jax.random.key, 0)
N, D, H, C = 6, 3, 5, 2
X = jax.ShapeDtypeStruct((N, D), jnp.float32)


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def layers_of(apply, params, batch=X, **options):
    """The groups of a stateless function of (params, batch)."""
    return find_layers(lambda p, s, r, b: (apply(p, b), s), params, (), KEY, batch, **options)


def as_sets(found_layers):
    """[{paths of the leaves of group 0}, ...]"""
    found = [set() for _ in found_layers.names]
    for path, group in jax.tree_util.tree_leaves_with_path(found_layers.as_tree()):
        found[group].add(jax.tree_util.keystr(path, simple=True, separator="/"))
    return found


# Three layers, the container's own order never being the order of use.
SHAPES = ((array(D, H), array(H)), (array(H, H), array(H)), (array(H, C), array(C)))
CONTAINERS = {
    "dict of dicts": (
        {name: {"w": w, "b": b} for name, (w, b) in zip("zya", SHAPES, strict=True)},
        lambda p: [(p[k]["w"], p[k]["b"]) for k in "zya"],
        [{"z/w", "z/b"}, {"y/w", "y/b"}, {"a/w", "a/b"}],
    ),
    "list of pairs": (
        list(SHAPES[::-1]),
        lambda p: p[::-1],
        [{"2/0", "2/1"}, {"1/0", "1/1"}, {"0/0", "0/1"}],
    ),
    "flat dict": (
        {
            f"{kind}{3 - i}": x
            for i, pair in enumerate(SHAPES)
            for kind, x in zip("wb", pair, strict=True)
        },
        lambda p: [(p[f"w{i}"], p[f"b{i}"]) for i in (3, 2, 1)],
        [{"w3", "b3"}, {"w2", "b2"}, {"w1", "b1"}],
    ),
}


def dense_stack(layers, x):
    for i, (w, b) in enumerate(layers):
        x = x @ w + b[None, :]
        x = jax.nn.relu(x) if i < len(layers) - 1 else x
    return x


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container):
    """Fails if groups follow the order of the tree instead of the forward pass, or if a bias is
    parted from its kernel."""
    params, layers, expected = CONTAINERS[container]
    assert as_sets(layers_of(lambda p, x: dense_stack(layers(p), x), params)) == expected


def test_costs_of_an_mlp():
    """Shares of d_in · d_out; fails if costs are parameter counts (biases), or equal shares."""
    params, layers, _ = CONTAINERS["dict of dicts"]
    costs = layers_of(lambda p, x: dense_stack(layers(p), x), params).costs
    products = [D * H, H * H, H * C]
    assert sum(costs) == pytest.approx(1)
    assert costs == pytest.approx([p / sum(products) for p in products])


def test_by_tensor():
    """One group per leaf; fails if the bias comes before the kernel it is added to."""
    params, layers, _ = CONTAINERS["flat dict"]
    found_layers = layers_of(lambda p, x: dense_stack(layers(p), x), params, by="tensor")
    assert found_layers.names == ("w3", "b3", "w2", "b2", "w1", "b1")


def test_wide_resnet():
    """Every convolution is a group, bottom to top, the head last; norms join what they follow.

    Fails if blocks are layers, if the stem isn't first (alphabetical order), or if the shortcut and
    the convolution beside it fall together.
    """
    model = WideResNet(depth=10, width=2, num_classes=3)
    image = array(2, 8, 8, 3)
    variables = jax.eval_shape(lambda key, x: model.init(key, x), KEY, image)
    params, state = variables["params"], {"batch_stats": variables["batch_stats"]}
    found_layers = find_layers(linen_forward(model), params, state, KEY, {"image": image})
    blocks = [f"stage{s}_block0/{c}" for s in (1, 2, 3) for c in ("shortcut", "conv1", "conv2")]
    assert found_layers.names == ("stem", *blocks, "head")
    sets = as_sets(found_layers)
    assert sets[0] == {"stem/kernel", "stage1_block0/norm1/scale", "stage1_block0/norm1/bias"}
    assert sets[-2] == {"stage3_block0/conv2/kernel", "norm/scale", "norm/bias"}
    assert sets[-1] == {"head/kernel", "head/bias"}
    # FLOPs of the stem over those of the first block's 3x3 convolution, 3·16 to 16·32 channels.
    assert found_layers.costs[0] / found_layers.costs[2] == pytest.approx(3 * 16 / (16 * 32))


def test_nnx():
    """Fails if an NNX state's wrappers end up in the names, or running statistics among the layers."""

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.zero = nnx.Linear(D, H, rngs=rngs)
            self.norm = nnx.BatchNorm(H, rngs=rngs)
            self.head = nnx.Linear(H, C, rngs=rngs)

        def __call__(self, x):
            return self.head(nnx.relu(self.norm(self.zero(x))))

    forward, params, state = nnx_forward(Net(nnx.Rngs(0)))
    found_layers = find_layers(
        forward, params, state, jax.random.key(0), {"image": jnp.zeros((N, D))}
    )
    assert found_layers.names == ("zero", "head")
    assert len(found_layers.index) == 6
    assert [found_layers.index.count(i) for i in (0, 1)] == [4, 2]


def cast(params):
    return jax.tree.map(lambda w: w.astype(jnp.bfloat16), params)


def standardise(params):
    def leaf(w):
        return (
            w if w.ndim < 2 else (w - w.mean(0, keepdims=True)) / (w.std(0, keepdims=True) + 1e-5)
        )

    return jax.tree.map(leaf, params)


@jax.jit
def jitted(params):
    return jax.tree.map(lambda w: w.reshape(-1).reshape(w.shape) * 2, params)


@pytest.mark.parametrize("prepare", [cast, standardise, jitted], ids=lambda f: f.__name__)
def test_what_happens_before_the_batch_does_not_count(prepare):
    """A cast of the whole tree, weight standardisation, a jitted reshape: all leave the order alone.

    Fails if the first equation that touches a parameter decides, which here is the same for all.
    """
    params, layers, expected = CONTAINERS["dict of dicts"]
    found_layers = layers_of(
        lambda p, x: dense_stack(layers(prepare(p)), x.astype(p["z"]["w"].dtype)), params
    )
    assert as_sets(found_layers) == expected


def remat(w, x):
    return jax.checkpoint(lambda w, x: jax.nn.relu(x @ w))(w, x)


def cond(w, x):
    return jax.lax.cond(x.sum() > 0, lambda w, x: x @ w, lambda w, x: x @ (2 * w), w, x)


@jax.custom_jvp
def custom(w, x):
    return x @ w


custom.defjvp(lambda primals, tangents: (custom(*primals), custom(tangents[0], primals[1])))


def custom_reverse(w, x):
    @jax.custom_vjp
    def product(w, x):
        return x @ w

    product.defvjp(lambda w, x: (x @ w, (w, x)), lambda r, c: (r[1].T @ c, c @ r[0].T))
    return product(w, x)


@pytest.mark.parametrize("call", [remat, cond, custom, custom_reverse, jax.jit(remat)])
def test_calls_are_entered(call):
    """Fails if two layers inside one call fall together, or a layer inside a call is lost."""
    params = {"b": array(D, H), "a": array(H, H), "c": array(H, C)}

    def apply(p, x):
        return call(p["c"], call(p["a"], call(p["b"], x)))

    found_layers = layers_of(apply, params)
    assert found_layers.names == ("b", "a", "c")
    assert sum(found_layers.costs) == pytest.approx(1)

    one_call = layers_of(lambda p, x: jax.checkpoint(apply)(p, x), params)
    assert one_call.names == ("b", "a", "c")


def test_tied_embedding():
    """A matrix used at both ends belongs to the bottom; fails if its last use decides."""
    params = {"table": array(7, H), "dense": {"w": array(H, H), "b": array(H)}}
    tokens = jax.ShapeDtypeStruct((N,), jnp.int32)

    def apply(p, tokens):
        h = jnp.tanh(p["table"][tokens] @ p["dense"]["w"] + p["dense"]["b"][None, :])
        return h @ p["table"].T

    found_layers = layers_of(apply, params, tokens)
    assert found_layers.names == ("table", "dense")
    # The product with the tied matrix lies above the dense layer's first use.
    assert found_layers.costs == pytest.approx([0, 1])


def test_scanned_stack_is_one_group():
    """`nn.scan` over layers: all of a stack's leaves together, between what is below and above.

    Fails if the scan's leaves are ordered inside its body, or its cost is that of one layer.
    """

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            h = nn.Dense(H, name="second")(nn.relu(nn.Dense(H, name="first")(x)))
            return x + h, None

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(H, name="zero")(x)
            stack = nn.scan(
                Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=4
            )
            x, _ = stack(name="stack")(x, None)
            return nn.Dense(C, name="head")(x)

    model = Net()
    params = jax.eval_shape(lambda key, x: model.init(key, x), KEY, X)["params"]
    found_layers = find_layers(linen_forward(model), params, {}, KEY, {"image": X})
    assert found_layers.names == ("zero", "stack", "head")
    assert as_sets(found_layers)[1] == {
        f"stack/{a}/{b}" for a in ("first", "second") for b in ("kernel", "bias")
    }
    products = [D * H, 4 * 2 * H * H, H * C]
    assert found_layers.costs == pytest.approx([p / sum(products) for p in products])


def test_parallel_branches():
    """Two branches from the input: a group each, both below the head; fails if they fall together."""
    params = {"q": {"w": array(D, H)}, "p": {"w": array(D, H)}, "a": {"w": array(H, C)}}

    def apply(p, x):
        left, right = jnp.tanh(x @ p["q"]["w"]), jnp.tanh(x @ p["p"]["w"])
        return (left + right) @ p["a"]["w"]

    found_layers = layers_of(apply, params)
    assert found_layers.names == ("q", "p", "a")
    total = 2 * D * H + H * C
    assert found_layers.costs == pytest.approx([D * H / total, D * H / total, H * C / total])


def test_unused_parameter():
    """Fails if a parameter that the forward never uses crashes the walk or lands on top."""
    params = {"w": array(D, C), "idle": {"w": array(H, H)}}
    found_layers = layers_of(lambda p, x: x @ p["w"], params)
    assert found_layers.names[-1] == "w"
    assert len(found_layers) == 2


def test_gain_and_kernel_meet_the_batch_together():
    """Two tensors multiplied before use are one group; fails if either is lost."""
    params = {"conv": {"gain": array(1, H), "w": array(D, H)}, "head": {"w": array(H, C)}}
    found_layers = layers_of(
        lambda p, x: x @ (p["conv"]["w"] * p["conv"]["gain"]) @ p["head"]["w"], params
    )
    assert as_sets(found_layers) == [{"conv/gain", "conv/w"}, {"head/w"}]


def test_unknown_by():
    with pytest.raises(ValueError, match=r'"module" or "tensor"; got .layer.'):
        layers_of(lambda p, x: x @ p, array(D, C), by="layer")


def test_no_parameters():
    with pytest.raises(ValueError, match="params has no leaves"):
        layers_of(lambda p, x: x, {})
