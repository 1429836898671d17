# SPDX-License-Identifier: Apache-2.0
"""In which order sites are asked for what; tests/flare/test_controller.py has it with answers that come late."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cloister.errors import JobError
from cloister.flare.course import run_course
from cloister.flare.exchange import Prepared, Refusal, TaskName, Update
from cloister.flare.rounds import Rounds
from cloister.flare.task import Task
from cloister.jobs import AdapterLayout, TensorSpec
from tests.federation_folder import SITES, make_federation
from tests.flare.signed_jobs import job_of
from tests.flare.wire_form import encoded

LAYOUT = AdapterLayout((TensorSpec("a", (2, 3), "uniform"),), ("classifier",))


def prepared() -> Prepared:
    return Prepared(
        training=18, validation=6, view="0" * 64, policy="1" * 64, sandbox="bubblewrap", layout=LAYOUT.to_json()
    )


def test_sites_prepare_then_train_round_by_round_then_measure(tmp_path: Path) -> None:
    rounds = Rounds(job_of(make_federation(tmp_path)), "an-id", list(SITES), tmp_path / "cloister")
    asked: list[tuple[str, int, list[str]]] = []

    def ask(task: TaskName, sites: list[str], parts: list[Task]) -> None:
        number = parts[0].ask.round
        asked.append((task.value, number, sites))
        rounds.ask(task, number, sites)
        assert sorted(site for part in parts for site in part.sites) == sites
        for site in sites:
            if task is TaskName.PREPARE:
                reply = prepared() if site != "gamma" else Refusal(denied=True, reason="no")
                rounds.take(site, reply, b"")
            else:
                update = Update(round=number, records=18, metrics={"accuracy": number / 10}, restarts=0)
                tensors = encoded({"a": np.ones((2, 3), np.float32)}, LAYOUT) if task is TaskName.TRAIN else b""
                assert rounds.take(site, update, tensors)

    told: list[int] = []
    run_course(rounds, ask, lambda _, chosen: told.append(chosen))
    two = ["alpha", "beta"]
    assert asked == [("prepare", 0, list(SITES)), ("train", 1, two), ("train", 2, two), ("evaluate", 3, two)]
    assert told == [2]
    assert json.loads((tmp_path / "cloister" / "result.json").read_text())["chosen"]["round"] == 2


def test_it_ends_where_too_few_are_left(tmp_path: Path) -> None:
    rounds = Rounds(job_of(make_federation(tmp_path)), "an-id", list(SITES), tmp_path / "cloister")
    with pytest.raises(JobError, match="0 of 3 sites are ready"):
        run_course(rounds, lambda task, sites, parts: rounds.ask(task, parts[0].ask.round, sites))
