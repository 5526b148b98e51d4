"""Part of the parameters: against the definition on the trained ones in float64, and who says which.

The definition is differentiated twice in reverse mode, with the frozen parameters as constants that are
put in by hand.
"""

import jax
import jax.numpy as jnp
import optax
import pytest
import reference as ref
from flax import nnx

import famus_jax
from famus_jax import all_layers, last_layers, learned_gates, second_order
from famus_jax.core.frozen import trained
from famus_jax.core.state import init_state
from famus_jax.core.trainable import split_of
from famus_jax.core.update import meta_update

N, M, ALPHA = 8, 6, 0.3
META_OPTIMIZER = optax.sgd(1.0)
METHOD = famus_jax.mwnet(hidden=20, start="random", monotone=False, meta_optimizer=META_OPTIMIZER)
OPTIMIZER = optax.adamw(0.05, weight_decay=0.1)
# Not Adam, whose first step hardly depends on the gradient's size: nothing would come back through it.
COUPLED = optax.chain(
    optax.clip_by_global_norm(0.1), optax.add_decayed_weights(0.1), optax.sgd(0.3, momentum=0.9)
)


@pytest.fixture(scope="module", autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def is_trained(path):
    """The first layer is frozen; of the second its offset and bias too."""
    return path.startswith("layer2") or path in ("layer1/w", "layer1/scale")


def cut(params):
    """(trained, frozen), written out."""
    second = params["layer1"]
    some = {"layer1": {k: second[k] for k in ("w", "scale")}, "layer2": params["layer2"]}
    return some, {"layer0": params["layer0"], "b": second["b"], "offset": second["offset"]}


def joined(some, frozen):
    rest = {"b": frozen["b"], "offset": frozen["offset"]}
    return {
        "layer0": frozen["layer0"],
        "layer1": {**some["layer1"], **rest},
        "layer2": some["layer2"],
    }


def setting(layers=None, **how):
    params, model_state = ref.bn_params(jax.random.key(1))
    batches = ref.classification_batch(0, N), ref.classification_batch(1, M)
    problem = famus_jax.problem(ref.bn_mlp, METHOD, trainable=is_trained, layers=layers, **how)
    return problem, params, model_state, *batches


def look_ahead(some, gradient, kind, opt_state, only):
    """ŵ of the trained parameters; `only`: what lies outside this layer gets no gradient of θ."""
    if only:
        closed = jax.tree.map(jax.lax.stop_gradient, gradient)
        gradient = {k: gradient[k] if k == only else closed[k] for k in gradient}
    if kind == "optimizer":
        return optax.apply_updates(some, COUPLED.update(gradient, opt_state, some)[0])
    return jax.tree.map(lambda w, g: w - ALPHA * g, some, gradient)


def definition(theta, params, model_state, batch, meta_batch, kind="sgd", only=None):
    """∇_θ L_val(u − α ∇_u T), or through the optimizer; "carried": ∇_θ ⟨∇_u L_val(u), −α ∇_u T⟩."""
    some, frozen = cut(params)
    opt_state = COUPLED.init(some)

    def outputs(some, batch):
        return ref.bn_mlp(joined(some, frozen), model_state, None, batch)[0]

    def meta_loss(some):
        return ref.mean_loss(ref.cross_entropy)(outputs(some, meta_batch), meta_batch)

    def l_val(theta):
        g = jax.grad(lambda some: METHOD.loss(theta, outputs(some, batch), batch)[0])(some)
        if kind == "carried":
            v = jax.grad(meta_loss)(some)
            return sum(jnp.vdot(a, -ALPHA * b) for a, b in zip(*map(jax.tree.leaves, (v, g))))
        return meta_loss(look_ahead(some, g, kind, opt_state, only))

    return jax.grad(l_val)(theta)


ESTIMATORS = {
    "all layers": (all_layers(), {}),
    "one by one": (all_layers(route="vjp"), {}),
    "second order": (second_order(), {}),
    "last layer": (last_layers(1), {"only": "layer2"}),
    "carried": (all_layers(virtual_step="carried"), {"kind": "carried"}),
    "optimizer": (all_layers(through_optimizer=True), {"kind": "optimizer"}),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_against_second_order(name):
    """Fails if a frozen parameter is looked ahead, if one is heard, or is lost for the forward pass."""
    estimator, how = ESTIMATORS[name]
    problem, params, model_state, *batches = setting()
    problem = problem.on(params, model_state, None, batches[0])
    state = init_state(problem, estimator, jax.random.key(2), params, N, M)
    theta = jax.tree.map(lambda x: x.astype(jnp.float64), state.theta)
    state = state._replace(theta=theta, opt_state=METHOD.meta_optimizer.init(theta))
    update = None
    if estimator.through_optimizer:
        optimizer = optax.masked(COUPLED, problem.mask)
        opt_state = optimizer.init(params)

        def update(g):
            return optimizer.update(g, opt_state, params)[0]

    @jax.jit
    def step(state):
        inputs = famus_jax.Inputs(params, model_state, None, *batches, ALPHA, update)
        return meta_update(problem, estimator, state, inputs)

    new = step(state)
    moved = jax.tree.map(jnp.subtract, state.theta, new.state.theta)
    expected = jax.jit(lambda theta: definition(theta, params, model_state, *batches, **how))
    expected = expected(theta)
    assert optax.tree.norm(expected) > 1e-6
    ref.assert_close(moved, expected, rtol=1e-8)


def test_layers_are_those_of_the_trained():
    """Found by tracing, or given for all parameters: the frozen layer's share joins the one above."""
    problem, params, model_state, batch, _ = setting()
    found = problem.on(params, model_state, None, batch).layers
    given = famus_jax.layers_by(params, lambda path: int(path[5]), costs=(0.5, 0.3, 0.2))
    restricted = trained(problem._replace(layers=given), params)[0].layers
    assert found.names == restricted.names == ("layer1", "layer2")
    assert found.treedef == restricted.treedef
    assert restricted.costs == (0.8, 0.2)
    shapes = jax.eval_shape(lambda: (params, model_state))
    assert problem.on(*shapes, None, batch).layers == found


def test_gates_as_on_a_network_of_the_trained_alone():
    """Learned gates sample, pool and learn as where the user closes over the frozen parameters."""
    problem, params, model_state, *batches = setting()
    some, frozen = cut(params)
    by_hand = famus_jax.problem(lambda some, *args: ref.bn_mlp(joined(some, frozen), *args), METHOD)
    results = []
    for chosen, w in ((problem, params), (by_hand, some)):
        train = famus_jax.train_step(
            chosen, OPTIMIZER, learned_gates("paper", lag=1, target=1), step_size=ALPHA
        )
        state = train.init(jax.random.key(4), w, model_state, *batches)
        for _ in range(2):
            state, _ = train(state, *batches)
        results.append(state)
    (ours, theirs) = results
    ref.assert_close(cut(ours.params), (theirs.params, frozen), rtol=1e-9)
    meta = [jax.tree.leaves((s.meta.theta, s.meta.active)) for s in results]
    ref.assert_close(*meta, rtol=1e-6)


def test_the_three_uses_agree():
    """Weights for one's own loss, the transformation before a masked optimizer, the whole step: one
    training. Fails if weight decay moves a frozen parameter, or one has moments."""
    problem, params, model_state, *batches = setting()
    estimator, key = all_layers(), jax.random.key(5)
    train = famus_jax.train_step(problem, OPTIMIZER, estimator, step_size=ALPHA, ema=0.5)
    state = train.init(key, params, model_state, *batches)
    after, info = train(state, *batches)
    assert len(jax.tree.leaves(after.opt_state)) == 1 + 2 * 4  # a count, two moments of four arrays
    ref.assert_close(train.averaged(after), (after.params, after.model_state))
    assert jax.tree.leaves(after.average[0]["layer0"]) == []

    chain = optax.chain(
        famus_jax.reweight(problem, estimator, step_size=ALPHA, key=key, model_state=model_state),
        optax.masked(OPTIMIZER, problem.mask),
    )
    opt_state = chain.init(params)
    meta = opt_state[0]._replace(meta=train.init(key, params, model_state, *batches).meta)
    updates, _ = jax.jit(chain.update)(
        None, (meta, *opt_state[1:]), params, batch=batches[0], meta_batch=batches[1]
    )
    ref.assert_close(optax.apply_updates(params, updates), after.params)
    ref.assert_close(cut(after.params)[1], cut(params)[1], rtol=0, floor=0)

    weights_for = famus_jax.reweighter(problem, estimator, step_size=ALPHA)
    weights, _ = jax.jit(weights_for.update)(meta.meta, params, model_state, *batches)
    ref.assert_close(weights, info.weights)


class Adapted(nnx.Module):
    """A layer with a low-rank update beside it, normalized by running statistics."""

    def __init__(self, rngs):
        self.body, self.lora = nnx.Linear(4, 3, rngs=rngs), nnx.LoRA(4, 2, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.body(x) + self.lora(x))


def test_filters_of_nnx():
    """A class of variables, a combination of filters, a path and a mask choose the same."""
    _, params, _ = famus_jax.nnx_forward(Adapted(nnx.Rngs(0)))
    forward = famus_jax.stateless_forward(lambda *args: args)

    def flags(trainable):
        problem = famus_jax.problem(forward, METHOD, trainable=trainable)
        hash(problem)
        return split_of(problem.trainable, params).flags

    chosen = flags(nnx.LoRAParam)
    assert chosen == (False, False, True, True, False, False)
    assert flags(nnx.PathContains("lora")) == chosen
    assert flags(lambda path: path.startswith("lora/")) == chosen
    mask = famus_jax.problem(forward, METHOD, trainable=nnx.LoRAParam).mask(params)
    assert flags(mask) == chosen
    assert flags(nnx.Not(nnx.LoRAParam)) == tuple(not on for on in chosen)


@pytest.mark.parametrize(
    ("trainable", "says"),
    [
        (lambda path: False, "none of the parameters.*'layer0/b'"),
        (lambda path: True, "all of the parameters.*leave it out"),
        (lambda path: path.find("w"), "True or False.*'layer0/b' it said -1"),
        ({"layer0": True, "layer1": False}, "mask of another structure"),
        (nnx.LoRAParam, "none of the parameters"),
        ("lora", "must be a function of a parameter's path"),
    ],
    ids=["none", "all", "no bool", "structure", "class", "name"],
)
def test_wrong_filters(trainable, says):
    _, params, model_state, *batches = setting()

    def start():
        problem = famus_jax.problem(ref.bn_mlp, METHOD, trainable=trainable)
        train = famus_jax.train_step(problem, OPTIMIZER, step_size=0.1)
        train.init(jax.random.key(0), params, model_state, *batches)

    with pytest.raises(ValueError, match=says):
        start()
