"""What the compiled WideResNet-28-2 step may cost, against an honest plain step.

Ours carries everything: weights, BatchNorm's statistics, momentum, decay, metrics, and where there are
gates samplers and L_g; the plain step has no metrics.

FLOPs and temporary memory as XLA counts them on the CPU, batch 32, float32. XLA counts the body of
a loop once and a conditional at its most expensive branch, so that programs with either are refused.
"""

import functools
import re

import jax
import jax.numpy as jnp
import optax
import pytest

import famus_jax
from famus_jax import linen_forward, train_step
from famus_jax.core.programs import Program
from famus_jax.losses import softmax_cross_entropy
from famus_jax.models import build_model

pytestmark = pytest.mark.usefixtures("as_shipped")

BATCH = 32
RATE = 0.1
LAST_BLOCK = 3  # layers: the two convolutions of the last residual block, and the head


def shapes(n):
    return {
        "image": jax.ShapeDtypeStruct((n, 32, 32, 3), jnp.float32),
        "label": jax.ShapeDtypeStruct((n,), jnp.int32),
    }


@functools.cache
def network():
    model = build_model("wrn_28_2", 10)
    image = jnp.zeros((1, 32, 32, 3), jnp.float32)
    variables = dict(jax.eval_shape(lambda key: model.init(key, image), jax.random.key(0)))
    params = variables.pop("params")
    return linen_forward(model), params, variables


def optimizer():
    return optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(RATE, momentum=0.9))


@functools.cache
def plain():
    """Mean cross-entropy, BatchNorm's statistics, the same optax chain: nothing else."""
    forward, params, model_state = network()
    tx = optimizer()

    def step(params, model_state, opt_state, key, batch):
        def loss(params):
            logits, new_state = forward(params, model_state, key, batch)
            return softmax_cross_entropy(logits, batch).mean(), new_state

        (value, new_state), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, new_opt_state = tx.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), new_state, new_opt_state, value

    opt_state = jax.eval_shape(tx.init, params)
    key = jax.eval_shape(jax.random.key, 0)
    compiled = jax.jit(step, donate_argnums=(0, 1, 2)).lower(
        params, model_state, opt_state, key, shapes(BATCH)
    )
    return measure(compiled.compile())


@functools.cache
def meta(estimator, meta_batch=BATCH, program=None):
    forward, params, model_state = network()
    batch, trusted = shapes(BATCH), shapes(meta_batch)
    step = train_step(
        famus_jax.problem(forward, famus_jax.mwnet()),
        optimizer(),
        estimator,
        step_size=RATE,
        metrics=lambda logits, batch: {"accuracy": (logits.argmax(-1) == batch["label"]).mean()},
    )
    state = jax.eval_shape(
        lambda params, model_state, batch, trusted: step.init(
            jax.random.key(0), params, model_state, batch, trusted
        ),
        params,
        model_state,
        batch,
        trusted,
    )
    return measure(step.lower(state, batch, trusted, program=program).compile())


def computation(text, name):
    """The body of a computation of a compiled program, by its name."""
    return re.search(rf"^{re.escape(name)} .*?^}}", text, re.MULTILINE | re.DOTALL)[0]


def measure(compiled):
    """(FLOPs, bytes of temporary memory) of a program without branches, and without loops but those
    of the random number generator, which hold integers only."""
    text = compiled.as_text()
    bodies = re.findall(r"\bwhile\(.*body=(%[\w.\-]+)", text)
    real = [name for name in bodies if re.search(r"\b(f32|bf16)\[", computation(text, name))]
    assert not real, f"no FLOP count of a program with loops: {real}"
    assert not re.search(r"\bconditional\(", text), "no FLOP count of a program with a branch"
    return compiled.cost_analysis()["flops"], compiled.memory_analysis().temp_size_in_bytes


def test_plain_step_is_honest():
    """The denominator, counted by hand from the architecture.

    Fails if the plain step did needless work (a gradient for the images, a second forward), which
    would flatter every ratio. XLA counts a multiply-add as 2 and leaves out taps on the padding;
    what isn't a convolution is estimated per activation, and is 2 % of the whole.
    """

    def convolution(c_in, c_out, size, kernel=3, stride=1):
        # Pairs of output position and tap inside the image, along one side.
        pairs = size if kernel == 1 else 3 * size - (2 if stride == 1 else 1)
        return 2 * BATCH * c_in * c_out * pairs**2

    stem = convolution(3, 16, 32)
    layers, activations = [], []
    c_in = 16
    for c_out, size in ((32, 32), (64, 16), (128, 8)):
        for block in range(4):
            stride = 2 if c_out > 32 and block == 0 else 1
            layers.append(convolution(c_in, c_out, size, stride=stride))
            layers.append(convolution(c_out, c_out, size))
            activations += [BATCH * c_in * (size * stride) ** 2, BATCH * c_out * size**2]
            if block == 0:
                layers.append(convolution(c_in, c_out, size, kernel=1))
            c_in = c_out
    activations.append(BATCH * 128 * 8**2)
    head = 2 * BATCH * 128 * 10
    products = 2 * stem + 3 * (sum(layers) + head)  # the images need no gradient
    # Every activation is normalized and rectified once: about 10 operations forward (two moments,
    # scale, shift, ReLU), 15 backward.
    by_hand = products + 25 * sum(activations)
    assert plain()[0] == pytest.approx(by_hand, rel=0.01)


