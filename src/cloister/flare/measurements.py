# SPDX-License-Identifier: Apache-2.0
"""What the sites measured since they were last asked."""

from __future__ import annotations

from collections.abc import Mapping

from cloister.aggregation import mean_of_metrics, median_of_metrics

_TRAIN_LOSS = "train_loss"


class Measurements:
    """Metrics of the weights as the sites had them, and of the training that followed.

    Args:
        alike: whether every site counts alike, as it does under rules that bear bad sites: those would choose the round
            by claiming records, and what they measured on them.
    """

    def __init__(self, *, alike: bool = False) -> None:
        self._together = median_of_metrics if alike else mean_of_metrics
        self._measured: dict[str, tuple[Mapping[str, float], int]] = {}
        self._losses: dict[str, tuple[Mapping[str, float], int]] = {}

    def __len__(self) -> int:
        """How many sites measured."""
        return len(self._measured)

    def add(self, site: str, metrics: Mapping[str, float], validation: int, trained: int | None) -> dict[str, float]:
        """Note what ``site`` measured; returns its metrics of the weights as they came.

        Args:
            site: its name.
            metrics: by name.
            validation: records that it measured on.
            trained: records that it trained on; None where it only measured.
        """
        of_weights = dict(metrics)
        if trained is not None and _TRAIN_LOSS in of_weights:
            self._losses[site] = ({_TRAIN_LOSS: of_weights.pop(_TRAIN_LOSS)}, trained)
        self._measured[site] = (of_weights, validation)
        return of_weights

    def together(self) -> dict[str, float]:
        """Of all sites: the mean by records measured on, or the median where they count alike."""
        return self._together(self._measured)

    def by_site(self) -> dict[str, dict[str, float]]:
        """Of each site, sorted by name."""
        return {site: dict(metrics) for site, (metrics, _) in sorted(self._measured.items())}

    def train_loss(self) -> float | None:
        """Of all sites likewise, by records trained on; None where no site tells it."""
        return self._together(self._losses).get(_TRAIN_LOSS)
