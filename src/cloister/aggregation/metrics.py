# SPDX-License-Identifier: Apache-2.0
"""What sites measured, as one number for all of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

Measured = Mapping[str, tuple[Mapping[str, float], int]]
"""By site, its metrics and the number of validation records behind them."""


def mean_of_metrics(measured: Measured) -> dict[str, float]:
    """Mean of each metric over the sites that gave it, weighted by their validation records."""
    totals: dict[str, list[float]] = {}
    # In the sites' order, so that which of them came first does not show in the last bit.
    for _, (metrics, records) in sorted(measured.items()):
        for name, value in metrics.items() if records > 0 else ():
            sums = totals.setdefault(name, [0.0, 0.0])
            sums[0] += value * records
            sums[1] += records
    return {name: total / records for name, (total, records) in sorted(totals.items())}


def median_of_metrics(measured: Measured) -> dict[str, float]:
    """Median of each metric over the sites that gave it, every site alike that measured on anything.

    Of an even number the mean of the middle two. As long as most sites are good it lies between values of good ones,
    whatever the others claim to have measured, and on however many records.
    """
    values: dict[str, list[float]] = {}
    for metrics, records in measured.values():
        for name, value in metrics.items() if records > 0 else ():
            values.setdefault(name, []).append(value)
    return {name: float(statistics.median(found)) for name, found in sorted(values.items())}
