"""Slow, readable definitions of the method, the oracle of the tests of the core.

Written from the equations alone; nothing here imports the library, knows of linearisation, or
cares about cost. Symbols as in the paper: w = network parameters, theta = meta-parameters, T = the
training objective, l_val = the meta loss, w_hat = the look-ahead.

Parameters are dicts {layer: {tensor: array}}, layers in the order of their names, so that "a layer"
is a key of the dict and a set of active layers is a set of keys.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

# --- comparing -----------------------------------------------------------------------------------


def assert_close(actual, expected, rtol=1e-9, floor=1e-14):
    """Trees of one structure, whose numbers differ by rtol of themselves and of their array's largest.

    `floor` is added to what may differ, for arrays of zeros. (`chex.assert_trees_all_close` has one
    absolute tolerance for arrays of all sizes.)
    """

    def compare(a, b):
        b = np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max() + floor)

    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(compare, actual, expected)


# --- small networks: forward(params, model_state, rng, batch) -> (outputs, model_state) -----------


def mlp_params(key, sizes=(3, 5, 4, 3), dtype=jnp.float64):
    """{"layer0": {"w", "b"}, ...} with weights and biases of order one."""
    params = {}
    for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        key, key_w, key_b = jax.random.split(key, 3)
        params[f"layer{i}"] = {
            "b": 0.3 * jax.random.normal(key_b, (fan_out,), dtype),
            "w": jax.random.normal(key_w, (fan_in, fan_out), dtype) / np.sqrt(fan_in),
        }
    return params


def mlp(params, model_state, rng, batch):
    """Tanh hidden layers, logits."""
    del rng
    h = batch["x"]
    *hidden, head = sorted(params)
    for name in hidden:
        h = jnp.tanh(h @ params[name]["w"] + params[name]["b"][None, :])
    return h @ params[head]["w"] + params[head]["b"][None, :], model_state


def bn_params(key, sizes=(3, 5, 4, 3), dtype=jnp.float64):
    """(params, model_state) of `bn_mlp`: hidden layers also own a scale and an offset."""
    params, model_state = mlp_params(key, sizes, dtype), {}
    *hidden, _ = sorted(params)
    for i, name in enumerate(hidden):
        width = params[name]["b"].shape[0]
        noise = jax.random.normal(jax.random.fold_in(key, i), (2, width), dtype)
        params[name]["scale"] = 1 + 0.2 * noise[0]
        params[name]["offset"] = 0.2 * noise[1]
        model_state[name] = {"mean": jnp.zeros(width, dtype), "var": jnp.ones(width, dtype)}
    return params, model_state


def bn_mlp(params, model_state, rng, batch):
    """As `mlp`, normalized by the batch's own statistics; running statistics move by a tenth."""
    del rng
    h, new_state = batch["x"], {}
    *hidden, head = sorted(params)
    for name in hidden:
        layer = params[name]
        h = h @ layer["w"] + layer["b"][None, :]
        mean, var = h.mean(0), ((h - h.mean(0, keepdims=True)) ** 2).mean(0)
        new_state[name] = {
            "mean": 0.9 * model_state[name]["mean"] + 0.1 * mean,
            "var": 0.9 * model_state[name]["var"] + 0.1 * var,
        }
        h = (h - mean[None, :]) / jnp.sqrt(var + 1e-3)[None, :]
        h = jnp.tanh(h * layer["scale"][None, :] + layer["offset"][None, :])
    return h @ params[head]["w"] + params[head]["b"][None, :], new_state


def dropout_mlp(params, model_state, rng, batch):
    """As `mlp`, each hidden unit kept with probability 0.7."""
    h = batch["x"]
    *hidden, head = sorted(params)
    for i, name in enumerate(hidden):
        h = jnp.tanh(h @ params[name]["w"] + params[name]["b"][None, :])
        keep = jax.random.bernoulli(jax.random.fold_in(rng, i), 0.7, h.shape)
        h = jnp.where(keep, h / 0.7, 0)
    return h @ params[head]["w"] + params[head]["b"][None, :], model_state


def classification_batch(seed, n, dim=3, classes=3, dtype=jnp.float64):
    """{"x": [n, dim], "label": [n]}."""
    rng = np.random.default_rng(seed)
    return {
        "x": jnp.asarray(rng.normal(size=(n, dim)), dtype),
        "label": jnp.asarray(rng.integers(0, classes, n), jnp.int32),
    }


