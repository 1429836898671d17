# SPDX-License-Identifier: Apache-2.0
"""Momentum of Nesterov's kind at the server, as DiLoCo's outer optimiser (https://arxiv.org/abs/2311.08105)."""

from __future__ import annotations

import numpy as np

from cloister.aggregation.optimiser_state import State
from cloister.aggregation.server_optimiser import ServerOptimiser, as_float32
from cloister.vectors import Vector


class Nesterov(ServerOptimiser):
    """The form of Sutskever et al. (ICML 2013), which is that of `torch.optim.SGD` with `nesterov`.

    With d the combined update, m the momentum and b what is kept, 0 at first: b becomes m b + d, and the step is
    rate × (d + m b).

    Args:
        state: see `ServerOptimiser`.
        learning_rate: of the step.
        momentum: m.
    """

    def __init__(self, state: State, *, learning_rate: float, momentum: float) -> None:
        super().__init__(state)
        self._rate, self._momentum = learning_rate, momentum

    def step(self, block: int, combined: Vector) -> Vector:
        """See `ServerOptimiser`."""
        update = combined.astype(np.float64)
        kept = self._momentum * self._get("momentum", block, combined.size) + update
        self._put("momentum", block, kept)
        return as_float32(self._rate * (update + self._momentum * kept))
