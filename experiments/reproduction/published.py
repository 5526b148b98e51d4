"""What the FaMUS paper prints for CIFAR, as plain data, and which runs of ours stand beside it.

Web noise is in `published_web.py`, the page that the project started from in `seed_page.py`.

Xu, Zhu, Jiang, Yang: Faster Meta Update Strategy for Noise-Robust Deep Learning, CVPR 2021,
https://arxiv.org/abs/2104.15092. Best test accuracy in %; milliseconds per step on one V100.

A run of ours belongs to a number if its experiment has the setting of the named config (all but what is
no part of the setting, see `reproduction.py`), its method and exactly its estimator.
"""

from __future__ import annotations

from typing import Any, NamedTuple

EXACT: dict[str, Any] = {"kind": "all_layers"}
EIGHTH: dict[str, Any] = {**EXACT, "examples": 13}  # of 100
GATES: dict[str, Any] = {"kind": "learned_gates", "preset": "paper", "lag": 2}
TAIL_GATES: dict[str, Any] = {**GATES, "learning_rate": 0.01}
HEAD: dict[str, Any] = {"kind": "last_layers", "k": 1, "virtual_step": "active"}
NONE: dict[str, Any] = {}
LAST_BLOCKS: dict[int, dict[str, Any]] = {
    b: {"kind": "last_layers", "k": k} for b, k in ((4, 21), (8, 12), (12, 3))
}


class Row(NamedTuple):
    """One method of a table.

    Attributes:
      label: as printed, or our own words for a row that only we have.
      values: what the paper prints, a number per column, None where it prints none.
      method, estimator: of our runs; method "" if no config of ours is this row.
      config: of our runs, with `{}` for the column's key; e.g. `"table1.py:cifar10_mwnet_{}"`.
      ms: milliseconds per step, if printed.
      spread: the ± that the paper prints, per column.
    """

    label: str
    values: tuple[float | None, ...]
    method: str = ""
    estimator: dict[str, Any] = NONE
    config: str = ""
    ms: int | None = None
    spread: tuple[float, ...] = ()


