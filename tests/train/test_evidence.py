"""Evidence recorded in the training step: the right numbers, for next to nothing, and no trace in what
is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

from famus_jax import (
    last_layers,
    linen_forward,
    parallel,
    problem,
    stateless_forward,
    train_step,
)
from famus_jax.evidence import sums
from famus_jax.methods import cross_entropy, mwnet
from famus_jax.models import build_model
from famus_jax.train import evidence
from famus_jax.train.evaluation import Evaluator
from famus_jax.train.evidence import arrays_of, recorder, tells_of_labels, too_large
from famus_jax.train.methods import METHODS

COUNT, CLASSES, N = 24, 3, 8
PARAMS, MODEL_STATE = ref.bn_params(jax.random.key(1), dtype=jnp.float32)
META = ref.classification_batch(3, 8, dtype=jnp.float32)


def batch(i, n=N):
    made = ref.classification_batch(100 + i, n, dtype=jnp.float32)
    return {**made, "index": jax.random.permutation(jax.random.key(i), COUNT)[:n]}


def make(record, method=None, estimator=None, axis=None, **options):
    what = problem(ref.bn_mlp, method or cross_entropy(), axis=axis)
    return train_step(
        what, optax.sgd(0.2, momentum=0.9), estimator, step_size=0.2, record=record, **options
    )


def run(step, steps=3, meta=None):
    state = step.init(jax.random.key(0), PARAMS, MODEL_STATE, batch(0), meta)
    for i in range(steps):
        state, _ = step(state, batch(i), meta)
    return state


def bits(state):
    return [
        np.asarray(x).tobytes()
        for x in jax.tree.leaves((state.params, state.opt_state, state.meta.theta))
    ]


@pytest.mark.parametrize(
    ("method", "estimator", "meta"),
    [
        (cross_entropy(), None, None),
        (
            mwnet(hidden=7, start="random", monotone=False),
            last_layers(1, virtual_step="active"),
            META,
        ),
    ],
    ids=["ce", "mwnet"],
)
def test_nothing_trained_depends_on_it(as_shipped, method, estimator, meta):
    """To the bit. Fails if the record changes what XLA makes of the step, or takes a random key."""
    with_record = run(make(recorder(COUNT, CLASSES), method, estimator), meta=meta)
    without = run(make(None, method, estimator), meta=meta)
    assert bits(with_record) == bits(without)
    assert without.recorded == ()
    assert int(with_record.recorded.visits.sum()) == 3 * N


def test_the_numbers_are_those_of_the_step_before_it_moves():
    """By hand, with the parameters from before each step, in float64. Fails if the logits are those
    after it, or sums go to other examples."""
    step = make(recorder(COUNT, CLASSES))
    state = step.init(jax.random.key(0), PARAMS, MODEL_STATE, batch(0))
    visits, aum, classes = np.zeros(COUNT), np.zeros(COUNT), np.zeros((COUNT, CLASSES))
    for i in range(4):
        one = batch(i)
        z = np.asarray(ref.bn_mlp(state.params, state.model_state, None, one)[0], np.float64)
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        for row, (at, y) in enumerate(
            zip(one["index"].tolist(), one["label"].tolist(), strict=True)
        ):
            visits[at] += 1
            aum[at] += z[row, y] - np.delete(z[row], y).max()
            classes[at] += p[row]
        state, _ = step(state, one)
    found = arrays_of([state.recorded])
    seen = visits > 0
    expected = aum[seen] / visits[seen]
    np.testing.assert_allclose(found["aum"][seen], expected, rtol=1e-4, atol=1e-5)
    expected = classes[seen] / visits[seen, None]
    np.testing.assert_allclose(found["probabilities"][seen], expected, rtol=1e-4, atol=1e-5)
    assert np.isnan(found["aum"][~seen]).all()
    assert (~seen).any()


@pytest.mark.parametrize("way", ["global view", "shard_map", "micro-batches"])
def test_devices_and_micro_batches_give_the_same(way):
    """Fails if each device keeps its own share only, or examples are counted twice."""
    mesh = parallel.data_mesh(jax.devices()[:4])
    network = {"w": jax.random.normal(jax.random.key(5), (6, CLASSES))}

    def stepped(axis=None, micro_batches=1, **options):
        forward = stateless_forward(lambda p, x: x @ p["w"], input="x")
        what = problem(forward, cross_entropy(), axis=axis, micro_batches=micro_batches)
        return train_step(
            what, optax.sgd(0.1), step_size=0.1, record=recorder(COUNT, CLASSES), **options
        )

    def one(i):
        key = jax.random.key(50 + i)
        return {
            "x": jax.random.normal(key, (N, 6)),
            "label": jax.random.randint(key, (N,), 0, CLASSES),
            "index": jax.random.permutation(key, COUNT)[:N],
        }

    def go(step, spread=lambda x: x, place=lambda x: x):
        state = place(step.init(jax.random.key(0), network, (), one(0)))
        for i in range(4):
            state, _ = step(state, spread(one(i)))
        return jax.device_get(state.recorded)

    spread = {
        "spread": lambda x: parallel.shard_batch(x, mesh),
        "place": lambda x: parallel.place(x, parallel.replicated(x, mesh)),
    }
    found = {
        "global view": lambda: go(stepped(compile_with=parallel.global_view(mesh)), **spread),
        "shard_map": lambda: go(
            stepped(parallel.AXIS, compile_with=parallel.shard_mapped(mesh)), **spread
        ),
        "micro-batches": lambda: go(stepped(micro_batches=4)),
    }[way]()
    for a, b in zip(go(stepped()), found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_it_costs():
    """FLOPs and temporary memory of a plain step of the small CNN, as XLA counts them."""
    model = build_model("cnn", 10)
    image = jnp.zeros((1, 16, 16, 3), jnp.float32)
    model_state = dict(model.init(jax.random.key(0), image))
    params = model_state.pop("params")
    shapes = {
        "image": jax.ShapeDtypeStruct((32, 16, 16, 3), jnp.float32),
        "label": jax.ShapeDtypeStruct((32,), jnp.int32),
        "index": jax.ShapeDtypeStruct((32,), jnp.int32),
    }
    spent = {}
    for record in (None, recorder(1500, 10)):
        what = problem(linen_forward(model), cross_entropy())
        step = train_step(what, optax.sgd(0.1, momentum=0.9), step_size=0.1, record=record)
        state = step.init(jax.random.key(0), params, model_state, shapes)
        compiled = step.lower(state, shapes).compile()
        memory = compiled.memory_analysis().temp_size_in_bytes
        spent[record is not None] = compiled.cost_analysis()["flops"], memory
    for mine, plain in zip(spent[True], spent[False], strict=True):
        assert mine <= 1.05 * plain


def test_rows_that_fill_up_a_batch_are_no_examples():
    """The pass of a split records what it has evaluated anyway."""
    evaluator = Evaluator(lambda params, state, rng, batch: (batch["image"] @ params, state))
    batches = [
        {
            "image": jnp.eye(3),
            "label": jnp.array([0, 1, 2]),
            "index": jnp.array([2, 0, 2]),
            "mask": jnp.array([1.0, 1.0, 0.0]),
        }
    ]
    record = recorder(3, 3)
    assert record is not None
    member = (2 * jnp.eye(3), ())
    (values, index), after = evaluator.recorded_losses(member, batches, record, record.init())
    expected = evaluator.losses(member, batches)
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(index, expected[1])
    assert after.visits.tolist() == [1, 0, 1]
    assert after.aum.tolist() == [2, 0, 2]


def test_two_networks_are_averaged():
    one, other = (sums.init(2, 2) for _ in range(2))
    logits = jnp.array([[3.0, 1.0]])
    one = sums.update(one, jnp.array([0]), logits, jnp.array([0]))
    other = sums.update(other, jnp.array([0]), -logits, jnp.array([0]))
    found = arrays_of([one, other])
    assert found["aum"][0] == 0
    assert np.isnan(found["aum"][1])
    assert arrays_of([(), ()]) == {}


def test_too_many_examples_and_classes():
    """ImageNet: 1.28 million examples of 1,000 classes are 4.8 GiB. Fails if it is taken nevertheless,
    or nothing is said."""
    assert recorder(1_281_167, 1000) is None
    assert "no label issues are listed" in too_large(1_281_167, 1000)
    assert too_large(1_000_000, 14) == ""  # Clothing1M
    assert evidence.MOST_BYTES == 256 * 2**20


def test_methods_that_never_see_a_given_label_are_no_witnesses():
    silent = {name for name, method in METHODS.items() if not tells_of_labels(method)}
    assert silent == {
        "clean",
        "trusted_only",
        "finetune",
        "mended",
        "mixup",
        "mentormix",
        "elr_plus",
    }
