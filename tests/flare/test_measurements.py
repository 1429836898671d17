# SPDX-License-Identifier: Apache-2.0
"""What sites measure, all together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
from tests.flare.signed_jobs import job_of


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


@pytest.mark.parametrize("claimed", [0.0, 1.0])
def test_under_a_rule_that_bears_bad_sites_none_of_them_chooses_the_round(
    documents: Path, tmp_path: Path, claimed: float
) -> None:
    """One claims all records that there can be, and that the first weights alone are good, or all but those."""
    job = job_of(documents, aggregation={"rule": {"median": {}}}, federation={"minimum_sites": 3})
    rounds = open_rounds(job, tmp_path)
    rounds.ask(TaskName.PREPARE, 0, rounds.invited)
    for site, validation in {"alpha": 6, "beta": 7, "gamma": 1 << 53}.items():
        assert rounds.take(site, prepared(18, validation=validation), b"")
    rounds.begin()

    def take(number: int, payload: bytes) -> None:
        good, bad = 0.9 if number == 2 else 0.5, claimed if number == 1 else 1.0 - claimed
        for site, accuracy in {"alpha": good, "beta": good, "gamma": bad}.items():
            assert rounds.take(site, update_of(number, accuracy=accuracy), payload)

    for _ in range(rounds.last):
        take(opened(rounds), tensors(1.0))
        rounds.finish_round()
    rounds.ask(TaskName.EVALUATE, rounds.last + 1, rounds.taking_part)
    take(rounds.last + 1, b"")
    rounds.finish()
    result = json.loads((rounds._files.folder / "result.json").read_text())
    assert result["chosen"] == {"round": 1, "metric": "accuracy", "value": 0.9}
