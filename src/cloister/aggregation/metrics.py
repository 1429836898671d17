# SPDX-License-Identifier: Apache-2.0
"""The mean of what sites measured."""

from __future__ import annotations

from collections.abc import Mapping


def mean_of_metrics(measured: Mapping[str, tuple[Mapping[str, float], int]]) -> dict[str, float]:
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