# --- losses and objectives -------------------------------------------------------------------------


def cross_entropy(logits, batch):
    """-log softmax at the label, [n]."""
    at_label = (logits * jax.nn.one_hot(batch["label"], logits.shape[1])).sum(1)
    return jnp.log(jnp.exp(logits).sum(1)) - at_label


def mean_loss(loss):
    return lambda outputs, batch: loss(outputs, batch).sum() / loss(outputs, batch).shape[0]


def mwnet_theta(key, hidden=7, dtype=jnp.float64):
    """A weighting net 1-hidden-1 far from saturation and from its initialization."""
    keys = jax.random.split(key, 4)
    return {
        "kernel_1": jax.random.normal(keys[0], (1, hidden), dtype),
        "bias_1": jax.random.normal(keys[1], (hidden,), dtype),
        "kernel_2": 0.5 * jax.random.normal(keys[2], (hidden, 1), dtype),
        "bias_2": 0.5 * jax.random.normal(keys[3], (1,), dtype),
    }


def falling(theta):
    """The nearest θ in which no unit makes V rise: the first half of the units (the larger one) goes up
    with the loss and lowers V, the others go down and raise it."""
    up = np.arange(theta["bias_1"].shape[0]) < (theta["bias_1"].shape[0] + 1) // 2
    first, last = theta["kernel_1"][0], theta["kernel_2"][:, 0]
    first = jnp.where(up, jnp.maximum(first, 0), jnp.minimum(first, 0))
    last = jnp.where(up, jnp.minimum(last, 0), jnp.maximum(last, 0))
    return {**theta, "kernel_1": first[None, :], "kernel_2": last[:, None]}


def mwnet_weights(theta, losses, normalize):
    """V_i = sigmoid(MLP(l_i)), the loss entering as a number; over the sum of V, or over n."""

    def net(x):
        hidden = jnp.maximum(x * theta["kernel_1"][0] + theta["bias_1"], 0)
        logit = (hidden * theta["kernel_2"][:, 0]).sum() + theta["bias_2"][0]
        return 1 / (1 + jnp.exp(-logit))

    weights = jax.vmap(net)(jax.lax.stop_gradient(losses))
    return weights / weights.sum() if normalize == "sum" else weights / len(weights)


def head_weights(theta, losses, more=0.0):
    """V of every head of a weighting net, [n, heads], not normalized."""
    hidden = jnp.maximum(losses[:, None] * theta["kernel_1"] + theta["bias_1"][None] + more, 0)
    return 1 / (1 + jnp.exp(-(hidden @ theta["kernel_2"] + theta["bias_2"][None])))


def class_aware(groups):
    """T with the head of each given label's group; V over its sum."""

    def training_loss(theta, logits, batch):
        losses = cross_entropy(logits, batch)
        values = head_weights(theta, jax.lax.stop_gradient(losses))
        chosen = sum(jnp.where(batch["label"] == c, values[:, g], 0) for c, g in enumerate(groups))
        return (chosen * losses).sum() / chosen.sum()

    return training_loss


def scored(theta, outputs, batch):
    """T with weights from the loss, the features over their root mean square, and `quality`."""
    losses = cross_entropy(outputs["logits"], batch)
    h = jax.lax.stop_gradient(outputs["features"])
    h = h / jnp.sqrt((h * h).mean(1))[:, None]
    more = h @ theta["column_features"] + batch["quality"][:, None] * theta["column_quality"]
    values = head_weights(theta, jax.lax.stop_gradient(losses), more)[:, 0]
    return (values * losses).sum() / values.sum()


def source_weights(theta, logits, batch):
    """T with e^θ of each example's source over the sum in the batch."""
    values = jnp.exp(theta)[batch["source"]]
    return (values * cross_entropy(logits, batch)).sum() / values.sum()


def mwnet(normalize, loss=cross_entropy):
    """T(theta, outputs, batch) = sum_i V_i l_i."""

    def objective(theta, outputs, batch):
        losses = loss(outputs, batch)
        return (mwnet_weights(theta, losses, normalize) * losses).sum()

    return objective


def l2r(loss=cross_entropy):
    """T(epsilon, outputs, batch) = sum_i epsilon_i l_i."""
    return lambda epsilon, outputs, batch: (epsilon * loss(outputs, batch)).sum()


