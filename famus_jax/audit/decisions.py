"""What a person decided about labels: `decisions.csv`, as the page saves it.

Columns `id`, `label` (the given one), `decision` ("right", "wrong" or "relabel") and `new_label` (of a
"relabel", else empty). "wrong" says that the label is wrong, and not which one is right.
"""

from __future__ import annotations

COLUMNS = ("id", "label", "decision", "new_label")
RIGHT, WRONG, RELABEL = "right", "wrong", "relabel"
