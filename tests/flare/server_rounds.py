# SPDX-License-Identifier: Apache-2.0
"""The server's rounds of a job, for tests that play all of its sites."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cloister.documents import Document
from cloister.flare.exchange import Prepared, TaskName, Update
from cloister.flare.rounds import Rounds
from cloister.jobs import AdapterLayout, Job
from cloister.jobs.adapter import Arrays, TensorSpec
from tests.flare.wire_form import encoded

LAYOUT = AdapterLayout((TensorSpec("a", (2, 3), "uniform"), TensorSpec("b", (4,), "zeros")), ("classifier",))


OTHER = AdapterLayout((TensorSpec("a", (2, 4), "uniform"),), ("classifier",))


SITES = ["alpha", "beta", "gamma"]


def prepared(training: int = 18, validation: int = 6, layout: AdapterLayout = LAYOUT, **changes: Any) -> Prepared:
    announced = Prepared(
        training=training,
        validation=validation,
        view="0" * 64,
        policy="1" * 64,
        sandbox="bubblewrap",
        layout=layout.to_json(),
    )
    return announced.model_copy(update=changes)


def update_of(number: int, *, records: int = 18, **metrics: float) -> Update:
    """A site's answer; measured half of its records right where nothing else is said."""
    sound = Update(round=number, records=records, metrics={"accuracy": 0.5}, restarts=0)
    return sound.model_copy(update={"metrics": metrics}) if metrics else sound


def tensors(fill: float = 0.0, layout: AdapterLayout = LAYOUT) -> bytes:
    return encoded({tensor.name: np.full(tensor.shape, fill, np.float32) for tensor in layout.tensors}, layout)


def with_value(value: float) -> bytes:
    """An update whose sender did not look at its values."""
    sound = tensors(1.5)
    assert sound.endswith(np.float32(1.5).tobytes())
    return sound[:-4] + np.float32(value).tobytes()


def open_rounds(job: Document[Job], folder: Path, *, sites: list[str] | None = None) -> Rounds:
    return Rounds(job, "an-id", SITES if sites is None else sites, folder / "cloister")


def begun(job: Document[Job], folder: Path, training: dict[str, int] | None = None) -> Rounds:
    """Rounds whose sites are prepared, each with its number of training records."""
    counts = training or dict.fromkeys(SITES, 18)
    rounds = open_rounds(job, folder, sites=list(counts))
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    for site, count in counts.items():
        assert rounds.take(site, prepared(count), b"")
    rounds.begin()
    return rounds


def opened(rounds: Rounds) -> int:
    """The next round, opened and asked for."""
    number = rounds.next_round()
    assert number is not None
    rounds.ask(TaskName.TRAIN, number, rounds.taking_part)
    return number


def finished(rounds: Rounds, accuracies: list[float], last: float, metric: str = "accuracy") -> dict[str, Any]:
    """Run all rounds with what every site measures in each; returns the result."""
    for value in accuracies:
        number = opened(rounds)
        for site in rounds.taking_part:
            measured = update_of(number, **{metric: value})
            assert rounds.take(site, measured, tensors(1.0)), rounds.progress()
        rounds.finish_round()
    assert rounds.next_round() is None
    rounds.ask(TaskName.EVALUATE, rounds.last + 1, rounds.taking_part)
    for site in rounds.taking_part:
        assert rounds.take(site, update_of(rounds.last + 1, **{metric: last}), b"")
    rounds.finish()
    return dict(json.loads((rounds._files.folder / "result.json").read_text()))


def state(rounds: Rounds, site: str) -> tuple[str, str]:
    entry = rounds.progress()["sites"][site]
    return entry["state"], entry["reason"]


def adapter(rounds: Rounds) -> Arrays:
    return rounds._weights.current.arrays()
