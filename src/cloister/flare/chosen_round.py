# SPDX-License-Identifier: Apache-2.0
"""Which round's weights become a job's result: those that measured best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloister.errors import JobError
from cloister.jobs import Selection


@dataclass
class ChosenRound:
    """The best weights so far.

    Attributes:
        by: how the job chooses; None where it trains nothing.
        version: number of the round that made them, 0 for the first weights; None before any were measured.
        value: of the metric that rounds are chosen by.
        config: what is said beside them in the result.
    """

    by: Selection | None
    version: int | None = None
    value: float = 0.0
    config: Mapping[str, Any] = field(default_factory=dict)

    def measured(self, version: int, metrics: Mapping[str, float], keep: Callable[[], dict[str, Any]]) -> None:
        """Keep weights if they measured best so far; the first of equals stays.

        Args:
            version: of the weights.
            metrics: what all sites measured of them together.
            keep: writes them down, and returns what is said beside them.

        Raises:
            JobError: where the job trains nothing.
        """
        if self.by is None:
            raise JobError("the job trains nothing, and no round can be chosen")
        value = metrics.get(self.by.metric)
        if value is None:
            return
        better = value > self.value if self.by.mode == "maximum" else value < self.value
        if self.version is None or better:
            self.config = keep()
            self.version, self.value = version, value

    def to_json(self) -> dict[str, Any]:
        """As a result tells it.

        Raises:
            JobError: where nothing was measured that could be chosen by.
        """
        if self.by is None or self.version is None:
            metric = "anything" if self.by is None else f"`{self.by.metric}`"
            message = f"no site may tell {metric}, so no round can be chosen"
            raise JobError(message, hint="every site's policy must list the metric under `may_leave`")
        return {"round": self.version, "metric": self.by.metric, "value": self.value}
