# SPDX-License-Identifier: Apache-2.0
"""The mean of the sites' updates, weighted by their records (FedAvg, https://arxiv.org/abs/1602.05629, algorithm 1).

Updates are added as they arrive, so memory does not grow with the number of sites. Sums are float64: their rounding
stays far below float32's, so that the order of arrival does not show in the result.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays


class WeightedMean:
    """A running sum of updates and weights for one round."""

    def __init__(self, layout: AdapterLayout) -> None:
        self._sums: dict[str, npt.NDArray[np.float64]] = {
            tensor.name: np.zeros(tensor.shape, np.float64) for tensor in layout.tensors
        }
        self._weight = 0.0
        self.updates = 0

    def add(self, update: Arrays, weight: float) -> None:
        """Add one site's update.

        Args:
            update: its tensors, float32, already checked against the layout.
            weight: number of training records behind it, above 0.

        Raises:
            ValueError: where the weight is not above 0.
        """
        if not weight > 0:
            raise ValueError("an update's weight must be above 0")
        for name in self._sums:
            self._sums[name] += update[name] * np.float64(weight)
        self._weight += weight
        self.updates += 1

    def applied_to(self, adapter: Arrays) -> Arrays:
        """``adapter`` plus the weighted mean, float32.

        Raises:
            ValueError: where no update was added.
        """
        if not self.updates:
            raise ValueError("no update was added")
        return {name: (adapter[name] + total / self._weight).astype(np.float32) for name, total in self._sums.items()}


def mean_of_metrics(measured: dict[str, tuple[dict[str, float], int]]) -> dict[str, float]:
    """Mean of each metric over the sites that gave it, weighted by their validation records.

    Args:
        measured: by site, its metrics and the number of validation records behind them.
    """
    totals: dict[str, list[float]] = {}
    # In the sites' order, so that which of them came first does not show in the last bit.
    for _, (metrics, records) in sorted(measured.items()):
        for name, value in metrics.items() if records > 0 else ():
            sums = totals.setdefault(name, [0.0, 0.0])
            sums[0] += value * records
            sums[1] += records
    return {name: total / records for name, (total, records) in sorted(totals.items())}
