"""Every method of a table: how it is built, what it trains on, where it comes from.

This table, the method's own file in the package of methods and a builder (in `method_builders`, or
right here) are all that a method touches; a section of values, if it has some of its own, goes to
`method_values`, a paper to `method_sources`. `famus methods` shows the table.
"""

from __future__ import annotations

from famus_jax.train import method_builders as build
from famus_jax.train.method_builders import Builder
from famus_jax.train.method_sources import SOURCES as _SOURCES
from famus_jax.train.method_spec import Batches, Kind, MethodSpec

__all__ = ["METHODS", "MethodSpec"]

_MWNET_CONFIG = "configs/table1.py:cifar10_mwnet_40"
_ROBUST_CONFIG = "configs/robust.py:cifar10_symmetric_40"
_ONE_CONFIG = "configs/table5.py:cifar10_60_mentormix"
_TWO_CONFIG = "configs/table5.py:cifar10_60"
_TAIL_CONFIG = "configs/table8.py:cifar10_100"
_LDAM_CONFIG = "configs/table8.py:cifar10_100_ldam"
_STUDY_CONFIG = "configs/methods.py:symmetric_60_one"
_WEIGHTS_CONFIG = "configs/methods.py:symmetric_60_weights"


def _baseline(title: str, batches: Batches = "noisy", **more) -> MethodSpec:
    """Cross-entropy on labels of one kind."""
    return MethodSpec(title, batches, config=_MWNET_CONFIG, **more)


def _weights(title: str, source: str, builder: Builder, **more) -> MethodSpec:
    """A method that learns weights from a meta batch."""
    return MethodSpec(
        title, build=builder, kind="weights", source=_SOURCES[source], learns=True, **more
    )


def _correction(title: str, source: str, builder: Builder, **more) -> MethodSpec:
    """A method that learns to correct labels or losses from trusted examples."""
    return MethodSpec(
        title, build=builder, kind="label correction", source=_SOURCES[source], learns=True, **more
    )


def _memory(title: str, source: str, builder: Builder, **more) -> MethodSpec:
    """A method that keeps something of every training example."""
    return MethodSpec(
        title,
        build=builder,
        kind="memory",
        source=_SOURCES[source],
        remembers=True,
        config=_ROBUST_CONFIG,
        **more,
    )


def _loss(kind: Kind, name: str, title: str, source: str, loss: build.Loss, **more) -> MethodSpec:
    """Plain training on a loss."""
    more.setdefault("config", _ROBUST_CONFIG if kind == "robust loss" else _TAIL_CONFIG)
    return MethodSpec(
        title, build=build.plain(name, loss), kind=kind, source=_SOURCES[source], **more
    )


def _two(title: str, source: str, builder: Builder, **more) -> MethodSpec:
    """Two networks that choose a pseudo-clean set for each other."""
    return MethodSpec(
        title,
        build=builder,
        kind="two networks",
        source=_SOURCES[source],
        networks=2,
        splits=True,
        config=_TWO_CONFIG,
        **more,
    )


_MWNET = build.mwnet("mwnet", build.cross_entropy)

