# SPDX-License-Identifier: Apache-2.0
"""The table of null jobs: how long a round and a whole job took, and how many times as long as Cloister's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NVFLARE, TUNED, FLOWER, CLOISTER = (
    "NVFlare 2.9 FedAvg recipe",
    "the same, asking every 20 ms",
    "Flower 1.41 deployment",
    "Cloister",
)

Turn = dict[str, Any]
"""`load`, the machine's load average over the minute before, and `ways`: by name, what `Run.told` gives."""


@dataclass(frozen=True)
class Spread:
    """Median, least and most of what was measured in several turns."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def round_seconds(turn: Turn, way: str) -> float:
    """Of one turn: the median over its rounds, seconds."""
    return float(statistics.median(turn["ways"][way]["rounds"]))


def job_seconds(turn: Turn, way: str) -> float:
    """Of one turn: from submission to the finished result."""
    return float(turn["ways"][way]["seconds"])


def round_table(turns: Sequence[Turn]) -> str:
    """Markdown, and how many turns it is of. A turn's seconds per round are the median's; ratios are of one turn."""
    rows = [
        "| | s per round | least to most, s | times Cloister's | s per job | all jobs, s | times Cloister's job |",
        "|---|---|---|---|---|---|---|",
    ]
    for way in turns[0]["ways"]:
        cells = []
        for seconds, digits in ((round_seconds, 3), (job_seconds, 1)):
            took = Spread.of([seconds(turn, way) for turn in turns])
            times = Spread.of([seconds(turn, way) / seconds(turn, CLOISTER) for turn in turns])
            ratio = "" if way == CLOISTER else f"{times.median:.1f} ({times.least:.1f} to {times.most:.1f})"
            cells += [f"{took.median:.{digits}f}", f"{took.least:.{digits}f} to {took.most:.{digits}f}", ratio]
        rows.append(f"| {way} | {' | '.join(cells)} |")
    load = Spread.of([turn["load"] for turn in turns])
    several = "one turn" if len(turns) == 1 else f"{len(turns)} turns"
    said = f"Of {several}; the machine's load average before each was {load.least:.1f} to {load.most:.1f}."
    return "\n".join([*rows, "", said])
