"""Memory per example: the right rows are read and written, and nothing else is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference as ref

import famus_jax as famus
from famus_jax import parallel
from famus_jax.losses import softmax_cross_entropy
from famus_jax.memory import Memory, rows_at, written
from famus_jax.methods import cross_entropy, elr, mentornet, sop

COUNT, N, RATE = 10, 4, 0.3
KEY = jax.random.key(0)
PARAMS = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)


def batch(seed, index, n=None):
    made = ref.classification_batch(seed, n or len(index), dtype=jnp.float32)
    return {**made, "index": jnp.asarray(index, jnp.int32)}


def remembering(init=None, update=None, name="remembering"):
    """Weights by how high an example's loss was when it was last seen; NaN-free, no θ."""

    def loss(theta, outputs, batch):
        losses = softmax_cross_entropy(outputs, batch)
        weights = jnp.exp(-batch["memory"]["loss"]) / losses.shape[0]
        return weights @ losses, weights

    def start(key):
        return {"loss": jnp.zeros(COUNT), "visits": jnp.zeros(COUNT, jnp.int32)}

    def newest(rows, outputs, batch):
        return {"loss": softmax_cross_entropy(outputs, batch), "visits": rows["visits"] + 1}

    return cross_entropy(name=name)._replace(
        loss=loss, memory=Memory(init or start, update or newest)
    )


def training(method, **options):
    axis = options.pop("axis", None)
    problem = famus.problem(ref.mlp, method, axis=axis, **options.pop("of", {}))
    return famus.train_step(problem, optax.sgd(RATE), step_size=RATE, **options)


def test_a_step_by_hand():
    """Two steps of a method that weights by the last loss, against the reference's gradients.

    Fails if the rows go to other examples, the loss is given them after the step instead of before it,
    or what is kept is of the network after its update.
    """
    step = training(remembering())
    first, second = batch(1, [7, 2, 0, 5]), batch(2, [5, 9, 7, 1])
    state = step.init(KEY, PARAMS, (), first)
    kept, visits, params = np.zeros(COUNT), np.zeros(COUNT), PARAMS
    for one in (first, second):
        weights = jnp.exp(-jnp.asarray(kept[np.asarray(one["index"])], jnp.float32)) / N

        def loss(params, one=one, weights=weights):
            return weights @ ref.cross_entropy(ref.mlp(params, (), None, one)[0], one)

        kept[np.asarray(one["index"])] = ref.cross_entropy(ref.mlp(params, (), None, one)[0], one)
        visits[np.asarray(one["index"])] += 1
        params = jax.tree.map(lambda w, g: w - RATE * g, params, jax.grad(loss)(params))
        state, info = step(state, one)
        np.testing.assert_allclose(info.weights, weights, rtol=1e-5)
    ref.assert_close(state.params, params, rtol=1e-5)
    np.testing.assert_allclose(state.meta.memory["loss"], kept, rtol=1e-5)
    np.testing.assert_array_equal(state.meta.memory["visits"], visits)


def test_the_three_uses_keep_the_same():
    """Fails if one of them forgets, or an optimizer chain gets another gradient than the step."""
    method, batches = remembering(), [batch(1, [7, 2, 0, 5]), batch(2, [5, 2, 7, 1])]
    problem = famus.problem(ref.mlp, method)
    step = training(method)
    reweighter = famus.reweighter(problem, step_size=RATE)
    chain = optax.chain(famus.reweight(problem, step_size=RATE, key=KEY), optax.sgd(RATE))
    state = step.init(KEY, PARAMS, (), batches[0])
    meta, params, chained = (
        reweighter.init(KEY, PARAMS, (), batches[0], batches[0]),
        PARAMS,
        chain.init(PARAMS),
    )
    for one in batches:
        weights, meta = reweighter.update(meta, params, (), one, one)
        state, info = step(state, one)
        np.testing.assert_allclose(weights, info.weights, rtol=1e-6)
        updates, chained = chain.update(None, chained, params, batch=one, meta_batch=one)
        params = optax.apply_updates(params, updates)
    for other in (meta.memory, optax.tree.get(chained, "memory")):
        ref.assert_close(other, state.meta.memory, rtol=1e-6)
    ref.assert_close(params, state.params, rtol=1e-6)