def l2r_weights(epsilon_gradient):
    """max(-g, 0) over its sum; zeros where nothing helps."""
    positive = np.maximum(-np.asarray(epsilon_gradient), 0)
    return positive / positive.sum() if positive.sum() > 0 else positive


def ldam(counts, max_margin, scale):
    """Cross-entropy of scaled logits, the label's less a margin ~ count^(-1/4), the largest given."""

    def loss(logits, batch):
        raw = [n**-0.25 for n in counts]
        margins = [max_margin * m / max(raw) for m in raw]
        rows = []
        for i in range(len(logits)):
            shift = jnp.stack(
                [jnp.where(batch["label"][i] == c, m, 0) for c, m in enumerate(margins)]
            )
            rows.append(scale * (logits[i] - shift))
        return cross_entropy(jnp.stack(rows), batch)

    return loss


def mlc(loss=cross_entropy):
    """T(m, outputs, batch) = mean loss of logits that a transition matrix has corrected."""

    def objective(m, outputs, batch):
        columns = [sum(outputs[:, k] * m[k, j] for k in range(len(m))) for j in range(len(m))]
        return mean_loss(loss)(jnp.stack(columns, axis=1), batch)

    return objective


def transition_step(m, gradient, step):
    """Clamped at 0, columns over their sums."""
    moved = np.maximum(np.asarray(m) - step * np.asarray(gradient), 0)
    return np.stack([column / column.sum() for column in moved.T], axis=1)


def label_correction_theta(key, features, classes=3, hidden=5, embedding=2, dtype=jnp.float64):
    """A label-correcting net far from saturation."""
    keys = jax.random.split(key, 7)

    def dense(i, fan_in, fan_out):
        kernel = jax.random.normal(keys[i], (fan_in, fan_out), dtype) / np.sqrt(fan_in)
        return {"kernel": kernel, "bias": 0.3 * jax.random.normal(keys[i + 3], (fan_out,), dtype)}

    return {
        "embedding": jax.random.normal(keys[6], (classes, embedding), dtype),
        "dense_1": dense(0, features + embedding, hidden),
        "dense_2": dense(1, hidden, hidden),
        "dense_3": dense(2, hidden, classes),
    }


def soft_labels(theta, features, labels):
    """softmax(MetaNet(h, embedding of y)), one example at a time; h is a number to it."""

    def net(h, y):
        x = jnp.concatenate([h, theta["embedding"][y]])
        for name in ("dense_1", "dense_2", "dense_3"):
            x = x @ theta[name]["kernel"] + theta[name]["bias"]
            x = jnp.tanh(x) if name != "dense_3" else x
        return jnp.exp(x) / jnp.exp(x).sum()

    return jax.vmap(net)(jax.lax.stop_gradient(features), labels)


def label_correction():
    """T(theta, outputs, batch) = mean soft cross-entropy against the corrected labels."""

    def objective(theta, outputs, batch):
        soft = soft_labels(theta, outputs["features"], batch["label"])
        logits = outputs["logits"]
        log_p = logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))
        return -(soft * log_p).sum() / len(log_p)

    return objective


def mixmatch(prior_weight=1.0):
    """T(theta, outputs, batch) of mixed batches: labeled and unlabeled part, weights, penalty."""

    def objective(theta, outputs, batch):
        losses, labeled = mixed_loss(outputs, batch), batch["labeled"]
        weights = mwnet_weights(theta, losses, "sum")
        n, n_x = len(losses), labeled.sum()
        x = n / n_x * (labeled * weights * losses).sum()
        u = n / (n - n_x) * ((1 - labeled) * weights * losses).sum()
        return x + batch["lambda_u"] * u + prior_weight * kl_from_uniform(outputs)

    return objective


def mixmatch_meta_loss(outputs, batch):
    """Mean soft cross-entropy and the penalty: all are labeled."""
    batch = {**batch, "labeled": jnp.ones(len(outputs), outputs.dtype)}
    return mixed_loss(outputs, batch).sum() / len(outputs) + kl_from_uniform(outputs)


def mixed_loss(outputs, batch):
    """Cross-entropy against the soft target, or the mean squared error of the probabilities."""
    p = jnp.exp(outputs) / jnp.exp(outputs).sum(1, keepdims=True)
    cross = -(batch["target"] * jnp.log(p)).sum(1)
    squared = ((p - batch["target"]) ** 2).sum(1) / p.shape[1]
    return jnp.where(batch["labeled"] > 0, cross, squared)


