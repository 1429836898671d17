# SPDX-License-Identifier: Apache-2.0
"""The interface of what the server makes of a combined update: the step that is added to the weights.

All of them see the combined update as the negative of a gradient (https://arxiv.org/abs/2003.00295, algorithm 1), treat
each value by itself, in float64, and keep what they must in float32 in a `State`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from cloister.aggregation.optimiser_state import State
from cloister.vectors import Vector

_LARGEST = np.finfo(np.float32).max


class ServerOptimiser(ABC):
    """What the server makes of the combined update.

    Args:
        state: what is kept from round to round; for one kind of vector, since blocks are known by their number alone.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    @abstractmethod
    def step(self, block: int, combined: Vector) -> Vector:
        """What is to be added to the weights of ``block``.

        Args:
            block: its number, from 0; each once in a round, in any order.
            combined: the combined update's values there, float32, finite; left as it is.

        Returns:
            As many values, float32, finite.

        Raises:
            JobError: where the state is not one of such a block.
        """

    def commit(self) -> None:
        """End the round, after every block's step; without it the round counts as one that never was."""
        self._state.commit()

    def _get(self, name: str, block: int, size: int, first: float = 0.0) -> npt.NDArray[np.float64]:
        found = self._state.get(name, block, size)
        return np.full(size, first) if found is None else found.astype(np.float64)

    def _put(self, name: str, block: int, values: npt.NDArray[np.float64]) -> None:
        self._state.put(name, block, as_float32(values))


class Added(ServerOptimiser):
    """The combined update as it is, which is a step of plain gradient descent with rate 1."""

    def step(self, block: int, combined: Vector) -> Vector:  # noqa: ARG002
        """See `ServerOptimiser`."""
        return combined


def as_float32(values: npt.NDArray[np.float64]) -> Vector:
    """``values`` rounded; what is too large for float32 becomes its largest."""
    return np.clip(values, -_LARGEST, _LARGEST).astype(np.float32)
