"""What a step costs, in units of a plain SGD step, from the layer groups alone.

Symbols: F = one forward pass over the training batch (a plain step is 3 F), s = the share of the
network's cost at or above the lowest active group, ρ = meta batch size / training batch size,
p = the part of the training batch that the meta gradient is taken on.
"""

from __future__ import annotations


def step_cost(
    lookahead: str,
    share: float,
    rho: float,
    *,
    stationary: bool = False,
    part: float = 1.0,
    products: float | None = None,
) -> float:
    """Forward and backward passes of one meta step over those of a plain step.

    Args:
      lookahead: `"full"`, `"active_only"` or `"one_pass"`.
      share: s, in [0, 1].
      rho: ρ.
      stationary: the virtual step does not move (L2R), so that no virtual backward pass is run.
      part: p; below 1 the part has a forward pass of its own.
      products: the sum of s over all forward-mode products; one product, hence s, by default.
    """
    actual, own_forward = 3.0, part if part < 1 else 0.0
    meta = rho + 2 * share * rho
    push = 2 * (share if products is None else products) * part
    virtual_backward = {"full": 2.0, "active_only": 2 * share, "one_pass": 0.0}[lookahead] * part
    if stationary:
        virtual_backward = 0.0
    return (actual + own_forward + virtual_backward + meta + push) / 3