def kl_from_uniform(outputs):
    """KL(uniform || mean prediction)."""
    mean = (jnp.exp(outputs) / jnp.exp(outputs).sum(1, keepdims=True)).sum(0) / len(outputs)
    return -(jnp.log(mean * len(mean)) / len(mean)).sum()


def mixed(batch, seed):
    """A batch with soft targets, of which every other pair is labeled."""
    n = len(batch["label"])
    target = jnp.asarray(np.random.default_rng(seed).dirichlet(np.ones(3), n))
    labeled = jnp.asarray(np.arange(n) // 2 % 2 == 0, jnp.float64)
    return {**batch, "target": target, "labeled": labeled, "lambda_u": jnp.float64(4.0)}


# --- the look-ahead and its derivative --------------------------------------------------------------


def tree_map(f, *trees):
    return jax.tree.map(f, *trees)


def training_gradient(forward, objective, w, theta, model_state, rng, batch):
    """g(theta) = gradient of T(f(w, X), theta) with respect to w."""

    def loss(w):
        outputs, _ = forward(w, model_state, rng, batch)
        return objective(theta, outputs, batch)

    return jax.grad(loss)(w)


def virtual_step(w, gradient, alpha, active, kind):
    """w_hat(theta), with theta cut off from every layer that isn't active.

    `active` is {layer: 1 or 0}, or a set of layers.

    kind "full" (also the one of a one-pass step): w - alpha g everywhere (Eq. 3). "frozen": only
    active layers move.
    """
    w_hat = {}
    for layer in w:
        is_active = active[layer] if isinstance(active, dict) else float(layer in active)
        step = tree_map(lambda g: -alpha * g, gradient[layer])
        closed = jax.lax.stop_gradient(step) if kind == "full" else tree_map(jnp.zeros_like, step)
        w_hat[layer] = tree_map(_move(is_active), w[layer], step, closed)
    return w_hat


def _move(is_active):
    return lambda w, step, closed: w + is_active * step + (1 - is_active) * closed


def l_val(
    theta, forward, objective, meta_loss, w, model_state, rng, batch, meta_batch, alpha, active,
    kind="full",
):  # fmt: skip
    """The meta loss as a function of theta: virtual step, then the meta batch (Eq. 4)."""
    gradient = training_gradient(forward, objective, w, theta, model_state, rng, batch)
    w_hat = virtual_step(w, gradient, alpha, active, kind)
    outputs, _ = forward(w_hat, model_state, meta_key(rng), meta_batch)
    return meta_loss(outputs, meta_batch)


def meta_gradient(theta, *args, **kwargs):
    """Gradient of `l_val` with respect to theta, reverse mode over reverse mode."""
    return jax.grad(l_val)(theta, *args, **kwargs)


def meta_key(rng):
    """The meta batch's own key, for networks with dropout."""
    return rng if rng is None else jax.random.fold_in(rng, 0x4D455441)


def validation_gradient(forward, meta_loss, w_hat, model_state, rng, meta_batch):
    """v = gradient of the meta loss at w_hat."""

    def loss(w):
        outputs, _ = forward(w, model_state, meta_key(rng), meta_batch)
        return meta_loss(outputs, meta_batch)

    return jax.grad(loss)(w_hat)


# --- gradient samplers ------------------------------------------------------------------------------


def pool(tensor, how, out_axis=-1):
    """One number per output channel; vectors as they are. float64 numpy."""
    tensor = np.asarray(tensor, np.float64)
    if tensor.ndim > 1:
        channels = [tensor.take(c, axis=out_axis) for c in range(tensor.shape[out_axis])]
        tensor = np.array([c.sum() if how == "standardized_sum" else c.mean() for c in channels])
    tensor = tensor.reshape(-1)
    if how == "standardized_sum":
        tensor = (tensor - tensor.mean()) / (tensor.std(ddof=1) + 1e-9)
    return tensor


def pool_group(tensors, how, out_axis=-1):
    """The concatenation of a layer's pooled tensors; "rms": over their root mean square."""
    row = np.concatenate([pool(t, how, out_axis) for t in tensors])
    return row / np.sqrt((row**2).mean()) if how == "rms" else row


def sampler_logits(eta, layer, pooled):
    """Gamma_l: dense layers with PReLU between, on the layer's own (unpadded) input."""
    h = jnp.asarray(pooled)
    for i, (kernel, bias) in enumerate(zip(eta["kernels"], eta["biases"], strict=True)):
        h = h @ kernel[layer, : h.shape[0]] + bias[layer]
        if i < len(eta["kernels"]) - 1:
            h = jnp.maximum(h, 0) + eta["slopes"][i][layer] * jnp.minimum(h, 0)
    return h


def soft_gate(logits, uniform, temperature):
    """The second component of softmax((logits + Gumbel noise) / temperature)."""
    gumbel = -jnp.log(-jnp.log(uniform))
    z = (logits + gumbel) / temperature
    return jnp.exp(z[1]) / (jnp.exp(z[0]) + jnp.exp(z[1]))


def straight_through(soft):
    """1 if soft > 1/2 else 0, with the derivative of soft."""
    return jax.lax.stop_gradient(jnp.where(soft > 0.5, 1.0, 0.0) - soft) + soft


def gate_slopes(v, g, alpha):
    """dL_c/dr_l of w_hat_l = w_l - alpha r_l g_l: -alpha <v_l, g_l>, a dict."""
    slopes = {}
    for layer in v:
        pairs = zip(v[layer].values(), g[layer].values(), strict=True)
        slopes[layer] = -alpha * sum(float(jnp.vdot(a, b)) for a, b in pairs)
    return slopes


def matching_mean(train, val):
    """L_g (Eq. 11) of two last-layer gradients {"w": [in, out], "b": [out]}; val is a constant."""
    val = jax.lax.stop_gradient(val)
    return ((train["w"].mean(0) - val["w"].mean(0)) ** 2).sum() + (
        (train["b"] - val["b"]) ** 2
    ).sum()


def step_cost(virtual_step, share, rho, zero_virtual_step=False):
    """Passes of a step over those of a plain one (3), added up one by one."""
    passes = [1.0]  # training batch, forward
    if not zero_virtual_step:
        passes.append({"all": 2.0, "actual": 2.0, "active": 2 * share}[virtual_step])
    passes.append(rho)  # meta batch, forward
    passes.append(2 * rho * share)  # and back, down to the lowest active layer
    passes.append(2 * share)  # J v: as many products as a backward pass
    if virtual_step != "actual" or zero_virtual_step:
        passes.append(2.0)  # actual step, backward
    return sum(passes) / 3


def expected_cost(probability, gated, cuts, costs, num_groups):
    """The mean cost over all patterns of gates, each weighed by its probability.

    A step costs what the highest cut costs that lies below none of the open layers.
    """
    total = 0.0
    for pattern in itertools.product((0, 1), repeat=num_groups):
        weight, lowest = 1.0, num_groups
        for layer, is_open in enumerate(pattern):
            p = probability[layer] if gated[layer] else 0.0
            weight *= p if is_open else 1 - p
            if is_open and gated[layer]:
                lowest = min(lowest, layer)
        total += (
            weight * max((c, cost) for c, cost in zip(cuts, costs, strict=True) if c <= lowest)[1]
        )
    return total


# --- a look-ahead through the real optimizer, and what DARTS differentiates --------------------------


def look_ahead_through(w, gradient, descend, active, kind):
    """w_hat(theta) = w + U(g(theta)), U the optimizer's update; theta cut off from closed layers.

    `active` is {layer: 1 or 0}. kind "full": all layers take the step. "frozen": the closed ones stay
    at w.
    """
    sent, cut = {}, jax.lax.stop_gradient
    for layer, a in active.items():
        closed = cut if kind == "full" else jnp.zeros_like
        sent[layer] = tree_map(lambda g, a=a, f=closed: a * g + (1 - a) * f(g), gradient[layer])
    updates, w_hat = descend(sent), {}
    for layer, a in active.items():
        moves = 0.0 if kind == "frozen" else 1.0
        w_hat[layer] = tree_map(
            lambda x, u, a=a, c=moves: x + a * u + (1 - a) * c * cut(u), w[layer], updates[layer]
        )
    return w_hat


def l_val_through(
    theta, forward, objective, meta_loss, w, model_state, rng, batch, meta_batch, descend, active,
    kind="full",
):  # fmt: skip
    """`l_val` with the optimizer's step as the virtual one."""
    gradient = training_gradient(forward, objective, w, theta, model_state, rng, batch)
    w_hat = look_ahead_through(w, gradient, descend, active, kind)
    outputs, _ = forward(w_hat, model_state, meta_key(rng), meta_batch)
    return meta_loss(outputs, meta_batch)
