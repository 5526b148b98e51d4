"""What θ is learned from: a meta loss by name, and meta examples that nobody had to trust."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref

from famus_jax.losses import mean_absolute_error
from famus_jax.train import small_loss, streams
from famus_jax.train.config import parse_config
from famus_jax.train.data_setup import load_sources, seed_data
from famus_jax.train.experiment import run_experiment
from famus_jax.train.method_values import Facts, MetaConfig
from famus_jax.train.methods import METHODS

HEAD = {"kind": "last_layers", "k": 1, "virtual_step": "active"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def config(data_dir="", method="mwnet", trusted=0, **meta):
    return {
        "data": {
            "noise": "pair_flip",
            "noise_rate": 0.4,
            "trusted_per_class": trusted,
            "validation_per_class": 5,
            "data_dir": data_dir,
            "max_train": 400,
            "max_test": 100,
        },
        "model": {"name": "mlp", "overrides": {"hidden": (8,)}},
        "schedule": {
            "steps": 12,
            "batch_size": 32,
            "meta_batch_size": 16,
            "eval_every": 6,
            "checkpoint_every": 6,
        },
        "meta": meta,
        "runs": [{"method": method, "estimator": HEAD}],
    }


def test_trust_is_a_matter_of_the_config():
    """Fails if a row that learns from noisy labels is refused for want of trusted ones, or one that
    needs them is let through; the message names both ways out."""
    with pytest.raises(ValueError, match=r"trusted_per_class.*meta.examples = 'noisy'"):
        parse_config(config())
    parse_config(config(examples="noisy", loss="mae"))
    parse_config(config(method="l2r", examples="small_loss"))
    for method in ("mwnet_noisy_meta", "mwnet_clid", "mwnet_small_loss"):
        parse_config(config(method=method))
    assert METHODS["mwnet"].trusts()
    assert not METHODS["mwnet"].trusts(MetaConfig(examples="noisy"))
    assert METHODS["noisy_plus_trusted"].trusts(MetaConfig(examples="noisy"))
    assert not METHODS["mwnet_clid"].trusts()
    with pytest.raises(ValueError, match=r"meta.loss"):
        parse_config(config(trusted=2, loss="mea"))


@pytest.mark.parametrize("method", ["mwnet", "l2r"])
def test_the_meta_loss_of_a_name(method):
    """Fails if the name is not heard, or the meta loss becomes the training loss too."""
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 10)), jnp.float32)
    batch = {"label": jnp.arange(4)}
    values = parse_config(config(method=method, trusted=2, loss="mae"))
    made = METHODS[method].made(values, Facts(10, num_examples=400))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    by_hand = 2 * (1 - p[np.arange(4), np.arange(4)]).mean()
    assert float(made.l_val(logits, batch)) == pytest.approx(by_hand, rel=1e-5)
    np.testing.assert_allclose(
        made.example_loss(logits, batch), ref.cross_entropy(logits, batch), rtol=1e-5
    )
    fixed = METHODS["mwnet_noisy_meta"].made(parse_config(config(trusted=2)), Facts(10))
    assert float(fixed.l_val(logits, batch)) == pytest.approx(
        float(mean_absolute_error()(logits, batch).mean()), rel=1e-6
    )


def test_the_smallest_losses_of_every_class():
    """Fails if classes are pooled, if what was never seen counts as a loss of 0 (or less), or if an
    example outside the training set is chosen."""
    rng = np.random.default_rng(0)
    labels, losses = rng.integers(0, 3, 60), rng.exponential(size=60)
    losses[::7] = -1  # never seen
    where = np.arange(5, 60)
    chosen = small_loss.smallest(losses, labels, where, 4)
    assert not chosen[:5].any()
    for c in range(3):
        mine = [i for i in where if labels[i] == c and losses[i] >= 0]
        assert set(np.flatnonzero(chosen & (labels == c))) == set(
            sorted(mine, key=losses.__getitem__)[:4]
        )
    unseen = small_loss.smallest(np.full(60, -1.0), labels, where, 4)
    assert np.flatnonzero(unseen).tolist() == where.tolist()


def test_the_moving_average():
    """By hand: the first loss as it is, then 0.9 of the old and 0.1 of the new."""
    memory = small_loss.memory(3, 0.9)
    rows = jax.tree.map(lambda x: x[:2], memory.init(jax.random.key(0)))
    batch = {"label": jnp.array([0, 1])}
    kept = [None, None]
    for t in range(3):
        logits = jnp.asarray(np.random.default_rng(t).normal(size=(2, 4)), jnp.float32)
        rows = memory.update(rows, logits, batch)
        new = np.asarray(ref.cross_entropy(logits, batch))
        kept = [n if k is None else 0.9 * k + 0.1 * n for k, n in zip(kept, new, strict=True)]
    np.testing.assert_allclose(rows["loss"], kept, rtol=1e-5)


@pytest.mark.parametrize("examples", ["trusted", "noisy"])
def test_whose_labels_a_meta_batch_holds(data_dir, examples):
    """Fails if noisy meta batches hold the true labels, or trusted examples, or those held out."""
    values = parse_config(config(data_dir, trusted=2, examples=examples))
    seeded = seed_data(load_sources(values.data), values.data, 0)
    args = (METHODS["mwnet"], seeded, values.data, values.schedule, 0, None, values.meta)
    with streams.open_streams(*args) as (_, meta):
        batches = [jax.device_get(meta.batch(t)) for t in range(4)]
    index, label = (np.concatenate([b[name] for b in batches]) for name in ("index", "label"))
    part = seeded.splits.trusted if examples == "trusted" else seeded.splits.train
    assert np.isin(index, part).all()
    given = seeded.clean if examples == "trusted" else seeded.noisy
    np.testing.assert_array_equal(label, given[index])
    assert (label != seeded.clean[index]).any() == (examples == "noisy")


def test_the_choice_is_made_anew_and_kept():
    """Fails if the set is chosen at other steps than the multiples, or if a run that goes on chooses
    anew instead of reading what was chosen."""
    labels, where, opened = np.array([0, 0, 1, 1]), np.arange(4), []

    def open_stream(stack, some):
        opened.append(some.tolist())
        return some

    class Meta:
        def __init__(self, memory):
            self.memory = memory

        def _replace(self, memory):
            return Meta(memory)

    class State(Meta):
        meta = property(lambda self: self.memory)

        def _replace(self, meta):
            return State(meta)

    def state(losses, chosen):
        kept = {
            "loss": jnp.asarray(losses, jnp.float32),
            "chosen": jnp.asarray(chosen, jnp.float32),
        }
        return State(Meta(kept))

    with contextlib.ExitStack() as stack:
        stream = small_loss.SmallLoss(stack, open_stream, labels, where, 1, 5)
        after = stream.renewed(state([3, 1, 2, 4], [1, 1, 1, 1]), 5)
        assert opened == [[0, 1, 2, 3], [1, 2]]
        assert after.meta.memory["chosen"].tolist() == [0, 1, 1, 0]
        assert stream.renewed(state([0, 9, 9, 0], [0, 1, 1, 0]), 6).meta.memory["chosen"][1] == 1
        assert len(opened) == 2
        stream.renewed(state([0, 9, 9, 0], [0, 1, 1, 0]), 10)
        assert opened[-1] == [0, 3]
        again = small_loss.SmallLoss(stack, open_stream, labels, where, 1, 5)
        again.renewed(state([0, 9, 9, 0], [0, 1, 1, 0]), 7)
        assert opened[-1] == [1, 2]


def test_a_run_without_trusted_labels(data_dir, tmp_path):
    """L2R on the smallest losses trains; its table has a row."""
    values = config(data_dir, "l2r", examples="small_loss", select_every=4)
    result = run_experiment(values, tmp_path, show=str)
    assert [row["method"] for row in result["rows"]] == ["l2r"]
    assert result["rows"][0]["acc_last"] > 0.05
