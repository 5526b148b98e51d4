"""Every method of a table: how it is built, what it trains on, where it comes from.

This table, the method's own file in the package of methods and a builder (in `method_builders`, or
right here) are all that a method touches; a section of values, if it has some of its own, goes to
`method_values`. `famus methods` shows the table.
"""

from __future__ import annotations

from famus_jax.train import method_builders as build
from famus_jax.train.method_builders import Builder
from famus_jax.train.method_spec import Kind, MethodSpec

__all__ = ["METHODS", "MethodSpec"]

_SOURCES = {
    "famus": "Xu et al., CVPR 2021, https://arxiv.org/abs/2104.15092",
    "mwnet": "Shu et al., NeurIPS 2019, https://arxiv.org/abs/1902.07379",
    "l2r": "Ren et al., ICML 2018, https://arxiv.org/abs/1803.09050",
    "mlc": "Wang et al., CVPR 2020, https://doi.org/10.1109/CVPR42600.2020.00458",
    "robust mwnet": "Ghosh and Lan, WACV 2021, https://arxiv.org/abs/2104.09045",
    "clid": "Hu et al., KDD 2025, https://arxiv.org/abs/2507.11807",
    "cmwnet": "Shu et al., TPAMI 2023, https://arxiv.org/abs/2202.05613",
    "label correction": "Zheng et al., AAAI 2021, https://arxiv.org/abs/1911.03809",
    "confident learning": "Northcutt et al., JAIR 2021, https://arxiv.org/abs/1911.00068",
    "co-teaching": "Han et al., NeurIPS 2018, https://arxiv.org/abs/1804.06872",
    "elr": "Liu et al., NeurIPS 2020, https://arxiv.org/abs/2007.00151",
    "m-correction": "Arazo et al., ICML 2019, https://arxiv.org/abs/1904.11238",
    "sop": "Liu et al., ICML 2022, https://arxiv.org/abs/2202.14026",
    "gce": "Zhang and Sabuncu, NeurIPS 2018, https://arxiv.org/abs/1805.07836",
    "sce": "Wang et al., ICCV 2019, https://arxiv.org/abs/1908.06112",
    "apl": "Ma et al., ICML 2020, https://arxiv.org/abs/2006.13554",
    "mae": "Ghosh et al., AAAI 2017, https://arxiv.org/abs/1712.09482",
    "smoothing": "Lukasik et al., ICML 2020, https://arxiv.org/abs/2003.02819",
    "bootstrapping": "Reed et al., ICLR 2015 workshop, https://arxiv.org/abs/1412.6596",
    "mixup": "Zhang et al., ICLR 2018, https://arxiv.org/abs/1710.09412",
    "mentornet": "Jiang et al., ICML 2018, https://arxiv.org/abs/1712.05055",
    "mentormix": "Jiang et al., ICML 2020, https://arxiv.org/abs/1911.09781",
    "focal": "Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002",
    "class-balanced": "Cui et al., CVPR 2019, https://arxiv.org/abs/1901.05555",
    "ldam": "Cao et al., NeurIPS 2019, https://arxiv.org/abs/1906.07413",
    "dividemix": "Li et al., ICLR 2020, https://arxiv.org/abs/2002.07394",
}


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
        title, build=builder, kind="memory", source=_SOURCES[source], remembers=True, **more
    )


def _loss(kind: Kind, name: str, title: str, source: str, loss: build.Loss, **more) -> MethodSpec:
    """Plain training on a loss."""
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
        **more,
    )


_MWNET = build.mwnet("mwnet", build.cross_entropy)

METHODS: dict[str, MethodSpec] = {
    "ce": MethodSpec("cross-entropy"),
    "ce_early_stop": MethodSpec("CE, stopped on noisy validation", needs="ce", early_stop=True),
    "trusted_only": MethodSpec("trusted set only", "trusted"),
    "noisy_plus_trusted": MethodSpec("noisy + trusted (oversampled)", "noisy+trusted"),
    "finetune": MethodSpec("CE, fine-tuned on trusted", "trusted", needs="ce"),
    "mended": MethodSpec(
        "CE on labels that an audit mends",
        "mended",
        kind="label correction",
        source=_SOURCES["confident learning"],
    ),
    "mwnet": _weights("MW-Net", "mwnet", _MWNET),
    "l2r": _weights("L2R", "l2r", build.l2r),
    "cmwnet": _weights("CMW-Net (class-aware)", "cmwnet", build.cmwnet, reads_counts=True),
    "mwnet_features": _weights(
        "MW-Net, loss and features", "mwnet", build.mwnet_features, reads_features=True
    ),
    "mwnet_noisy_meta": _weights(
        "MW-Net, noisy meta set (MAE)",
        "robust mwnet",
        build.mwnet("mwnet_noisy_meta", build.cross_entropy),
        meta_loss="mae",
        meta_examples="noisy",
    ),
    "mwnet_clid": _weights(
        "MW-Net, CLID",
        "clid",
        build.mwnet("mwnet_clid", build.cross_entropy),
        meta_loss="clid",
        meta_examples="noisy",
        reads_features=True,
    ),
    "mwnet_small_loss": _weights(
        "MW-Net, small losses as meta set",
        "cmwnet",
        build.mwnet("mwnet_small_loss", build.cross_entropy),
        meta_examples="small_loss",
        remembers=True,
    ),
    "mlc": _correction("MLC (transition matrix)", "mlc", build.mlc),
    "mlc_after_ce": _correction("MLC, after CE", "mlc", build.mlc, needs="ce"),
    "meta_label_correction": _correction(
        "meta label correction",
        "label correction",
        build.meta_label_correction,
        reads_features=True,
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
    ),
    "co_teaching": MethodSpec(
        "Co-teaching",
        build=build.co_teaching,
        kind="selection",
        source=_SOURCES["co-teaching"],
        networks=2,
    ),
    "mixup": _loss("mixing", "mixup", "mixup", "mixup", build.soft, batches="noisy+mixup"),
    "mentormix": MethodSpec(
        "MentorMix",
        "noisy+mentormix",
        build=build.mentormix,
        kind="mixing",
        source=_SOURCES["mentormix"],
    ),
    "m_correction": MethodSpec(
        "M-correction (M-DYR-H)",
        "noisy+m_correction",
        build=build.m_correction,
        kind="label correction",
        source=_SOURCES["m-correction"],
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
        "long tail", "ldam", "LDAM", "ldam", build.ldam, reads_counts=True, scales_logits=True
    ),
    "ldam_drw": _loss(
        "long tail",
        "ldam_drw",
        "LDAM-DRW",
        "ldam",
        build.ldam_drw,
        reads_counts=True,
        scales_logits=True,
    ),
    "mwnet_ldam": _weights(
        "MW-Net, LDAM",
        "mwnet",
        build.mwnet("mwnet_ldam", build.ldam, scaled=True),
        reads_counts=True,
        scales_logits=True,
    ),
    "mwnet_ldam_drw": _weights(
        "MW-Net, LDAM-DRW",
        "mwnet",
        build.mwnet("mwnet_ldam_drw", build.ldam_drw, scaled=True),
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
    "clean": MethodSpec("clean labels (bound)", "clean"),
}
