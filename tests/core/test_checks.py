"""Bad input: each error names the value that is wrong and the way out."""

import jax
import jax.numpy as jnp
import pytest
import reference as ref

from famus_jax import (
    Inputs,
    all_layers,
    fused_meta_gradient,
    l2r,
    last_layers,
    layers_by,
    layerwise_meta_gradient,
    learned_gates,
    mean_of,
    mwnet,
    named_layers,
    problem,
    reweighter,
    second_order,
)
from famus_jax.losses import softmax_cross_entropy

PARAMS = ref.mlp_params(jax.random.key(1), dtype=jnp.float32)
BATCH = ref.classification_batch(2, 6, dtype=jnp.float32)
META = ref.classification_batch(3, 4, dtype=jnp.float32)
LAYERS = layers_by(PARAMS, lambda path: int(path[5]))
META_LOSS = mean_of(softmax_cross_entropy)


def init(estimator=None, method=None, params=PARAMS, batch=BATCH, meta_batch=META, layers=LAYERS):
    what = problem(ref.mlp, method or mwnet(), layers=layers)
    weigh = reweighter(what, estimator or all_layers(), step_size=0.1)
    return weigh.init(jax.random.key(0), params, {}, batch, meta_batch)


def call(estimator, **changes):
    """Traces one update; what is wrong must show before anything runs."""
    weigh = reweighter(problem(ref.mlp, mwnet(), layers=LAYERS), estimator, step_size=0.1)
    state = weigh.init(jax.random.key(0), PARAMS, {}, BATCH, META)
    given = {"params": PARAMS, "batch": BATCH, "meta_batch": META, **changes}
    return jax.eval_shape(
        lambda s: weigh.update(s, given["params"], {}, given["batch"], given["meta_batch"]), state
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: last_layers(1, virtual_step="both"), r"virtual_step.*'both'|'both'.*virtual_step"),
        (lambda: last_layers(1, route="vpj"), r"route.*'vpj'|'vpj'.*route"),
        (lambda: learned_gates("papr"), r"'papr'.*\['budget', 'paper', 'released'\]"),
        (
            lambda: learned_gates("paper", virtual_step="active"),
            r"learned_gates\(\.\.\., lag=2\)",
        ),
        (
            lambda: init(last_layers(4)),
            r"last_layers\(4\) needs k between 1 and 3.*\['layer0', 'layer1', 'layer2'\]",
        ),
        (lambda: init(last_layers(0)), r"last_layers\(0\) needs k between 1 and 3"),
        (
            lambda: init(named_layers("layer7")),
            r"no layer is named 'layer7'.*the layers are \['layer0'",
        ),
        (lambda: init(named_layers()), r"names none; choose from \['layer0'"),
        (
            lambda: init(last_layers(1, virtual_step="actual"), l2r()),
            r'l2r.*use virtual_step="all"',
        ),
        (
            lambda: init(learned_gates("paper", target=2), l2r()),
            r"l2r takes no virtual step.*lag=1",
        ),
        (
            lambda: init(learned_gates("budget", target=9.0)),
            r"a budget of 9.0 plain steps can't be met.*costs between \d.\d\d and \d.\d\d",
        ),
    ],
)
def test_estimators(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def with_leaf(leaf):
    return {**PARAMS, "extra": leaf}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            with_leaf(jnp.zeros(3, jnp.int32)),
            r"'extra' has dtype int32.*keep counters and PRNG keys in model_state",
        ),
        (with_leaf(jnp.zeros(3, bool)), r"'extra' has dtype bool"),
        (with_leaf(jax.random.key(0)), r"'extra' has dtype key<fry>.*model_state"),
    ],
    ids=["integers", "booleans", "PRNG key"],
)
def test_parameters(params, message):
    layers = layers_by(params, jax.tree.map(lambda _: 0, params))
    with pytest.raises(ValueError, match=message):
        init(params=params, layers=layers)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (
            {"batch": {**BATCH, "label": BATCH["label"][:5]}},
            r"training batch must share.*'label': 5, 'x': 6",
        ),
        (
            {"meta_batch": {**META, "x": META["x"][:2]}},
            r"meta batch must share.*'label': 4, 'x': 2",
        ),
        (
            {"meta_batch": jax.tree.map(lambda x: x[:0], META)},
            r"meta batch is empty.*at least one example",
        ),
        ({"batch": jax.tree.map(lambda x: x[:0], BATCH)}, r"training batch is empty"),
        (
            {"batch": {"x": jnp.float32(1)}},
            r"training batch has no array with a leading batch axis",
        ),
    ],
)
def test_batches(batches, message):
    """Both when the state is made and when an update is traced."""
    with pytest.raises(ValueError, match=message):
        init(**batches)
    with pytest.raises(ValueError, match=message):
        call(all_layers(), **batches)


def test_layers_of_another_network():
    other = ref.mlp_params(jax.random.key(1), (3, 4, 3), jnp.float32)
    with pytest.raises(
        ValueError, match=r"another structure; find them anew with famus_jax.find_layers"
    ):
        call(all_layers(), params=other)


def test_optimizer_missing():
    words = (
        r"through_optimizer=True needs.*pass optimizer_update=lambda g: optimizer.update\(g, opt"
    )
    with pytest.raises(ValueError, match=words):
        call(last_layers(1, through_optimizer=True))


