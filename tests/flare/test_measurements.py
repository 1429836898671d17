# SPDX-License-Identifier: Apache-2.0
"""What sites measure, all together."""

from __future__ import annotations

from pathlib import Path

from cloister.documents import Document
from cloister.flare.exchange import TaskName
from cloister.jobs import Job
from tests.flare.server_rounds import (
    open_rounds,
    opened,
    prepared,
    tensors,
    update_of,
)


def test_the_mean_of_metrics_is_weighted_by_validation_records(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path, sites=["alpha", "beta"])
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    rounds.take("alpha", prepared(18, validation=1), b"")
    rounds.take("beta", prepared(18, validation=3), b"")
    rounds.begin()
    number = opened(rounds)
    rounds.take("alpha", update_of(number, accuracy=1.0, train_loss=1.0), tensors())
    rounds.take("beta", update_of(number, accuracy=0.0, train_loss=2.0), tensors())
    rounds.finish_round()
    entry = rounds.progress()["history"][0]
    assert entry["before"] == {"accuracy": 0.25}
    assert entry["before_by_site"] == {"alpha": {"accuracy": 1.0}, "beta": {"accuracy": 0.0}}
    assert entry["train_loss"] == 1.5
