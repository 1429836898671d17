# SPDX-License-Identifier: Apache-2.0
"""What was seen of one null job, whoever ran it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

POLL_SECONDS = 0.2
"""How often it is asked whether a job has finished, of every peer alike."""


@dataclass(frozen=True)
class Run:
    """One job.

    Attributes:
        starts: when its sites began to train, by round from 1, seconds since the epoch.
        submitted: when it was, on that clock.
        finished: when it was known to be.
    """

    starts: dict[int, list[float]]
    submitted: float
    finished: float

    @property
    def seconds(self) -> float:
        """From submission to the finished result."""
        return self.finished - self.submitted

    @property
    def rounds(self) -> list[float]:
        """Seconds from the earliest start in each round to the earliest in the next, without the first round's."""
        numbers = sorted(self.starts)
        return [min(self.starts[after]) - min(self.starts[number]) for number, after in itertools.pairwise(numbers[1:])]

    @property
    def before(self) -> float:
        """Seconds from submission to the first training."""
        return min(self.starts[min(self.starts)]) - self.submitted

    @property
    def after(self) -> float:
        """Seconds from the last start of a training to the finished result."""
        return self.finished - max(self.starts[max(self.starts)])

    @classmethod
    def of(cls, told: dict[str, Any]) -> Run:
        """What the script of a peer printed."""
        starts = {int(number): [float(each) for each in times] for number, times in told["starts"].items()}
        return cls(starts, float(told["submitted"]), float(told["finished"]))

    def told(self) -> dict[str, Any]:
        """Seconds by name, for the file of results."""
        found = {"seconds": self.seconds, "before": self.before, "after": self.after}
        return {name: round(value, 3) for name, value in found.items()} | {
            "rounds": [round(seconds, 4) for seconds in self.rounds]
        }
