"""One row: the audit and all baselines on one set, with one seed.

The truth is looked at in the figures only: no score, cut or setting depends on it.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.label_issues.baselines import (
    accuracy,
    audit_passes,
    cleanlab_scores,
    epochs_for,
    fold_passes,
    held_out,
    neighbor_score,
    train_plain,
)
from experiments.label_issues.figures import calibration_error, ranking
from experiments.label_issues.sets import Noisy
from famus_jax.audit.items import Items
from famus_jax.audit.known import proposed
from famus_jax.audit.networks import choose
from famus_jax.audit.run import audit, mended_labels, nothing_known
from famus_jax.evidence.types import LabelIssues
from famus_jax.provenance import made_on

MORE = 5  # times the audit's compute
REPEATED = "cleanlab_5x_repeated"
DECISIONS = 100


def measure(noisy: Noisy, seed: int, say=print, more: bool = True) -> dict[str, Any]:
    """Every figure of one set and seed.

    Args:
      noisy: the set.
      seed: of folds and networks.
      say: told what begins.
      more: whether cleanlab also gets five times the audit's compute.
    """
    labels, classes = noisy.labels, len(noisy.class_names)
    wrong = labels != noisy.truth
    items = Items(noisy.kind, noisy.inputs, labels, noisy.ids, noisy.class_names, "set")
    say("the audit")
    found = audit(items, final=False, seed=seed)
    issues, choice = found.issues, found.choice
    data, count = jnp.asarray(noisy.inputs), len(labels)
    passes = audit_passes(choice, count)
    scores = {"ours": -issues.rank.astype(np.float64)}
    compute = {"ours": passes}
    epochs = {}
    same = None
    for name, times in (("cleanlab", 1), (f"cleanlab_{MORE}x", MORE))[: 1 + more]:
        say(name)
        epochs[name] = epochs_for(times * passes, count)
        p = held_out(choice, data, labels, classes, epochs[name], seed)
        same = p if same is None else same
        for kind, score in cleanlab_scores(p, labels).items():
            scores[f"{name}_{kind}"] = score
            compute[f"{name}_{kind}"] = fold_passes(epochs[name], count)
    say("a plain training")
    plain = train_plain(choice, data, labels, seed)
    scores |= {"mean_loss": plain.loss, "aum": -plain.aum}
    compute |= dict.fromkeys(("mean_loss", "aum"), 3 * choice.plan.epochs * count)
    scores["neighbors"] = neighbor_score(noisy.inputs, labels, classes)
    compute["neighbors"] = 0
    assert same is not None
    say("networks on mended labels")
    return {
        "examples": count,
        "classes": classes,
        "network": choice.why,
        "epochs": {"ours": choice.plan.epochs, "plain": choice.plan.epochs, **epochs},
        "passes_per_example": {name: value / count for name, value in compute.items()},
        "rankings": {name: ranking(score, wrong) for name, score in scores.items()},
        "evidence": _evidence(issues, wrong),
        "answer": _answer(issues, labels, noisy.truth),
        "accuracy": _accuracies(noisy, issues, same, scores, plain, choice, seed),
    }


def add_repeated(row: dict[str, Any], noisy: Noisy, seed: int, say=print) -> dict[str, Any]:
    """The row, with cleanlab on the mean probabilities of five cross-validations.

    Each costs what the audit does, so that together they cost as much as the longer one. Longer
    training learns wrong labels by heart; this spends the same compute without that.
    """
    say(REPEATED)
    labels, classes = noisy.labels, len(noisy.class_names)
    choice, epochs = choose(noisy.inputs, classes), row["epochs"]["cleanlab"]
    data = jnp.asarray(noisy.inputs)
    each = [held_out(choice, data, labels, classes, epochs, 100 * seed + k) for k in range(MORE)]
    wrong = labels != noisy.truth
    rankings, passes = dict(row["rankings"]), dict(row["passes_per_example"])
    for kind, score in cleanlab_scores(np.mean(each, axis=0), labels).items():
        rankings[f"{REPEATED}_{kind}"] = ranking(score, wrong)
        passes[f"{REPEATED}_{kind}"] = MORE * fold_passes(epochs, len(labels)) / len(labels)
    return row | {"rankings": rankings, "passes_per_example": passes}


def add_decided(row: dict[str, Any], noisy: Noisy, seed: int, say=print) -> dict[str, Any]:
    """The row, with what an audit says after a person has decided what `--propose-trusted` chose.

    The person is the truth: it says of each proposed label whether it is right, and if not, what is.
    The figures are of the labels that nobody decided; the share and its interval are of all.
    """
    say("an audit, and one with decisions")
    items = Items(noisy.kind, noisy.inputs, noisy.labels, noisy.ids, noisy.class_names, "set")
    first = audit(items, final=False, seed=seed)
    position = {name: at for at, name in enumerate(noisy.ids)}
    known = nothing_known(len(noisy.labels))
    chosen = proposed(items, first.issues, known, DECISIONS)
    at = np.array([position[decision.id] for decision in chosen])
    known.right[at] = noisy.truth[at]
    known.wrong[at] = noisy.labels[at] != noisy.truth[at]
    found = audit(items, known=known, final=False, seed=seed).issues
    wrong, summary = noisy.labels != noisy.truth, found.summary
    rest = np.ones(len(wrong), bool)
    rest[at] = False
    before, after = first.issues, found
    decided = {
        "decisions": len(at),
        "wrong": int(known.wrong.sum()),
        "share": summary.share_wrong,
        "share_low": summary.share_low,
        "share_high": summary.share_high,
        "calibration_error_before": calibration_error(before.p_wrong[rest], wrong[rest]),
        "calibration_error": calibration_error(after.p_wrong[rest], wrong[rest]),
        "before": ranking(-before.rank[rest].astype(np.float64), wrong[rest]),
        "after": ranking(-after.rank[rest].astype(np.float64), wrong[rest]),
        "warnings": list(summary.warnings),
        "commit": made_on()["commit"],
    }
    return row | {"decided": decided}


def _evidence(issues: LabelIssues, wrong: np.ndarray) -> dict[str, Any]:
    """Each kind alone, with its weight in the score (none: shown, and not counted)."""
    weights = {test.name: test.weight for test in issues.summary.self_tests}
    planted = {test.name: test.auroc for test in issues.summary.self_tests}
    rows = {}
    for name, values in issues.evidence.items():
        known = np.isfinite(values)
        if known.sum() and 0 < wrong[known].sum() < known.sum():
            rows[name] = {
                **ranking(-values[known], wrong[known]),
                "weight": weights.get(name),
                "self_test_auroc": planted.get(name),
            }
    return rows


def _answer(issues: LabelIssues, labels: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    wrong, cut, summary = labels != truth, issues.is_label_issue, issues.summary
    others = issues.probabilities.astype(np.float64)
    others[np.arange(len(labels)), labels] = -1
    right = others.argmax(1) == truth
    both = wrong & cut
    return {
        "share_true": float(wrong.mean()),
        "share": summary.share_wrong,
        "share_low": summary.share_low,
        "share_high": summary.share_high,
        "calibration_error": calibration_error(issues.p_wrong, wrong),
        "cut": int(cut.sum()),
        "cut_precision": float(wrong[cut].mean()) if cut.any() else None,
        "cut_recall": float(cut[wrong].mean()),
        "right_suggestions_of_errors": float(right[wrong].mean()),
        "right_suggestions_of_errors_in_the_cut": float(right[both].mean()) if both.any() else None,
        "warnings": list(summary.warnings),
    }


def _accuracies(noisy, issues, same, scores, plain, choice, seed) -> dict[str, float]:
    """On the clean test examples: the network trained on given, mended and true labels.

    "mended" is the audit's own mending; "mended_cleanlab" gives as many labels, of cleanlab's lowest
    scores, the most probable class; in "mended_by_a_person" the audit's cut gets the true labels.
    """
    labels, inputs = noisy.labels, noisy.inputs
    k = int(issues.is_label_issue.sum())
    first = np.argsort(-scores["cleanlab_self_confidence"], kind="stable")[:k]
    cleanlab = labels.copy()
    cleanlab[first] = same[first].argmax(1)
    trained_on = {
        "plain": labels,
        "mended": mended_labels(issues, labels),
        "mended_cleanlab": cleanlab,
        "mended_by_a_person": np.where(issues.is_label_issue, noisy.truth, labels),
        "clean": noisy.truth,
    }
    found = {}
    if noisy.for_test is not None:
        inputs = noisy.for_test
        choice, plain = choose(inputs, len(noisy.class_names)), None
    for name, mine in trained_on.items():
        own = plain if name == "plain" and plain is not None else None
        own = own or train_plain(choice, jnp.asarray(inputs), mine.astype(np.int32), seed)
        found[name] = accuracy(choice, own.variables, noisy.test, noisy.test_truth)
    return found