FULL = [
    pytest.param(famus_jax.all_layers(), 3.40, None, marks=pytest.mark.slow),
    pytest.param(famus_jax.last_layers(1), 2.03, None, marks=pytest.mark.slow),
    pytest.param(famus_jax.last_layers(LAST_BLOCK), 2.15, 1.20, marks=pytest.mark.slow),
    pytest.param(
        famus_jax.last_layers(1, virtual_step="actual"), 1.36, None, marks=pytest.mark.slow
    ),
    pytest.param(
        famus_jax.last_layers(LAST_BLOCK, virtual_step="actual"), 1.48, 1.06, marks=pytest.mark.slow
    ),
    (famus_jax.last_layers(1, virtual_step="active"), 1.36, 1.06),
    pytest.param(
        famus_jax.last_layers(LAST_BLOCK, virtual_step="active"), 1.53, None, marks=pytest.mark.slow
    ),
]
SMALL = [
    (famus_jax.last_layers(1, virtual_step="active"), 1.11),
    pytest.param(
        famus_jax.last_layers(LAST_BLOCK, virtual_step="active"), 1.23, marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize(
    ("estimator", "flops", "memory"), FULL, ids=lambda x: getattr(x, "label", "")
)
def test_full_meta_batch(estimator, flops, memory):
    """Fails if a second forward is run (+0.33), if a mask multiplies instead of cutting (exact's
    price), or if the meta backward pass runs to the bottom (+0.67)."""
    measured, reference = meta(estimator), plain()
    assert measured[0] / reference[0] <= flops
    if memory is not None:
        assert measured[1] / reference[1] <= memory


@pytest.mark.parametrize(("estimator", "flops"), SMALL, ids=lambda x: getattr(x, "label", ""))
def test_small_meta_batch(estimator, flops):
    """A quarter meta batch: fails if anything but the meta forward grows with the training batch."""
    measured, reference = meta(estimator, 8), plain()
    assert measured[0] / reference[0] <= flops


@pytest.mark.slow
def test_skipped_step_costs_a_plain_one():
    """With weights, momentum, decay and statistics; one-pass every four steps on average ≤ 1.12.

    Fails if a step without a meta update still runs the meta batch, or keeps a tangent alive.
    """
    estimator = famus_jax.last_layers(1, virtual_step="actual", update_every=4)
    skipped = meta(estimator, program=Program(meta=False))[0] / plain()[0]
    update = meta(estimator, program=Program())[0] / plain()[0]
    assert skipped <= 1.01
    assert (update + 3 * skipped) / 4 <= 1.12


@pytest.mark.slow
def test_exact_on_a_part_of_the_batch():
    """An eighth of the batch and as small a meta batch: 1 + (1 + 2 + 2 + 3) / 8 / 3 = 1.33.

    Fails if a product of the meta gradient runs on the whole batch.
    """
    measured = meta(famus_jax.all_layers(examples=BATCH // 8), BATCH // 8)
    assert measured[0] / plain()[0] <= 1.36


@pytest.mark.slow
def test_samplers_and_matching_are_nearly_free():
    """Learned gates with only the head open, samplers and L_g included: the head's price.

    Fails if a variant computes what lies below its cut, or L_g takes a product of its own down there.
    """
    gates = famus_jax.learned_gates("paper", lag=2, virtual_step="active", max_programs=2)
    measured = meta(gates, 8, Program(index=1))
    assert measured[0] / plain()[0] <= 1.13


def test_last_block_is_three_groups():
    """Fails if the groups that the floors are stated for are others than they claim to be."""
    forward, params, model_state = network()
    key = jax.eval_shape(jax.random.key, 0)
    groups = famus_jax.find_layers(forward, params, model_state, key, shapes(BATCH))
    assert groups.names[-4:] == (
        "stage3_block2/conv2",
        "stage3_block3/conv1",
        "stage3_block3/conv2",
        "head",
    )
