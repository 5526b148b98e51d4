"""What a step costs, in units of a plain SGD step, from the layer groups alone.

Symbols: F = one forward pass over the training batch (a plain step is 3 F), s = the share of the
network's cost at or above the lowest active group, ρ = meta batch size / training batch size.
"""

from __future__ import annotations


def step_cost(lookahead: str, share: float, rho: float, *, stationary: bool = False) -> float:
    """Forward and backward passes of one meta step over those of a plain step.

    Args:
      lookahead: `"full"`, `"active_only"` or `"one_pass"`.
      share: s, in [0, 1].
      rho: ρ.
      stationary: the virtual step does not move (L2R), so that no virtual backward pass is run.
    """
    forward, actual_backward, meta_forward = 1.0, 2.0, rho
    meta_backward, push = 2 * share * rho, 2 * share
    virtual_backward = {"full": 2.0, "active_only": 2 * share, "one_pass": 0.0}[lookahead]
    if stationary:
        virtual_backward = 0.0
    total = forward + virtual_backward + meta_forward + meta_backward + push + actual_backward
    return total / 3
