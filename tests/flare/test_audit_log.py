# SPDX-License-Identifier: Apache-2.0
"""What site and server write into their audit logs, and that nothing happens where they cannot."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode
from nvflare.apis.signal import Signal
from nvflare.apis.workspace import Workspace

from cloister.audit import Kind, Log, entries, lines, verify
from cloister.audit.event import FIRST
from cloister.certificates import read_certificate
from cloister.errors import AuditError
from cloister.flare import admission, site_job
from cloister.flare import executor as executor_module
from cloister.flare.admission import Admission
from cloister.flare.audit_log import log_of_server, log_of_site, record_end, record_policy, record_start, sentence
from cloister.flare.controller import AdapterController
from cloister.flare.exchange import (
    MAXIMUM_MESSAGE_BYTES,
    Refusal,
    Reply,
    TaskName,
    Update,
    content_of,
    digest_of,
    reply_of,
)
from cloister.flare.executor import TrainingExecutor
from cloister.flare.job_folder import SITE_APP
from cloister.flare.not_recorded import NOT_RECORDED, NOT_RECORDED_DIGEST
from cloister.flare.rounds import Rounds
from cloister.flare.state import SiteSettings, State
from cloister.flare.task_sender import Answer
from tests.federation_folder import PERSON
from tests.flare.signed_jobs import META, SITE, job_id, job_of, provisioned, signed_app
from tests.flare.site_folder import make_site, open_job
from tests.flare.test_executor import PREPARED, JobInMemory, task
from tests.flare.trainer_in_memory import TrainerInMemory
from tests.flare.wire_form import reply_from, trained
from tests.governance.asking import ask

ASKED = "0" * 32
BROKEN = AuditError("the audit log cannot be written: on purpose")


def broken(*_arguments: Any, **_others: Any) -> Any:
    raise BROKEN


def stumbling(*_arguments: Any, **_others: Any) -> Any:
    raise KeyError("on purpose")


def facts_of(log: Log, kind: Kind) -> list[dict[str, Any]]:
    return [dict(entry.event.facts) for entry in entries(log.path) if entry.event.kind is kind]


def kinds(log: Log) -> list[Kind]:
    return [entry.event.kind for entry in entries(log.path)]


# --- admission


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(admission, "missing", lambda: None)
    monkeypatch.setattr(admission.AppDeployer, "deploy", lambda *_arguments: "")
    return provisioned(tmp_path)


def site_log(root: Path) -> Log:
    return log_of_site(SiteSettings.read(State(root).site(SITE)))


def deploy(root: Path, app: bytes, identifier: str) -> str:
    workspace = Workspace(str(State(root).site(SITE)), site_name=SITE)
    return Admission().deploy(workspace, identifier, dict(META), SITE_APP, app, FLContext())


def test_an_admission_is_recorded_with_the_policy_in_force(root: Path) -> None:
    identifier = job_id()
    assert deploy(root, signed_app(), identifier) == ""
    log = site_log(root)
    assert kinds(log) == [Kind.POLICY, Kind.DECISION]
    (policy,), (decision,) = facts_of(log, Kind.POLICY), facts_of(log, Kind.DECISION)
    assert (policy["policy"], policy["version"]) == (SITE, 1)
    assert decision["policy"] == policy["digest"]
    assert (decision["point"], decision["effect"], decision["rules"]) == ("admission", "allow", ())
    assert (decision["submitter"], decision["role"]) == (PERSON, "data-scientist")
    assert [entry.event.job for entry in entries(log.path)] == ["", identifier]


def test_a_refusal_is_recorded_with_its_rules(root: Path) -> None:
    assert deploy(root, signed_app(purpose="marketing"), job_id()).startswith("denied: ")
    (decision,) = facts_of(site_log(root), Kind.DECISION)
    assert (decision["effect"], decision["rules"]) == ("deny", ("purpose",))
    assert "marketing" in decision["reason"]


def test_what_is_no_job_is_recorded_as_refused(root: Path) -> None:
    assert deploy(root, b"not an archive", job_id()).startswith("denied: ")
    assert deploy(root, signed_app(), "../../x").startswith("denied: ")
    assert [each["effect"] for each in facts_of(site_log(root), Kind.DECISION)] == ["deny", "deny"]


@pytest.mark.parametrize("error", [broken, stumbling])
def test_without_a_log_no_job_is_admitted(root: Path, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    monkeypatch.setattr(Log, "append", error)
    assert deploy(root, signed_app(), job_id()).startswith("refused: ")
    assert not (State(root).site(SITE) / "admitted").exists()


def test_with_a_damaged_log_no_job_is_admitted(root: Path) -> None:
    log = site_log(root)
    log.append(Kind.START)
    log.path.write_bytes(log.path.read_bytes() + b"{}\n")
    assert "damaged" in deploy(root, signed_app(), job_id())
    assert not (State(root).site(SITE) / "admitted").exists()


def test_where_the_logs_folder_cannot_be_made_no_job_is_admitted(root: Path) -> None:
    (State(root).site(SITE) / "audit").write_text("a file in the folder's place")
    assert "audit log cannot be written" in deploy(root, signed_app(), job_id())


# --- the site's job


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> site_job.SiteJob:
    monkeypatch.setattr(site_job, "Trainer", TrainerInMemory)
    monkeypatch.setattr(site_job, "check_standing", lambda *_arguments: None)
    return open_job(make_site(tmp_path / "federation").resolve())


def test_view_and_decisions_are_recorded_in_numbers(job: site_job.SiteJob) -> None:
    job.prepare()
    assert kinds(job.log) == [Kind.DECISION, Kind.VIEW, Kind.DECISION]
    assert [each["point"] for each in facts_of(job.log, Kind.DECISION)] == ["start", "view"]
    (view,) = facts_of(job.log, Kind.VIEW)
    assert (view["training"], view["validation"], sum(view["classes"])) == (18, 6, 18)
    assert "patient" not in job.log.path.read_text()
    update, _ = trained(job)
    assert [each["point"] for each in facts_of(job.log, Kind.DECISION)][2:] == ["egress"]
    assert update.audit == job.log.head()


@pytest.mark.parametrize("error", [broken, stumbling])
def test_a_view_that_is_not_recorded_is_removed(
    job: site_job.SiteJob, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    real = Log.append

    def append(self: Log, kind: Kind, *arguments: Any, **others: Any) -> Any:
        return error() if kind is Kind.VIEW else real(self, kind, *arguments, **others)

    monkeypatch.setattr(Log, "append", append)
    with pytest.raises((AuditError, KeyError)):
        job.prepare()
    assert not (job.private / "view").exists()
    assert job.trainer.process is None


# --- what leaves a site


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> tuple[TrainingExecutor, JobInMemory]:
    memory = JobInMemory()
    monkeypatch.setattr(executor_module, "_open", lambda _fl_ctx: memory)
    monkeypatch.setattr(executor_module, "_log_of", lambda _fl_ctx: (memory.log, JOB_ID))
    return TrainingExecutor(), memory


JOB_ID = "0b5e1d6e-9f43-4a5e-8f5c-2f3f8a4d9c11"


def test_what_left_is_what_the_log_says(executor: tuple[TrainingExecutor, JobInMemory]) -> None:
    own, memory = executor
    for name, number in (("prepare", 0), ("train", 1), ("evaluate", 3)):
        reply = own.execute(name, task(number, b"" if name == "prepare" else None), FLContext(), Signal())
        said = facts_of(memory.log, Kind.RELEASE)[-1]
        assert said["digest"] == digest_of(*content_of(reply))
    released = [entry.event for entry in entries(memory.log.path)]
    told = [(event.facts["reply"], event.round) for event in released]
    assert told == [("prepared", 0), ("update", 1), ("update", 3)]
    assert (released[1].facts["norm"], released[1].facts["records"]) == (0.25, 18)
    assert released[1].facts["bytes"] > 0


def test_a_refusal_leaves_and_is_recorded_too(executor: tuple[TrainingExecutor, JobInMemory]) -> None:
    own, memory = executor
    own.execute("train", task(1), FLContext(), Signal())
    assert kinds(memory.log) == [Kind.FAILURE, Kind.RELEASE]
    assert facts_of(memory.log, Kind.RELEASE)[0]["reply"] == "refusal"


@pytest.mark.parametrize("error", [broken, stumbling])
@pytest.mark.parametrize("name", ["prepare", "train", "evaluate"])
def test_what_is_not_recorded_does_not_leave(
    executor: tuple[TrainingExecutor, JobInMemory], monkeypatch: pytest.MonkeyPatch, error: Any, name: str
) -> None:
    own, memory = executor
    if name != "prepare":
        own.execute("prepare", task(0, b""), FLContext(), Signal())
    monkeypatch.setattr(Log, "append", error)
    monkeypatch.setattr(Log, "checkpoint", error)
    reply = own.execute(name, task(0 if name == "prepare" else 1), FLContext(), Signal())
    refusal, tensors = reply_from(reply)
    assert isinstance(refusal, Refusal)
    assert tensors == b""
    assert "audit log cannot be written" in refusal.reason
    assert digest_of(*content_of(reply)) == NOT_RECORDED_DIGEST
    assert memory.closed == 1


# --- the server


@pytest.fixture
def controller(tmp_path: Path) -> AdapterController:
    own = AdapterController()
    own._rounds = Rounds(job_of(make_site(tmp_path / "federation")), JOB_ID, [SITE, "beta"], tmp_path / "result")
    own._log, own._job_id = Log(tmp_path / "audit", "coordinator"), JOB_ID
    own._rounds.ask(TaskName.PREPARE, 0, [SITE, "beta"])
    own._waiting, own._asked = {SITE, "beta"}, ASKED
    return own


def answer_of(reply: Reply, tensors: bytes = b"", identifier: str = ASKED) -> Answer:
    message, _ = content_of(reply_of(reply, tensors))
    return Answer(SITE, identifier, ReturnCode.OK, message, tensors, digest_of(message, tensors))


def state_of(controller: AdapterController) -> str:
    return str(controller.rounds.progress()["sites"][SITE]["state"])


def test_what_came_is_recorded_whether_or_not_it_counts(controller: AdapterController) -> None:
    controller._received(answer_of(PREPARED))
    late = Update(round=1, records=3, metrics={}, restarts=0, audit=FIRST)
    controller._received(answer_of(late, b"xyz"))
    log = controller._audit
    first, second = facts_of(log, Kind.RECEIVE)
    assert (first["site"], first["reply"]) == (SITE, "prepared")
    assert first["digest"] == digest_of(*content_of(reply_of(PREPARED)))
    assert (second["bytes"], second["records"], second["site_head"]) == (3, 3, FIRST)
    assert second["digest"] == digest_of(*content_of(reply_of(late, b"xyz")))
    assert state_of(controller) == "ready"
    assert controller._waiting == {"beta"}


TOO_LONG = b" " * (MAXIMUM_MESSAGE_BYTES + 1)


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ((b"not json", b"xyz"), {"digest": digest_of(b"not json", b"xyz"), "bytes": 3}),
        ((TOO_LONG, b""), {"digest": digest_of(TOO_LONG, b""), "bytes": 0}),
        (None, {}),
    ],
    ids=["no reply", "too long", "no parcel"],
)
def test_what_cannot_be_read_is_recorded_before_it_is_refused(
    controller: AdapterController, content: tuple[bytes, bytes] | None, facts: dict[str, Any]
) -> None:
    answer = Answer(SITE)
    if content is not None:
        answer = Answer(SITE, ASKED, ReturnCode.OK, *content, digest_of(*content))
    controller._received(answer)
    assert facts_of(controller._audit, Kind.RECEIVE) == [{"site": SITE, "reply": "unreadable"} | facts]
    assert state_of(controller) == "refused"
    assert controller._waiting == {"beta"}


def test_a_gate_that_throws_takes_no_reply(controller: AdapterController, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.flare.controller.reply_in", stumbling)
    controller._received(answer_of(PREPARED))
    (fact,) = facts_of(controller._audit, Kind.RECEIVE)
    assert fact["reply"] == "unreadable"
    assert state_of(controller) == "refused"
    assert controller.rounds.taking_part == []


def test_an_error_code_of_nvflare_s_is_recorded(controller: AdapterController) -> None:
    answer = Answer(SITE, ASKED, ReturnCode.EXECUTION_EXCEPTION)
    controller._received(answer)
    assert facts_of(controller._audit, Kind.RECEIVE) == [{"site": SITE, "reply": "error"}]
    assert state_of(controller) == "refused"
    controller._received(answer)
    assert len(facts_of(controller._audit, Kind.RECEIVE)) == 2


@pytest.mark.parametrize("identifier", ["earlier", ""])
def test_an_answer_that_comes_too_late_is_recorded_and_counts_in_no_other_round(
    controller: AdapterController, identifier: str
) -> None:
    controller._received(answer_of(PREPARED, identifier=identifier))
    (fact,) = facts_of(controller._audit, Kind.RECEIVE)
    assert fact["digest"] == digest_of(*content_of(reply_of(PREPARED)))
    assert controller._waiting == {SITE, "beta"}
    assert state_of(controller) == "preparing"


@pytest.mark.parametrize("error", [broken, stumbling])
def test_what_the_server_cannot_record_does_not_count(
    controller: AdapterController, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    monkeypatch.setattr(Log, "append", error)
    controller._received(answer_of(PREPARED))
    site = controller.rounds.progress()["sites"][SITE]
    assert site["state"] == "refused"
    assert controller.rounds.taking_part == []


def test_a_server_without_a_log_counts_nothing(controller: AdapterController) -> None:
    controller._log = None
    controller._received(answer_of(PREPARED))
    assert state_of(controller) == "refused"


def test_a_failure_is_recorded_and_ends_the_job_even_where_it_cannot_be(
    controller: AdapterController, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(controller, "panic", told.append)
    controller._fail("too few sites")
    assert facts_of(controller._audit, Kind.FAILURE) == [{"point": "rounds", "reason": "too few sites"}]
    monkeypatch.setattr(Log, "append", broken)
    controller._fail("again")
    assert told == ["too few sites", "again"]


# --- start and end


def test_start_and_end_are_recorded_and_signed(root: Path) -> None:
    for log, certificate in (
        (site_log(root), State(root).site(SITE) / "startup" / "client.crt"),
        (log_of_server(State(root).server), State(root).server / "startup" / "server.crt"),
    ):
        record_start(log, certificate)
        record_end(log, "a test\nended")
        assert kinds(log) == [Kind.START, Kind.KEY, Kind.CHECKPOINT, Kind.STOP, Kind.CHECKPOINT]
        assert facts_of(log, Kind.STOP)[0]["reason"] == "a test ended"
        report = verify(lines(log.path), read_certificate(certificate))
        assert (report.broken, report.uncovered) == (None, 0)


def test_where_the_start_cannot_be_recorded_nothing_starts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Log, "append", broken)
    with pytest.raises(AuditError):
        record_start(site_log(root), State(root).site(SITE) / "startup" / "client.crt")


@pytest.mark.parametrize("error", [broken, stumbling])
def test_an_end_that_cannot_be_recorded_is_an_end(root: Path, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    monkeypatch.setattr(Log, "append", error)
    record_end(site_log(root), "a test")


def test_a_policy_is_recorded_once(root: Path) -> None:
    for seed in (7, 8):
        assert deploy(root, signed_app(training={"seed": seed}), job_id()) == ""
    assert kinds(site_log(root)) == [Kind.POLICY, Kind.DECISION, Kind.DECISION]


def test_a_policy_that_another_officer_signs_as_it_is_is_recorded_anew(root: Path) -> None:
    in_force = ask(root)
    log = site_log(root)
    changes = [
        {},
        {"signed": replace(in_force.signed, by="somebody.else")},
        {"baseline_signed": replace(in_force.baseline_signed, by="somebody.else")},
        {"until": in_force.until - timedelta(days=1)},
    ]
    for each in changes:
        for _ in range(2):
            record_policy(log, replace(in_force, **each))
    assert kinds(log) == [Kind.POLICY] * 4


def test_the_answer_of_a_site_that_cannot_write_has_the_digest_that_compare_knows() -> None:
    reply = reply_of(NOT_RECORDED)
    assert digest_of(*content_of(reply)) == NOT_RECORDED_DIGEST
    assert content_of(reply)[1] == b""


def test_a_sentence_fits_a_fact() -> None:
    assert sentence("a\nb\x1b[0m" + "c" * 3000) == "a b [0m" + "c" * 1993
