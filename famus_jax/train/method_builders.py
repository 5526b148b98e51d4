"""From a config's values to methods: a builder each, for the table in `methods`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optax

from famus_jax import losses, methods
from famus_jax.core.method import ExampleLoss, Method, mean_of
from famus_jax.train.method_values import Facts, MethodValues

Builder = Callable[[MethodValues, Facts], Method]
Loss = Callable[[MethodValues, Facts], ExampleLoss]

# --- losses -------------------------------------------------------------------------------------


def cross_entropy(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Cross-entropy."""
    return losses.softmax_cross_entropy


def focal(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Focal loss."""
    return losses.focal(values.long_tail.gamma)


def cb_focal(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Class-balanced focal loss."""
    return losses.class_weighted(focal(values, facts), _class_weights(values, facts))


def ldam(values: MethodValues, facts: Facts) -> ExampleLoss:
    """LDAM."""
    tail = values.long_tail
    return losses.ldam(facts.class_counts, max_margin=tail.max_margin, scale=tail.scale)


def ldam_drw(values: MethodValues, facts: Facts) -> ExampleLoss:
    """LDAM, class-weighted in the end."""
    return losses.deferred(
        ldam(values, facts),
        _class_weights(values, facts),
        after=round(values.long_tail.defer * values.schedule.steps),
        normalize="sum",
    )


def gce(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Generalized cross-entropy."""
    return losses.generalized_cross_entropy(values.robust.q)


def sce(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Symmetric cross-entropy."""
    robust = values.robust
    return losses.symmetric_cross_entropy(
        robust.sce_alpha, robust.sce_beta, log_zero=robust.log_zero
    )


def nce_rce(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Normalized and reverse cross-entropy."""
    robust = values.robust
    return losses.nce_rce(robust.nce_alpha, robust.rce_beta, log_zero=robust.log_zero)


def mae(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Mean absolute error."""
    return losses.mean_absolute_error()


def label_smoothing(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Label smoothing."""
    return losses.label_smoothing(values.robust.smoothing)


def bootstrap_soft(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Bootstrapping with the prediction."""
    return losses.bootstrapped("soft", values.robust.bootstrap_soft)


def bootstrap_hard(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Bootstrapping with the predicted class."""
    return losses.bootstrapped("hard", values.robust.bootstrap_hard)


def soft(values: MethodValues, facts: Facts) -> ExampleLoss:
    """Cross-entropy of soft labels."""
    return losses.soft_cross_entropy


def _class_weights(values: MethodValues, facts: Facts) -> tuple[float, ...]:
    return losses.effective_number_weights(facts.class_counts, values.long_tail.beta)


# --- methods ------------------------------------------------------------------------------------


def plain(name: str, loss: Loss) -> Builder:
    """Training on a loss, without a meta-model; steps are shared by `name`."""
    return lambda values, facts: methods.cross_entropy(loss(values, facts), name=name)


def mwnet(name: str, loss: Loss, *, scaled: bool = False) -> Builder:
    """MW-Net on a loss; `scaled`: its meta loss scales the logits as LDAM does."""

    def build(values: MethodValues, facts: Facts) -> Method:
        scale = values.long_tail.scale
        return methods.mwnet(
            loss(values, facts),
            **_net(values),
            meta_loss=mean_of(losses.scaled_cross_entropy(scale)) if scaled else None,
        )._replace(name=name)

    return build


def cmwnet(values: MethodValues, facts: Facts) -> Method:
    """MW-Net with a head for each group of classes."""
    return methods.class_aware_mwnet(
        facts.class_counts,
        groups=values.meta.groups,
        **_net(values),
    )._replace(name="cmwnet")


def mwnet_features(values: MethodValues, facts: Facts) -> Method:
    """MW-Net that sees the loss and the network's features."""
    columns = {"loss": 1, "features": facts.feature_size}
    return methods.scored(columns, **_net(values))._replace(name="mwnet_features")


def _net(values: MethodValues) -> dict[str, Any]:
    """What all weighting nets share."""
    meta = values.meta
    return {
        "hidden": meta.hidden,
        "normalize": meta.normalize,
        "start": meta.start,
        "monotone": meta.monotone,
        "meta_optimizer": meta.build_optimizer(),
    }


def l2r(values: MethodValues, facts: Facts) -> Method:
    """Learning to reweight."""
    return methods.l2r()


def mlc(values: MethodValues, facts: Facts) -> Method:
    """Meta loss correction."""
    section = values.transition
    return methods.mlc(facts.num_classes, step=section.step, carry=section.carry)


def meta_label_correction(values: MethodValues, facts: Facts) -> Method:
    """Meta label correction."""
    section = values.label_correction
    return methods.meta_label_correction(
        facts.num_classes,
        facts.feature_size,
        hidden=section.hidden,
        embedding=section.embedding,
        meta_optimizer=optax.amsgrad(section.learning_rate),
    )


def elr(values: MethodValues, facts: Facts) -> Method:
    """Early-learning regularization."""
    section = values.elr
    return methods.elr(
        facts.num_examples,
        facts.num_classes,
        weight=section.weight,
        decay=section.decay,
        dtype=section.dtype,
    )


def elr_plus(values: MethodValues, facts: Facts) -> Method:
    """ELR+ of two networks as one, on batches that `peer_targets` makes."""
    section = values.elr
    return methods.elr_plus(
        facts.num_examples,
        facts.num_classes,
        weight=section.weight,
        decay=section.decay,
        dtype=section.dtype,
    )


def sop(values: MethodValues, facts: Facts) -> Method:
    """Sparse over-parameterization."""
    section = values.sop
    return methods.sop(
        facts.num_examples,
        facts.num_classes,
        u_step=section.u_step,
        v_step=section.v_step,
        dtype=section.dtype,
    )


def m_correction(values: MethodValues, facts: Facts) -> Method:
    """M-correction, on batches that `loss_correction` makes."""
    return methods.m_correction(facts.num_examples, prior_weight=values.m_correction.prior_weight)


def mentornet(values: MethodValues, facts: Facts) -> Method:
    """MentorNet's predefined curriculum."""
    section = values.mentormix
    return methods.mentornet(
        percentile=section.percentile, decay=section.decay, burn_in=values.mentor_burn_in
    )


def mentormix(values: MethodValues, facts: Facts) -> Method:
    """MentorMix, on batches that `mentored` mixes."""
    section = values.mentormix
    return methods.mentormix(
        percentile=section.percentile,
        decay=section.decay,
        burn_in=values.mentor_burn_in,
        second_reweight=section.second_reweight,
    )


def co_teaching(values: MethodValues, facts: Facts) -> Method:
    """Co-teaching of two networks as one."""
    section = values.co_teaching
    return methods.co_teaching(
        section.noise_rate or facts.noise_rate, ramp=round(section.ramp * values.schedule.steps)
    )


def mixmatch(*, reweight: bool) -> Builder:
    """The released pipeline's loss on mixed batches, with MW-Net's weights or without."""
    return lambda values, facts: methods.mixmatch(
        reweight=reweight,
        hidden=values.meta.hidden,
        prior_weight=values.pseudo_clean.prior_weight,
        meta_optimizer=values.meta.build_optimizer(),
    )
