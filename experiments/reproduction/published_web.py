"""What the FaMUS paper prints for labels from the web, as plain data: Tables 6 and 7, Clothing1M.

Xu, Zhu, Jiang, Yang: Faster Meta Update Strategy for Noise-Robust Deep Learning, CVPR 2021,
https://arxiv.org/abs/2104.15092. `published.py` has the form, and CIFAR.
"""

from __future__ import annotations

from experiments.reproduction.published import GATES, NONE, Row, Table

_WEBVISION, _RED, _SHOP = "table6.py:webvision", "table7.py:{}", "clothing1m.py:clothing1m"

WEB_TABLES = (
    Table(
        "Table 6: mini-WebVision, Inception-ResNet-v2",
        ("WebVision top-1", "WebVision top-5", "ILSVRC12 top-1", "ILSVRC12 top-5"),
        ("webvision",) * 4,
        (
            Row("MW-Net", (74.52, 88.89, 72.60, 88.80)),
            Row("DivideMix", (77.32, 91.64, 75.20, 90.84), "dividemix", NONE, _WEBVISION),
            Row("MentorMix", (76.0, 90.2, 72.9, 91.1)),
            Row("FaMUS", (79.40, 92.80, 77.00, 92.76), "mixmatch_pseudo_clean", GATES, _WEBVISION),
        ),
        "MW-Net's trusted labels and MentorMix's settings are not published for this set, so no run of "
        "ours is those rows.",
        ("acc_best", "top5_best", "acc_best_second", "top5_best_second"),
    ),
    Table(
        "Table 7: Red Mini-ImageNet, 32x32",
        ("20 %", "40 %", "60 %", "80 %"),
        ("20", "40", "60", "80"),
        (
            Row("cross-entropy", (47.36, 42.70, 37.30, 29.76), "ce", NONE, _RED),
            Row("Mixup", (49.10, 46.40, 40.58, 33.58), "mixup", NONE, _RED),
            Row("DivideMix", (50.96, 46.72, 43.14, 34.50), "dividemix", NONE, _RED),
            Row("MentorMix", (51.02, 47.14, 43.80, 33.46), "mentormix", NONE, f"{_RED}_mentormix"),
            Row("FaMUS", (51.42, 48.06, 45.10, 35.50), "mixmatch_pseudo_clean", GATES, _RED),
        ),
    ),
    Table(
        "Clothing1M: ResNet-50, pretrained",
        ("accuracy",),
        ("clothing1m",),
        (
            Row("MLC", (71.06,)),
            Row("MW-Net", (73.72,)),
            Row("MentorMix", (74.30,)),
            Row("DivideMix, in its own paper", (74.76,), "dividemix", NONE, _SHOP),
            Row("FaMUS", (74.43,), "mixmatch_pseudo_clean", GATES, _SHOP),
        ),
        "No run of ours is MLC's, MW-Net's or MentorMix's row: see the config.",
    ),
)