def test_padding_writes_nowhere_and_a_mistake_is_seen():
    """Index −1 reads zeros and leaves the last row alone; one of N reads NaN, and the step is skipped.

    Fails if −1 wraps to the last example, or if an example that is not there is quietly dropped.
    """
    step = training(remembering())
    state = step.init(KEY, PARAMS, (), batch(1, range(N)))
    state, _ = step(state, batch(1, [COUNT - 1, 1, 2, 3]))
    before = np.array(state.meta.memory["loss"])
    state, info = step(state, batch(5, [-1, 4, -1, 5]))
    np.testing.assert_allclose(info.weights[jnp.asarray([0, 2])], 1 / N)
    after = np.array(state.meta.memory["loss"])
    assert sorted(np.flatnonzero(before != after)) == [4, 5]
    state, info = step(state, batch(6, [0, COUNT, 6, 7]))
    assert not np.isfinite(float(info.loss))
    assert int(state.meta.skipped) == 1
    np.testing.assert_array_equal(state.meta.memory["loss"], after)
    with pytest.raises(ValueError, match=rf"holds {COUNT}, but remembering was made for {COUNT}"):
        step.init(KEY, PARAMS, (), batch(1, [0, COUNT, 1, 2]))


def test_two_rows_of_one_example():
    """Both read the old row, and the last in the batch's order is kept, wherever it stands.

    Fails if the first wins, if they are added up, or if one view sees what another has written.
    """
    step = training(remembering())
    one = batch(1, [3, 6, 3, 3])
    state, info = step(step.init(KEY, PARAMS, (), one), one)
    losses = ref.cross_entropy(ref.mlp(PARAMS, (), None, one)[0], one)
    expected = np.zeros(COUNT)
    expected[[6, 3]] = losses[1], losses[3]
    np.testing.assert_allclose(state.meta.memory["loss"], expected, rtol=1e-6)
    assert state.meta.memory["visits"].tolist() == [0, 0, 0, 1, 0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(info.weights, 1 / N)
    same = written(jnp.zeros(4), jnp.full(5, 2), jnp.arange(5.0), True)
    assert same.tolist() == [0, 0, 4, 0]


@pytest.mark.parametrize(
    "method", [remembering(), elr(COUNT, 3), mentornet()], ids=["tree", "array", "of the run"]
)
@pytest.mark.parametrize("skip", [False, True])
def test_a_bad_batch_is_not_remembered(skip, method):
    """Fails if NaN stays in a row, or if the guard of a skipped step forgets the memory."""
    step = training(method, skip_nonfinite=skip)
    good, bad = batch(1, [0, 1, 2, 3]), batch(2, [2, 3, 4, 5])
    state, _ = step(step.init(KEY, PARAMS, (), good), good)
    before = jax.tree.map(np.array, state.meta.memory)
    state, _ = step(state, {**bad, "x": bad["x"].at[0, 0].set(jnp.nan)})
    jax.tree.map(np.testing.assert_array_equal, state.meta.memory, before)
    assert int(state.meta.skipped) == 1


def test_a_step_that_only_the_optimizer_spoils_is_not_remembered():
    """Fails if a step that `skip_nonfinite` leaves out is still in the memory."""
    spoils = optax.chain(optax.sgd(RATE), optax.scale(jnp.inf))
    problem = famus.problem(ref.mlp, remembering())
    step = famus.train_step(problem, spoils, step_size=RATE, skip_nonfinite=True)
    one = batch(1, [0, 1, 2, 3])
    state, info = step(step.init(KEY, PARAMS, (), one), one)
    assert np.isfinite(float(info.loss))
    assert float(state.meta.memory["loss"].max()) == 0
    assert int(state.meta.skipped) == 1


@pytest.mark.parametrize(
    "estimator",
    [
        famus.all_layers(examples=2),
        pytest.param(famus.all_layers(update_every=2), marks=pytest.mark.slow),
    ],
    ids=lambda estimator: estimator.label,
)
def test_with_a_meta_model(estimator):
    """MW-Net whose training loss looks at the memory too.

    Fails if the whole batch's rows go to the part that is heard (their shapes would not fit), or the
    memory does not come through the branches of a step that may have no meta update.
    """
    base = famus.mwnet(hidden=5, start="random", monotone=False, meta_optimizer=optax.sgd(0.5))

    def loss(theta, outputs, batch):
        value, weights = base.loss(theta, outputs, batch)
        assert batch["memory"].shape == batch["label"].shape
        return value + 0.1 * batch["memory"].mean(), weights

    memory = Memory(lambda key: jnp.arange(10.0), lambda rows, outputs, batch: rows)
    method = base._replace(loss=loss, memory=memory)
    one, meta = batch(1, [9, 8, 7, 6]), ref.classification_batch(2, N, dtype=jnp.float32)
    found = []
    for each in (method, base):
        tx = famus.reweight(famus.problem(ref.mlp, each), estimator, step_size=RATE, key=KEY)
        theta = base.init(jax.random.key(4), N)
        state = tx.init(PARAMS)
        state = state._replace(meta=state.meta._replace(theta=theta))
        gradient, after = jax.jit(
            lambda s, tx=tx: tx.update(None, s, PARAMS, batch=one, meta_batch=meta)
        )(state)
        found.append((gradient, after.meta.theta, after.info.loss))
    with_it, without = found
    ref.assert_close(with_it[:2], without[:2], rtol=1e-5, floor=1e-7)  # it adds a constant
    assert float(with_it[2] - without[2]) == pytest.approx(0.1 * 7.5, rel=1e-4)


@pytest.mark.parametrize(
    ("method", "way"), [("elr", "shard_map"), ("sop", "jit"), ("mentornet", "shard_map")]
)
def test_many_devices(method, way):
    """Four devices with micro-batches against one without, also an example that is on two of them.

    Fails if each device writes what its own examples are, or a device's rows are read for another's.
    """
    made = {"elr": elr(40, 3), "sop": sop(40, 3, deviation=0.1), "mentornet": mentornet()}[method]
    order = [np.random.default_rng(i).choice(40, 16, replace=False) for i in range(3)]
    for index in order:
        index[9] = index[2]
    batches = [batch(20 + i, index) for i, index in enumerate(order)]
    one = training(made)
    state = one.init(KEY, PARAMS, (), batches[0])
    for each in batches:
        state, _ = one(state, each)
    mesh = parallel.data_mesh(jax.devices()[:4])
    compiled = {"jit": parallel.global_view(mesh), "shard_map": parallel.shard_mapped(mesh)}[way]
    many = training(
        made,
        axis=None if way == "jit" else parallel.AXIS,
        of={"micro_batches": 2},
        compile_with=compiled,
    )
    spread = many.init(KEY, PARAMS, (), batches[0])
    how = parallel.sharded(spread, mesh, min_size=4) if way == "jit" else None
    spread = parallel.place(spread, how or parallel.replicated(spread, mesh))
    for each in batches:
        spread, _ = many(spread, parallel.shard_batch(each, mesh))
    ref.assert_close(spread.meta.memory, state.meta.memory, rtol=2e-5)
    ref.assert_close(spread.params, state.params, rtol=2e-5)
    assert float(jnp.abs(jax.tree.leaves(state.meta.memory)[0]).max()) > 0


def test_it_stays_in_its_dtype():
    """bfloat16 is kept as such and computed with in float32; 1e-8 is no 0 in it."""
    method = sop(COUNT, 3, dtype="bfloat16")
    memory = method.memory.init(KEY)
    assert {x.dtype for x in jax.tree.leaves(memory)} == {jnp.dtype("bfloat16")}
    assert float(jnp.abs(memory["u"]).min()) > 0
    assert rows_at(memory["v"], jnp.asarray([0])).dtype == jnp.float32
    step = training(method)
    one = batch(1, [0, 1, 2, 3])
    state = step.init(KEY, PARAMS, (), one)
    types = jax.eval_shape(lambda: state)
    state, _ = step(state, one)
    assert jax.eval_shape(lambda: state) == types


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"index": None}, r'by batch\["index"\], int \[n\].*holds \[.*label'),
        ({"index": jnp.zeros((4, 1), int)}, r"int \[n\]; got int32\[4, 1\]"),
        ({"index": jnp.zeros(4)}, r"int \[n\]; got float32\[4\]"),
        ({"memory": jnp.zeros(4)}, r'batch\["memory"\] is where remembering'),
    ],
)
def test_batches_that_are_refused(change, words):
    one = {**batch(1, range(N)), **change}
    one = {name: x for name, x in one.items() if x is not None}
    step = training(remembering())
    state = step.init(KEY, PARAMS, (), batch(1, range(N)))
    for call in (lambda: step.init(KEY, PARAMS, (), one), lambda: step(state, one)):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize(
    ("init", "words"),
    [
        (lambda key: jnp.zeros((COUNT,), jnp.float16), "float16.*6e-8.*bfloat16"),
        (lambda key: jnp.zeros((2**16, 2**13)), r"2048 MiB.*most 1024 MiB.*most_bytes=2147483648"),
        (lambda key: (jnp.zeros(3), jnp.zeros(4)), r"all lead with N.*\[\(3,\), \(4,\)\]"),
        (lambda key: (), "all lead with N"),
    ],
)
def test_memories_that_are_refused(init, words):
    """Before anything of that size is made."""
    step = training(remembering(init))
    with pytest.raises(ValueError, match=words):
        step.init(KEY, PARAMS, (), batch(1, range(N)))


def test_an_update_of_another_shape_is_refused():
    step = training(remembering(update=lambda rows, outputs, batch: {**rows, "loss": outputs}))
    state = step.init(KEY, PARAMS, (), batch(1, range(N)))
    with pytest.raises(ValueError, match=r"must return what it was given"):
        step(state, batch(1, range(N)))


def test_a_method_without_memory_knows_nothing_of_it():
    """No leaf in its state, no look at `batch["index"]`. Fails if the others pay for it."""
    step = training(cross_entropy())
    one = ref.classification_batch(1, N, dtype=jnp.float32)
    state = step.init(KEY, PARAMS, (), one)
    assert state.meta.memory == ()
    state, _ = step(state, one)
    assert state.meta.memory == ()