class Table(NamedTuple):
    """One table: `keys` go into the rows' configs, `columns` into the headings.

    Attributes:
      metrics: what of a run's row each column shows, "" for what is not measured here; () for the best
        test accuracy in all.
    """

    title: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    metrics: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What `--table` calls it: "1" for "Table 1, CIFAR-10: ...", "clothing1m"."""
        return self.title.removeprefix("Table ").split(",")[0].split(":")[0].split()[0].lower()


def _table1(data: str, mwnet, mwnet_famus, l2r, l2r_famus) -> Table:
    a, b = f"table1.py:{data}_mwnet_{{}}", f"table1.py:{data}_l2r_{{}}"
    no = (None, None, None)
    return Table(
        f"Table 1, {data.upper().replace('CIFAR', 'CIFAR-')}: symmetric noise, WideResNet-28-10",
        ("20 %", "40 %", "60 %"),
        ("20", "40", "60"),
        (
            Row("MW-Net", mwnet, "mwnet", EXACT, a, 933),
            Row("MW-Net + FaMUS", mwnet_famus, "mwnet", GATES, a, 284),
            Row("L2R", l2r, "l2r", EXACT, b, 839),
            Row("L2R + FaMUS", l2r_famus, "l2r", GATES, b, 244),
            Row("ours only: MW-Net, last layer, active step", no, "mwnet", HEAD, a),
            Row(
                "ours only: MW-Net, all layers, an eighth of the examples",
                no,
                "mwnet",
                {**EXACT, "examples": 13},
                a,
            ),
            Row("ours only: cross-entropy", no, "ce", NONE, a),
            Row("ours only: noisy + trusted", no, "noisy_plus_trusted", NONE, a),
            Row("ours only: fine-tuned on trusted", no, "finetune", NONE, a),
            Row("ours only: clean labels (bound)", no, "clean", NONE, a),
        ),
    )


def _table3() -> Table:
    c = "table3.py:{}"
    alone, both = {"lambda_r": 0.0}, {"lambda_r": 0.0, "lambda_g": 0.0}
    return Table(
        "Table 3: the losses of the gates, 60 % noise",
        ("CIFAR-10", "CIFAR-100"),
        ("cifar10", "cifar100"),
        (
            Row("L_c (MW-Net, all layers)", (84.5, 61.7), "mwnet", EXACT, c, 933),
            Row("L_c + L_g", (85.2, 62.2), "mwnet", {**GATES, **alone}, c, 446),
            Row("L_c + L_r", (85.3, 62.0), "mwnet", {**GATES, "lambda_g": 0.0}, c, 275),
            Row("all three", (85.8, 62.9), "mwnet", GATES, c, 284),
            Row("ours only: gates, L_c", (None, None), "mwnet", {**GATES, **both}, c),
        ),
        "The paper's L_c has the number and the time of MW-Net, so it stands for all layers.",
    )


def _table4() -> Table:
    c = "table4.py:cifar100_{}"

    def groups(s: int) -> dict[str, Any]:
        return {"kind": "random_layers", "s": s}

    return Table(
        "Table 4, CIFAR-100: which layers, 60 % noise",
        ("60 %",),
        ("60",),
        (
            Row("MW-Net, all layers", (61.7,), "mwnet", EXACT, c, 933),
            *(
                Row(f"last blocks, b = {b}", (value,), "mwnet", LAST_BLOCKS[b], c, ms)
                for b, value, ms in ((4, 60.8, 718), (8, 61.9, 569), (12, 61.4, 326))
            ),
            Row("random, s = 4", (61.2,), "mwnet", groups(4), c, 764),
            Row("random, s = 8", (61.6,), "mwnet", groups(8), c, 826),
            Row("random, s = 16", (62.1,), "mwnet", groups(16), c, 899),
            Row("FaMUS", (62.9,), "mwnet", GATES, c, 284),
        ),
        "The paper does not say what b counts. Its times fall with b, so we read it as the lowest of "
        "the twelve blocks that is active.",
    )


def _table5(data: str, rows: tuple[tuple[str, float, float], ...], famus, spread, supplement):
    pair = f"table5.py:{data}_{{}}"
    ours: dict[str, tuple[str, dict[str, Any], str]] = {
        label: (method, NONE, f"{pair}_mentormix")
        for label, method in (
            ("MentorNet", "mentornet"),
            ("Mixup", "mixup"),
            ("MentorMix", "mentormix"),
        )
    }
    (dividemix, mwnet_pc), (l2r, mwnet) = supplement
    return Table(
        f"Table 5 and supplement Table 2, {data.upper().replace('CIFAR', 'CIFAR-')}: symmetric noise",
        ("40 %", "60 %"),
        ("40", "60"),
        (
            *(Row(label, (a, b), *ours.get(label, ("", NONE, ""))) for label, a, b in rows),
            Row("L2R", l2r, "l2r", EXACT, f"table1.py:{data}_l2r_{{}}"),
            Row("MW-Net", mwnet, "mwnet", EXACT, f"table1.py:{data}_mwnet_{{}}"),
            Row("DivideMix, re-run", dividemix, "dividemix", NONE, pair),
            Row("MW-Net + pseudo-clean", mwnet_pc, "mwnet_pseudo_clean", EXACT, pair),
            Row("FaMUS", famus, "mixmatch_pseudo_clean", GATES, pair, spread=spread),
        ),
        "The paper cites all rows from others but L2R, MW-Net, the re-run, pseudo-clean and FaMUS.",
    )


def _table8(data: str, printed: dict[str, tuple[float | None, ...]]) -> Table:
    plain, ldam = f"table8.py:{data}_{{}}", f"table8.py:{data}_{{}}_ldam"
    ours: dict[str, tuple[str, dict[str, Any], str]] = {
        "cross-entropy": ("ce", NONE, plain),
        "focal": ("focal", NONE, plain),
        "class-balanced focal": ("cb_focal", NONE, plain),
        "LDAM-DRW": ("ldam_drw", NONE, ldam),
        "MW-Net": ("mwnet", EXACT, plain),
        "FaMUS, CE": ("mwnet", TAIL_GATES, plain),
        "FaMUS, LDAM": ("mwnet_ldam", TAIL_GATES, ldam),
    }
    return Table(
        f"Table 8, {data.upper().replace('CIFAR', 'CIFAR-')}: long tails, ResNet-32",
        ("100", "50", "20", "10"),
        ("100", "50", "20", "10"),
        tuple(
            Row(label, values, *ours.get(label, ("", NONE, "")))
            for label, values in printed.items()
        ),
        "Columns: the largest class over the smallest. [16]: as the paper cites it.",
    )


TABLES = (
    _table1(
        "cifar10", (91.9, 89.6, 84.5), (92.9, 90.5, 85.8), (90.5, 86.9, 82.2), (91.3, 87.6, 82.8)
    ),
    _table1(
        "cifar100", (73.1, 68.1, 61.7), (73.6, 69.4, 62.9), (69.3, 62.8, 50.8), (70.7, 65.5, 51.6)
    ),
    Table(
        "Table 2, CIFAR-10: MLC, WideResNet-40-2",
        ("10 %", "20 %", "30 %", "40 %"),
        ("10", "20", "30", "40"),
        (
            Row("MLC", (85.23, 84.28, 82.10, 79.89), "mlc_after_ce", EXACT, "table2.py:{}", 265),
            Row(
                "MLC + FaMUS",
                (87.28, 85.00, 82.65, 80.41),
                "mlc_after_ce",
                GATES,
                "table2.py:{}",
                84,
            ),
        ),
    ),
    _table3(),
    _table4(),
    _table5(
        "cifar10",
        (
            ("Co-teaching", 74.81, 73.06),
            ("MentorNet", 91.2, 74.2),
            ("Mixup", 91.5, 86.8),
            ("M-correction", 92.8, 90.3),
            ("MentorMix", 94.2, 91.3),
            ("DivideMix, as cited", 94.9, 94.3),
        ),
        (95.37, 94.97),
        (0.15, 0.11),
        (((95.06, 94.46), (93.64, 92.91)), ((86.92, 82.24), (89.60, 84.49))),
    ),
    _table5(
        "cifar100",
        (
            ("Co-teaching", 46.20, 35.67),
            ("MentorNet", 66.8, 58.8),
            ("Mixup", 66.8, 58.8),
            ("M-correction", 70.1, 59.5),
            ("MentorMix", 71.3, 64.6),
            ("DivideMix, as cited", 75.2, 72.0),
        ),
        (75.91, 73.58),
        (0.19, 0.28),
        (((75.15, 71.41), (74.61, 70.55)), ((62.81, 50.81), (68.11, 61.71))),
    ),
    _table8(
        "cifar10",
        {
            "cross-entropy": (70.36, 74.81, 82.23, 86.39),
            "focal": (70.38, 76.71, 82.76, 86.66),
            "class-balanced focal": (74.57, 79.27, 84.36, 87.49),
            "LDAM-DRW": (77.03, None, None, 88.16),
            "BBN": (79.82, 82.18, None, 88.32),
            "L2R": (74.16, 78.93, 82.12, 85.19),
            "MW-Net": (75.21, 80.06, 84.94, 87.84),
            "[16], CE": (76.41, 80.51, 86.46, 88.85),
            "[16], LDAM": (80.00, 82.34, 84.37, 87.40),
            "FaMUS, CE": (79.30, 83.15, 87.15, 89.39),
            "FaMUS, LDAM": (80.96, 83.32, 86.24, 87.90),
        },
    ),
    _table8(
        "cifar100",
        {
            "cross-entropy": (38.32, 43.85, 51.14, 55.71),
            "L2R": (40.23, 44.44, 51.64, 53.73),
            "MW-Net": (42.09, 46.74, 54.37, 58.46),
            "[16], CE": (43.35, 48.53, 55.62, 59.58),
            "[16], LDAM": (44.08, 49.16, 52.38, 58.00),
            "FaMUS, CE": (45.60, 49.56, 56.22, 60.42),
            "FaMUS, LDAM": (46.03, 49.93, 55.95, 59.03),
        },
    ),
)
