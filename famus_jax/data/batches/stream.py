"""What a training loop needs to know of data."""

from __future__ import annotations

from typing import Protocol

import jax


class Stream(Protocol):
    """What the training loop needs to know of data."""

    def batch(self, step: int) -> dict[str, jax.Array]:
        """The batch at `step`, always the same for the same stream.

        Returns:
          {"image": float32[n, H, W, C], "label": int32[n], "index": int32[n]}; `index` is the
          position in the arrays that the stream was built from.
        """
        ...
