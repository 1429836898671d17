# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from nvflare.apis.fl_constant import ReturnCode
from nvflare.fuel.f3.cellnet.defs import ReturnCode as CellCode
from nvflare.fuel.f3.message import Message

from cloister.audit import Log
from cloister.flare.controller import AdapterController
from cloister.flare.exchange import Ask, Reply, TaskName, Update
from cloister.flare.parcel import AnswerHead, TaskHead, acknowledgement, is_acknowledged, pack, unpack
from cloister.flare.rounds import Rounds
from cloister.flare.task import Task
from cloister.flare.task_sender import TaskSender
from cloister.flare.traffic import ANSWER, READY, ROUNDS, TASK
from cloister.jobs import initial_adapter
from tests.federation_folder import SITES, make_federation
from tests.flare.cells import JOB_ID, SERVER, Wire, process_of
from tests.flare.server_rounds import LAYOUT, prepared, tensors
from tests.flare.signed_jobs import job_of


class Broken(Rounds):
    """The rounds of a job in which something goes wrong that nobody thought of."""

    def begin(self) -> None:
        raise ValueError("SVD did not converge")


class FullDisk(Rounds):
    """The rounds of a job whose server has no room left."""

    def begin(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("writable", [True, False], ids=["the reason can be written", "it cannot"])
def test_a_server_that_cannot_write_ends_the_job_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    rounds = FullDisk(job_of(make_federation(tmp_path)), "an-id", [], tmp_path / "result")
    controller, told = AdapterController(), []
    controller._rounds = rounds
    monkeypatch.setattr(controller, "panic", told.append)
    if writable:
        controller.run()
        assert "no space left" in (tmp_path / "result" / "failure.json").read_text()
    else:
        monkeypatch.setattr(rounds, "fail", lambda _reason, denied: rounds.begin())
        with pytest.raises(OSError, match="No space left"):
            controller.run()
    assert told == ["the server cannot write the job's state: no space left on device"]


def test_whatever_goes_wrong_the_job_ends_and_its_updates_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, told = AdapterController(), []
    controller._rounds = Broken(job_of(make_federation(tmp_path)), "an-id", [], tmp_path / "result")
    monkeypatch.setattr(controller, "panic", told.append)
    controller.run()
    assert told == ["the server's job process failed; its administrator finds the reason in the server's log"]
    assert told[0] in (tmp_path / "result" / "failure.json").read_text()
    assert not (tmp_path / "result-work").exists()


def test_a_site_that_was_not_waited_for_is_not_said_to_be_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(job_of(make_federation(tmp_path)), "an-id", ["alpha", "beta"], tmp_path / "result")
    controller = AdapterController()
    controller._rounds = rounds
    monkeypatch.setattr(controller, "_send", lambda *_: None)
    for enough, reason in ((True, "was not waited for"), (False, "did not answer before the deadline")):
        monkeypatch.setattr(rounds, "is_enough", lambda enough=enough: enough)
        monkeypatch.setattr(controller, "_wait", lambda _: None)
        controller._ask(TaskName.TRAIN, ["beta"], [Task(("beta",), Ask(round=1))])
        assert rounds.progress()["sites"]["beta"]["reason"] == reason


@pytest.mark.parametrize(("asked", "awaited"), [(["a", "b", "c"], {"a", "b"}), (["a", "c"], {"a", "c"})])
def test_a_site_that_was_late_is_waited_for_where_the_others_that_are_asked_are_too_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str], awaited: set[str]
) -> None:
    """The job needs two; sites that take part and are not asked in this round count for nothing in it."""
    rounds = Rounds(job_of(make_federation(tmp_path)), "an-id", ["a", "b", "c", "d"], tmp_path / "result")
    monkeypatch.setattr(Rounds, "taking_part", ["a", "b", "c", "d"])
    controller, seen = AdapterController(), []
    controller._rounds, controller._late = rounds, {"c"}
    monkeypatch.setattr(controller, "_send", lambda *_: None)
    monkeypatch.setattr(controller, "_wait", lambda _: seen.append(controller._awaited()))
    controller._ask(TaskName.TRAIN, asked, [Task(tuple(asked), Ask(round=1))])
    assert seen == [awaited]