METHODS: dict[str, MethodSpec] = {
    "ce": _baseline("cross-entropy"),
    "ce_early_stop": _baseline("CE, stopped on noisy validation", needs="ce", early_stop=True),
    "trusted_only": _baseline("trusted set only", "trusted"),
    "noisy_plus_trusted": _baseline("noisy + trusted (oversampled)", "noisy+trusted"),
    "finetune": _baseline("CE, fine-tuned on trusted", "trusted", needs="ce"),
    "mended": MethodSpec(
        "CE on labels that an audit mends",
        "mended",
        kind="label correction",
        source=_SOURCES["confident learning"],
        config=_STUDY_CONFIG,
    ),
    "mwnet": _weights("MW-Net", "mwnet", _MWNET, config=_MWNET_CONFIG),
    "l2r": _weights("L2R", "l2r", build.l2r, config="configs/table1.py:cifar10_l2r_40"),
    "mlc": _correction(
        "MLC (transition matrix)", "mlc", build.mlc, config="configs/table2.py:digits"
    ),
    "mlc_after_ce": _correction(
        "MLC, after CE", "mlc", build.mlc, needs="ce", config="configs/table2.py:40"
    ),
    "cmwnet": _weights(
        "CMW-Net (class-aware)", "cmwnet", build.cmwnet, reads_counts=True, config=_WEIGHTS_CONFIG
    ),
    "mwnet_features": _weights(
        "MW-Net, loss and features",
        "mwnet",
        build.mwnet_features,
        reads_features=True,
        config=_WEIGHTS_CONFIG,
    ),
    "mwnet_noisy_meta": _weights(
        "MW-Net, noisy meta set (MAE)",
        "robust mwnet",
        build.mwnet("mwnet_noisy_meta", build.cross_entropy),
        meta_loss="mae",
        meta_examples="noisy",
        config=_WEIGHTS_CONFIG,
    ),
    "mwnet_clid": _weights(
        "MW-Net, CLID",
        "clid",
        build.mwnet("mwnet_clid", build.cross_entropy),
        meta_loss="clid",
        meta_examples="noisy",
        reads_features=True,
        config=_WEIGHTS_CONFIG,
    ),
    "mwnet_small_loss": _weights(
        "MW-Net, small losses as meta set",
        "cmwnet",
        build.mwnet("mwnet_small_loss", build.cross_entropy),
        meta_examples="small_loss",
        remembers=True,
        config=_WEIGHTS_CONFIG,
    ),
    "meta_label_correction": _correction(
        "meta label correction",
        "label correction",
        build.meta_label_correction,
        reads_features=True,
        config="configs/robust.py:cifar10_label_correction",
    ),
    "elr": _memory("ELR", "elr", build.elr),
    "elr_plus": _memory("ELR+", "elr", build.elr_plus, batches="noisy+elr_plus", networks=2),
    "sop": _memory("SOP", "sop", build.sop),
    "gce": _loss("robust loss", "gce", "generalized cross-entropy", "gce", build.gce),
    "sce": _loss("robust loss", "sce", "symmetric cross-entropy", "sce", build.sce),
    "nce_rce": _loss("robust loss", "nce_rce", "NCE + RCE", "apl", build.nce_rce),
    "mae": _loss("robust loss", "mae", "mean absolute error", "mae", build.mae),
    "label_smoothing": _loss(
        "robust loss", "label_smoothing", "label smoothing", "smoothing", build.label_smoothing
    ),
    "bootstrap_soft": _loss(
        "robust loss",
        "bootstrap_soft",
        "bootstrapping, soft",
        "bootstrapping",
        build.bootstrap_soft,
    ),
    "bootstrap_hard": _loss(
        "robust loss",
        "bootstrap_hard",
        "bootstrapping, hard",
        "bootstrapping",
        build.bootstrap_hard,
    ),
    "mentornet": MethodSpec(
        "MentorNet (predefined curriculum)",
        build=build.mentornet,
        kind="selection",
        source=_SOURCES["mentornet"],
        config=_ONE_CONFIG,
    ),
    "mixup": _loss(
        "mixing",
        "mixup",
        "mixup",
        "mixup",
        build.soft,
        batches="noisy+mixup",
        config=_ONE_CONFIG,
    ),
    "co_teaching": MethodSpec(
        "Co-teaching",
        build=build.co_teaching,
        kind="selection",
        source=_SOURCES["co-teaching"],
        networks=2,
        config=_ONE_CONFIG,
    ),
    "mentormix": MethodSpec(
        "MentorMix",
        "noisy+mentormix",
        build=build.mentormix,
        kind="mixing",
        source=_SOURCES["mentormix"],
        config=_ONE_CONFIG,
    ),
    "m_correction": MethodSpec(
        "M-correction (M-DYR-H)",
        "noisy+m_correction",
        build=build.m_correction,
        kind="label correction",
        source=_SOURCES["m-correction"],
        config=_ONE_CONFIG,
    ),
    "focal": _loss("long tail", "focal", "focal loss", "focal", build.focal),
    "cb_focal": _loss(
        "long tail",
        "cb_focal",
        "class-balanced focal loss",
        "class-balanced",
        build.cb_focal,
        reads_counts=True,
    ),
    "ldam": _loss(
        "long tail",
        "ldam",
        "LDAM",
        "ldam",
        build.ldam,
        reads_counts=True,
        scales_logits=True,
        config=_LDAM_CONFIG,
    ),
    "ldam_drw": _loss(
        "long tail",
        "ldam_drw",
        "LDAM-DRW",
        "ldam",
        build.ldam_drw,
        reads_counts=True,
        scales_logits=True,
        config=_LDAM_CONFIG,
    ),
    "mwnet_ldam": _weights(
        "MW-Net, LDAM",
        "mwnet",
        build.mwnet("mwnet_ldam", build.ldam, scaled=True),
        config=_LDAM_CONFIG,
        reads_counts=True,
        scales_logits=True,
    ),
    "mwnet_ldam_drw": _weights(
        "MW-Net, LDAM-DRW",
        "mwnet",
        build.mwnet("mwnet_ldam_drw", build.ldam_drw, scaled=True),
        config=_LDAM_CONFIG,
        reads_counts=True,
        scales_logits=True,
    ),
    "mwnet_pseudo_clean": _two("MW-Net, pseudo-clean (Alg. 2)", "famus", _MWNET, learns=True),
    "l2r_pseudo_clean": _two("L2R, pseudo-clean (Alg. 2)", "famus", build.l2r, learns=True),
    "mixmatch_pseudo_clean": _two(
        "MixMatch, weights, pseudo-clean",
        "famus",
        build.mixmatch(reweight=True),
        batches="mixed",
        learns=True,
    ),
    "dividemix": _two(
        "MixMatch, pseudo-clean (DivideMix)",
        "dividemix",
        build.mixmatch(reweight=False),
        batches="mixed",
    ),
    "clean": _baseline("clean labels (bound)", "clean"),
}
