# SPDX-License-Identifier: Apache-2.0
"""What is told of a job while it runs."""

from __future__ import annotations

import json
from pathlib import Path

from cloister.documents import Document
from cloister.flare.exchange import TaskName
from cloister.jobs import Job
from tests.flare.server_rounds import (
    SITES,
    begun,
    open_rounds,
    opened,
    tensors,
    update_of,
)


def test_a_late_answer_is_counted_and_changes_nothing(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    opened(rounds)
    before = rounds.progress()
    rounds.record.late("beta")
    rounds.record.late("a-stranger")
    after = rounds.progress()
    assert after["sites"]["beta"]["late"] == 1
    after["sites"]["beta"]["late"] = 0
    assert after | {"seconds": 0} == before | {"seconds": 0}


def test_what_travelled_is_told_by_site_and_by_round(job: Document[Job], tmp_path: Path) -> None:
    rounds = begun(job, tmp_path)
    for number, received in ((1, 1000), (2, 1700)):
        assert opened(rounds) == number
        for site in ("alpha", "beta"):
            rounds.take(site, update_of(number), tensors(1.0))
        rounds.record.travelled({"alpha": (received, 50), "a-stranger": (9, 9)})
        rounds.finish_round()
    progress = rounds.progress()
    assert progress["sites"]["alpha"]["socket"] == {"received": 1700, "sent": 50}
    assert progress["sites"]["beta"]["socket"] is None
    assert [entry["socket"] for entry in progress["history"]] == [
        {"alpha": {"received": 1000, "sent": 50}},
        {"alpha": {"received": 700, "sent": 0}},
    ]


def test_progress_is_plain_json_at_any_time(job: Document[Job], tmp_path: Path) -> None:
    rounds = open_rounds(job, tmp_path)
    for _ in range(2):
        assert json.loads(json.dumps(rounds.progress(), allow_nan=False))["rounds"] == 2
        rounds.ask(TaskName.PREPARE, 0, SITES)