@dataclass
class SitesOfARound:
    """Sites that add one; the last is late in round 1, and answers it in round 2 before the others do."""

    wire: Wire
    was_late: threading.Event = field(default_factory=threading.Event)
    late: TaskHead | None = None

    def begin(self) -> None:
        for site in SITES:
            cell = self.wire.cell(process_of(site))
            cell.register_request_cb(ROUNDS, TASK, lambda carrier, site=site: self._hear(site, carrier))
            cell.send_request(ROUNDS, READY, SERVER, Message({}, b""), 1.0, True)

    def _hear(self, site: str, carrier: Message) -> Message:
        head, message, _ = unpack(carrier, TaskHead)
        number = Ask.model_validate_json(message).round
        if site == SITES[-1] and number:
            if self.late is not None:
                return acknowledgement(CellCode.SERVICE_UNAVAILABLE)
            self.late = head
            return acknowledgement()
        threading.Thread(target=self._answer, args=(site, head, number), daemon=True).start()
        return acknowledgement()

    def _answer(self, site: str, head: TaskHead, number: int) -> None:
        if head.task is TaskName.PREPARE:
            assert self._say(site, head, prepared())
            return
        if number == 2 and site == SITES[0]:
            assert self.late is not None
            assert self._say(SITES[-1], self.late, update(1), tensors(100.0))
            self.was_late.set()
        if number == 2:
            assert self.was_late.wait(20)
        assert self._say(site, head, update(number), tensors(1.0) if head.task is TaskName.TRAIN else b"")

    def _say(self, site: str, head: TaskHead, reply: Reply, values: bytes = b"") -> bool:
        about = AnswerHead(identifier=head.identifier, code=ReturnCode.OK)
        parcel = pack(about, reply.model_dump_json().encode(), values)
        return is_acknowledged(self.wire.cell(process_of(site)).send_request(ROUNDS, ANSWER, SERVER, parcel, 1.0, True))


def update(number: int) -> Update:
    return Update(round=number, records=18, metrics={"accuracy": number / 10}, restarts=0)


@pytest.mark.slow
def test_a_straggler_is_gone_on_without_and_what_it_sends_late_is_in_no_other_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, wire = job_of(make_federation(tmp_path)), Wire()
    rounds, controller, failed = Rounds(job, JOB_ID, list(SITES), tmp_path / "result"), AdapterController(), []
    soon = {"federation": job.value.federation.model_copy(update={"round_deadline_seconds": 2})}
    monkeypatch.setattr(rounds, "job", job.value.model_copy(update=soon))
    monkeypatch.setattr(controller, "panic", failed.append)
    controller._rounds, controller._log, controller._job_id = rounds, Log(tmp_path / "audit", "coordinator"), JOB_ID
    controller._tasks = TaskSender(
        wire.cell(SERVER), JOB_ID, SITES, controller._received, tmp_path / "spool", rounds.most_from
    )
    controller._tasks.open()
    SitesOfARound(wire).begin()
    controller.run()
    assert failed == []
    progress, straggler = rounds.progress(), SITES[-1]
    assert [entry["sites"] for entry in progress["history"]] == [[*SITES[:-1]]] * 2
    first, second = (entry["seconds"] for entry in progress["history"])
    assert second < 2 <= first + 0.1, "who was late is not waited for again"
    assert [progress["sites"][straggler][key] for key in ("late", "rounds", "bytes")] == [1, 0, 0]
    found = safetensors.numpy.load_file(tmp_path / "result" / "adapter" / "adapter_model.safetensors")
    for name, values in initial_adapter(LAYOUT, job.value.seed).items():
        np.testing.assert_allclose(found[name], values + 2, rtol=1e-6)
