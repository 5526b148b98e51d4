"""Labels and outputs that the default loss can't mean: named, in all three uses alike."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import famus_jax as famus
from famus_jax.losses import (
    class_weighted,
    deferred,
    focal,
    ignoring,
    ldam,
    softmax_cross_entropy,
)
from famus_jax.methods import meta_label_correction

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (24, 4))
LABEL = jnp.arange(16) % 3
META = {"x": X[16:], "label": jnp.arange(8) % 3}
PARAMS = {"w": jnp.zeros((4, 3))}


def forward_of(outputs=lambda logits: logits):
    return famus.stateless_forward(lambda p, x: outputs(x @ p["w"]), input="x")


def by_reweighter(problem, batch, meta_batch):
    weights_for = famus.reweighter(problem, step_size=0.1)
    state = weights_for.init(KEY, PARAMS, (), batch, meta_batch)
    return weights_for.update(state, PARAMS, (), batch, meta_batch)


def by_transformation(problem, batch, meta_batch):
    tx = optax.chain(famus.reweight(problem, step_size=0.1, key=KEY), optax.sgd(0.1))
    return tx.update(None, tx.init(PARAMS), PARAMS, batch=batch, meta_batch=meta_batch)


def by_step(problem, batch, meta_batch):
    train = famus.train_step(problem, optax.sgd(0.1), step_size=0.1)
    return train(train.init(KEY, PARAMS, (), batch, meta_batch), batch, meta_batch)


USES = pytest.mark.parametrize("use", [by_reweighter, by_transformation, by_step])
WRONG = {
    "one column": (lambda y: y[:, None], r"shape \(16, 1\): use label\[\.\.\., 0\]"),
    "one-hot": (lambda y: jax.nn.one_hot(y, 3), r"one-hot or soft.*argmax"),
    "float": (lambda y: y * 1.0, r"float32, not class numbers.*example_loss"),
    "too few": (lambda y: jnp.zeros(()), r"shape \(\).*one class number per row"),
}


@USES
@pytest.mark.parametrize("which", WRONG)
@pytest.mark.parametrize(
    "method",
    [famus.l2r(), famus.mwnet(hidden=3, start="random", monotone=False)],
    ids=lambda m: m.name,
)
def test_shape_and_type(use, which, method):
    change, message = WRONG[which]
    batch = {"x": X[:16], "label": change(LABEL)}
    with pytest.raises(ValueError, match=message):
        use(famus.problem(forward_of(), method), batch, META)


@pytest.mark.parametrize("value", [-1, -100, 3, 255])
@pytest.mark.parametrize("of_meta", [False, True])
@pytest.mark.parametrize("use", [by_reweighter, by_step])
def test_a_label_that_is_no_class(use, value, of_meta):
    """Fails if -1 trains as the last class, as indexing from the end would have it."""
    batch, meta_batch = {"x": X[:16], "label": LABEL}, META
    if of_meta:
        meta_batch = {**META, "label": META["label"].at[5].set(value)}
    else:
        batch = {**batch, "label": LABEL.at[5].set(value)}
    message = rf'batch\["label"\] is {value} at example 5, and there are 3 classes.*ignoring'
    with pytest.raises(ValueError, match=message):
        use(famus.problem(forward_of(), famus.l2r()), batch, meta_batch)


@pytest.mark.parametrize("loss", [softmax_cross_entropy, focal(2.0)])
@pytest.mark.parametrize("value", [-1, -100, 3])
def test_where_values_are_unknown_it_is_nan(loss, value):
    """In compiled code nothing can be refused; a NaN can't be overlooked."""
    losses = jax.jit(loss)(jnp.zeros((3, 3)), {"label": jnp.array([0, value, 2])})
    assert np.isnan(losses).tolist() == [False, True, False]


@USES
@pytest.mark.parametrize("method", [famus.l2r, famus.mwnet], ids=["l2r", "mwnet"])
def test_examples_without_a_label(use, method):
    """They move nothing: neither the network nor what other examples are worth to one another.

    The parameters' gradient is compared with that of a batch in which they have other inputs.
    """
    label = jnp.where(jnp.arange(16) < 6, -1, LABEL)
    results = []
    for x in (X[:16], X[:16].at[:6].multiply(-7.0)):
        problem = famus.problem(
            forward_of(), method(ignoring(softmax_cross_entropy)),
            meta_loss=famus.mean_of(softmax_cross_entropy),
        )  # fmt: skip
        result = use(problem, {"x": x, "label": label}, META)
        if use is by_reweighter:
            weights = np.asarray(result[0])[6:]
            results.append(weights / weights.sum())
        else:
            moved = result[0]["w"] if use is by_transformation else result[0].params["w"]
            results.append(np.asarray(moved))
    assert np.abs(results[0]).max() > 0
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Outputs:
    """As networks of other libraries return."""

    logits: jax.Array


@pytest.mark.parametrize(
    "outputs", [lambda f: {"logits": f, "features": -f}, Outputs], ids=["dict", "object"]
)
def test_outputs_that_hold_logits(outputs):
    """Weights as of the bare logits. Fails if another entry is taken, or the object is refused."""
    batch = {"x": X[:16], "label": LABEL}
    weights, expected = (
        by_reweighter(famus.problem(forward_of(how), famus.l2r()), batch, META)[0]
        for how in (outputs, lambda f: f)
    )
    assert float(weights.sum()) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@USES
@pytest.mark.parametrize(
    ("outputs", "held"),
    [(lambda f: (f, f), "example_loss"), (lambda f: {"scores": f}, r"a dict of \['scores'\]")],
)
def test_outputs_without_logits(use, outputs, held):
    with pytest.raises(ValueError, match=rf"reads the network's logits.*{held}"):
        use(famus.problem(forward_of(outputs), famus.l2r()), {"x": X[:16], "label": LABEL}, META)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (class_weighted(softmax_cross_entropy, (1.0, 2.0)), "2 class weights and 3 classes"),
        (
            deferred(softmax_cross_entropy, (1.0, 2.0, 3.0, 4.0), after=0),
            "4 class weights and 3 classes",
        ),
        (ldam((5, 5)), "counts of 2 classes, and there are 3"),
    ],
)
def test_as_many_weights_as_classes(loss, message):
    """Fails if a class beyond the weights takes the last one's."""
    with pytest.raises(ValueError, match=message):
        loss(jnp.zeros((2, 3)), {"label": jnp.array([0, 2]), "step": jnp.int32(1)})


def test_as_many_corrected_classes_as_logits():
    method = meta_label_correction(4, 2)
    theta = method.init(KEY, 3)
    outputs = {"logits": jnp.zeros((3, 5)), "features": jnp.ones((3, 2))}
    with pytest.raises(ValueError, match=r"5 logits, and meta_label_correction\(4\)"):
        method.loss(theta, outputs, {"label": jnp.array([0, 1, 2])})
    outputs["logits"] = jnp.zeros((3, 4))
    with pytest.raises(ValueError, match="is 9 at example 1"):
        method.loss(theta, outputs, {"label": jnp.array([0, 9, 2])})
