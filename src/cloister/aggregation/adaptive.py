# SPDX-License-Identifier: Apache-2.0
"""Adam, Yogi and Adagrad at the server (FedOpt, https://arxiv.org/abs/2003.00295, algorithm 2).

With d the combined update, per value: m becomes beta1 m + (1 - beta1) d; the second moment v, the floor's square at
first, becomes what makes the three differ; the step is rate × m / (sqrt(v) + floor). As in the paper there is no
correction of the first rounds' bias.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from cloister.aggregation.optimiser_state import State
from cloister.aggregation.server_optimiser import ServerOptimiser, as_float32
from cloister.vectors import Vector

_Values = npt.NDArray[np.float64]


class Adaptive(ServerOptimiser):
    """What the three have in common.

    Args:
        state: see `ServerOptimiser`.
        learning_rate: eta.
        floor: tau.
        beta1: share of the former m.
        beta2: share of the former v.
    """

    def __init__(
        self, state: State, *, learning_rate: float, floor: float, beta1: float = 0.0, beta2: float = 0.0
    ) -> None:
        super().__init__(state)
        self._rate, self._floor, self._beta1, self._beta2 = learning_rate, floor, beta1, beta2

    def step(self, block: int, combined: Vector) -> Vector:
        """See `ServerOptimiser`."""
        update = combined.astype(np.float64)
        first = self._first(block, update)
        second = self._second(self._get("second", block, combined.size, self._floor**2), update * update)
        self._put("second", block, second)
        return as_float32(self._rate * first / (np.sqrt(second) + self._floor))

    def _first(self, block: int, update: _Values) -> _Values:
        if not self._beta1:
            return update
        first = self._beta1 * self._get("first", block, update.size) + (1 - self._beta1) * update
        self._put("first", block, first)
        return first

    @abstractmethod
    def _second(self, former: _Values, square: _Values) -> _Values:
        """The second moment that follows ``former``, given the update's square."""


class Adam(Adaptive):
    """FedAdam: v becomes beta2 v + (1 - beta2) d²."""

    def _second(self, former: _Values, square: _Values) -> _Values:
        return self._beta2 * former + (1 - self._beta2) * square


class Yogi(Adaptive):
    """FedYogi: v becomes v - (1 - beta2) d² sign(v - d²); it grows as fast as Adam's and shrinks no faster than d²."""

    def _second(self, former: _Values, square: _Values) -> _Values:
        return former - (1 - self._beta2) * square * np.sign(former - square)


class Adagrad(Adaptive):
    """FedAdagrad: v becomes v + d²; with beta1 = 0, as in the paper's experiments, so it keeps v alone."""

    def _second(self, former: _Values, square: _Values) -> _Values:
        return former + square