class TestForwardClosesOverTheta:
    """θ inside the forward is found in the traced program, and refused, on every cheap route.

    Fails if only names or promises are looked at: the gradient would silently lack a term.
    """

    ROUTES = (fused_meta_gradient, layerwise_meta_gradient)

    @staticmethod
    def run(route, derive, used=True):
        inputs = Inputs(PARAMS, {}, jax.random.key(0), BATCH, META, 0.1)

        @jax.jit
        def program(theta, inputs):
            inside = derive(theta)

            def forward(params, model_state, rng, batch):
                logits, model_state = ref.mlp(params, model_state, rng, batch)
                return (logits * inside if used else logits), model_state

            return route(
                problem(forward, mwnet(hidden=7, start="random", monotone=False), layers=LAYERS),
                theta,
                inputs,
            )

        theta = ref.mwnet_theta(jax.random.key(5), dtype=jnp.float32)
        return jax.eval_shape(program, theta, inputs)

    @pytest.mark.parametrize("route", ROUTES)
    @pytest.mark.parametrize(
        "derive",
        [
            lambda theta: theta["bias_2"],
            lambda theta: 2 * jnp.tanh(theta["kernel_1"]).sum(),
            lambda theta: jax.jit(lambda t: (t["bias_2"] ** 2).sum())(theta),
            lambda theta: jax.lax.cond(
                theta["bias_2"][0] > 0, lambda t: t, lambda t: -t, theta["bias_2"][0]
            ),
            lambda theta: jax.lax.scan(lambda c, x: (c + x, x), 0.0, theta["bias_1"])[0],
        ],
        ids=["directly", "derived", "through jit", "through cond", "through scan"],
    )
    def test_refused(self, route, derive):
        with pytest.raises(
            ValueError, match=r"forward closes over the meta-parameters.*the method's loss"
        ):
            self.run(route, lambda theta: jnp.reshape(derive(theta), (-1,))[:1][None, :])

    @pytest.mark.parametrize("route", ROUTES)
    def test_detached_or_foreign_values_pass(self, route):
        """A constant of the user's own is no θ; fails if every closed-over value is refused."""
        constant = jnp.full((1, 1), 2.0)
        self.run(route, lambda theta: constant)
        self.run(route, lambda theta: theta["bias_2"][None, :], used=False)

    @pytest.mark.parametrize(
        "wrap",
        [
            jax.jit,
            jax.checkpoint,
            lambda f: f,
        ],
        ids=["jit", "remat", "bare"],
    )
    def test_refused_in_a_wrapped_forward(self, wrap):
        """Fails if constants of inner calls are overlooked, or concrete arrays outside jit."""
        theta = ref.mwnet_theta(jax.random.key(5), dtype=jnp.float32)

        @wrap
        def forward(params, model_state, rng, batch):
            logits, model_state = ref.mlp(params, model_state, rng, batch)
            return logits * theta["bias_2"][None, :], model_state

        what = problem(forward, mwnet(hidden=7, start="random", monotone=False), layers=LAYERS)
        with pytest.raises(ValueError, match="forward closes over the meta-parameters"):
            fused_meta_gradient(
                what, theta, Inputs(PARAMS, {}, jax.random.key(0), BATCH, META, 0.1)
            )

    @pytest.mark.parametrize("place", ["meta_forward", "meta_loss"])
    def test_other_ways_in(self, place):
        """θ in the meta batch's forward, in the meta loss, in the model state: the term that comes of
        it would be dropped without a word."""

        def program(theta):
            scale = jnp.exp(theta["bias_2"])[None, :]

            def forward(params, model_state, rng, batch):
                logits, model_state = ref.mlp(params, model_state, rng, batch)
                factor = scale if place == "meta_forward" else model_state.get("scale", 1.0)
                return logits * factor, model_state

            def meta_loss(outputs, batch):
                return META_LOSS(outputs, batch) * (scale.sum() if place == "meta_loss" else 1.0)

            meta_forward = forward if place == "meta_forward" else None
            training = forward if place == "model_state" else ref.mlp
            what = problem(
                training, mwnet(hidden=7, start="random", monotone=False), meta_loss=meta_loss,
                layers=LAYERS,
                meta_forward=meta_forward,
            )  # fmt: skip
            state = {"scale": scale} if place == "model_state" else {}
            inputs = Inputs(PARAMS, state, jax.random.key(0), BATCH, META, 0.1)
            return fused_meta_gradient(what, theta, inputs)

        with pytest.raises(ValueError, match="meta-parameters"):
            jax.eval_shape(program, ref.mwnet_theta(jax.random.key(5), dtype=jnp.float32))

    @pytest.mark.parametrize(
        "estimator", [all_layers(), all_layers(route="vjp"), last_layers(1), second_order()]
    )
    def test_refused_by_the_update(self, estimator):
        """The same through the reweighter, under jit, with θ from its own state."""

        def program(state):
            def forward(params, model_state, rng, batch):
                logits, model_state = ref.mlp(params, model_state, rng, batch)
                return logits * jnp.exp(state.theta["bias_2"])[None, :], model_state

            weigh = reweighter(problem(forward, mwnet(), layers=LAYERS), estimator, step_size=0.1)
            return weigh.update(state, PARAMS, {}, BATCH, META)

        with pytest.raises(ValueError, match="forward closes over the meta-parameters"):
            jax.eval_shape(program, init())
