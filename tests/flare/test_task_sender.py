# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_constant import ReturnCode
from nvflare.fuel.f3.cellnet.defs import ReturnCode as CellCode
from nvflare.fuel.f3.message import Message

from cloister.errors import JobError
from cloister.flare import task_sender
from cloister.flare.exchange import TaskName, digest_of
from cloister.flare.fetch import Fetch
from cloister.flare.holder import Holder
from cloister.flare.parcel import AnswerHead, Reference, TaskHead, acknowledgement, is_acknowledged, pack, unpack
from cloister.flare.task_sender import Answer, Part, TaskSender
from cloister.flare.traffic import ANSWER, CHUNK, READY, ROUNDS, TASK
from tests.flare.cells import JOB_ID, SERVER, Wire, process_of
from tests.flare.wire import until

SITES = ("alpha", "beta")


class AtSite:
    """A site's process that takes tasks and answers when it is told to."""

    def __init__(self, wire: Wire, site: str) -> None:
        self.cell = wire.cell(process_of(site))
        self.busy = False
        self.took: list[tuple[TaskHead, bytes, bytes]] = []
        self.cell.register_request_cb(ROUNDS, TASK, self._take)

    def _take(self, carrier: Message) -> Message:
        if self.busy:
            return acknowledgement(CellCode.SERVICE_UNAVAILABLE)
        self.took.append(unpack(carrier, TaskHead))
        return acknowledgement()

    def say(self, topic: str, message: Message | None = None) -> Message:
        return self.cell.send_request(ROUNDS, topic, SERVER, message or Message({}, b""), 1.0, True)

    def answer(self, identifier: str, code: str = ReturnCode.OK, said: bytes = b"{}") -> Message:
        return self.say(ANSWER, pack(AnswerHead(identifier=identifier, code=code), said, b"tensors"))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.setattr(task_sender, "_AGAIN_SECONDS", 0.01)
    return Wire()


@pytest.fixture
def came() -> list[Answer]:
    return []


@pytest.fixture
def sender(wire: Wire, came: list[Answer], tmp_path: Path) -> TaskSender:
    made = TaskSender(wire.cell(SERVER), JOB_ID, SITES, came.append, tmp_path / "spool")
    made.open()
    return made


def send(sender: TaskSender, sites: Any = SITES, seconds: float = 20.0) -> str:
    return sender.send(TaskName.TRAIN, [Part(sites, b'{"round":1}', b"weights")], seconds)


def test_a_task_goes_to_whom_it_is_for_as_it_is(sender: TaskSender, wire: Wire) -> None:
    alpha, beta = AtSite(wire, "alpha"), AtSite(wire, "beta")
    alpha.say(READY), beta.say(READY)
    identifier = send(sender, ["alpha"])
    until(lambda: alpha.took)
    ((head, message, tensors),) = alpha.took
    assert (head.task, head.identifier, message, tensors) == (TaskName.TRAIN, identifier, b'{"round":1}', b"weights")
    assert beta.took == []


def test_nothing_is_sent_to_a_site_before_it_says_that_it_is_ready(sender: TaskSender, wire: Wire) -> None:
    alpha, beta = AtSite(wire, "alpha"), AtSite(wire, "beta")
    alpha.say(READY)
    send(sender)
    until(lambda: alpha.took)
    assert beta.took == []
    beta.say(READY)
    until(lambda: beta.took)
    assert len(alpha.took) == 1


def test_a_task_that_was_lost_is_sent_again(sender: TaskSender, wire: Wire) -> None:
    lost: list[str] = []

    def loses(topic: str, _origin: str, _destination: str) -> bool:
        lost.append(topic)
        return lost.count(TASK) <= 3 and topic == TASK

    wire.loses = loses
    alpha = AtSite(wire, "alpha")
    alpha.say(READY)
    send(sender, ["alpha"])
    until(lambda: alpha.took)


def test_a_site_that_is_busy_is_asked_again_until_it_is_free(sender: TaskSender, wire: Wire) -> None:
    alpha = AtSite(wire, "alpha")
    alpha.busy = True
    alpha.say(READY)
    send(sender, ["alpha"])
    until(lambda: len(wire.sent) > 3)
    assert alpha.took == []
    alpha.busy = False
    until(lambda: alpha.took)


@pytest.mark.parametrize("late", ["ready", "free"])
def test_who_gets_ready_while_others_are_asked_is_not_waited_for(
    sender: TaskSender, wire: Wire, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """Nobody hears a site that speaks while a task is on its way to others, and all are asked again at once."""
    monkeypatch.setattr(task_sender, "_AGAIN_SECONDS", 30.0)
    alpha, beta = AtSite(wire, "alpha"), AtSite(wire, "beta")
    alpha.busy = True
    alpha.say(READY)
    earlier = send(sender, [])

    def loses(topic: str, _origin: str, destination: str) -> bool:
        if topic == TASK and destination == process_of("alpha") and alpha.busy:
            alpha.busy = False
            beta.say(READY) if late == "ready" else alpha.answer(earlier)
            return True
        return False

    wire.loses = loses
    send(sender, ["alpha", "beta"] if late == "ready" else ["alpha"])
    until(lambda: alpha.took and (late == "free" or beta.took))


def test_what_was_withdrawn_or_is_over_is_not_sent(sender: TaskSender, wire: Wire) -> None:
    alpha = AtSite(wire, "alpha")
    send(sender, ["alpha"])
    sender.withdraw()
    send(sender, ["alpha"], 0.05)
    time.sleep(0.1)
    alpha.say(READY)
    time.sleep(0.1)
    assert alpha.took == []


def test_an_answer_is_handed_in_with_what_it_answers(sender: TaskSender, wire: Wire, came: list[Answer]) -> None:
    alpha = AtSite(wire, "alpha")
    identifier = send(sender)
    assert is_acknowledged(alpha.answer(identifier))
    assert came == [Answer("alpha", identifier, "OK", b"{}", b"tensors", digest_of(b"{}", b"tensors"))]


def test_an_answer_that_comes_again_is_acknowledged_and_counts_once(
    sender: TaskSender, wire: Wire, came: list[Answer]
) -> None:
    alpha, beta = AtSite(wire, "alpha"), AtSite(wire, "beta")
    identifier = send(sender)
    for site in (alpha, alpha, beta, alpha):
        assert is_acknowledged(site.answer(identifier))
    assert [answer.site for answer in came] == ["alpha", "beta"]


def test_of_a_failure_comes_the_code_alone(sender: TaskSender, wire: Wire, came: list[Answer]) -> None:
    identifier = send(sender)
    AtSite(wire, "alpha").answer(identifier, ReturnCode.EXECUTION_EXCEPTION)
    assert came == [Answer("alpha", identifier, ReturnCode.EXECUTION_EXCEPTION)]


def test_what_cannot_be_read_is_handed_in_as_such(sender: TaskSender, wire: Wire, came: list[Answer]) -> None:
    assert is_acknowledged(AtSite(wire, "alpha").say(ANSWER, Message({}, b"junk")))
    assert came == [Answer("alpha")]


def test_of_what_cannot_be_read_one_is_handed_in_for_each_asking(
    sender: TaskSender, wire: Wire, came: list[Answer]
) -> None:
    """All that is handed in is recorded on disk: a site must not fill it."""
    alpha, beta = AtSite(wire, "alpha"), AtSite(wire, "beta")
    for _ in range(2):
        send(sender)
        for site in (alpha, alpha, beta, alpha):
            site.say(ANSWER, Message({}, b"junk"))
    assert [answer.site for answer in came] == ["alpha", "beta", "alpha", "beta"]


def test_an_answer_to_what_was_never_asked_is_none(sender: TaskSender, wire: Wire, came: list[Answer]) -> None:
    alpha, identifier = AtSite(wire, "alpha"), send(sender)
    for number in range(100):
        assert not is_acknowledged(alpha.answer(f"{number:032x}"))
    assert came == []
    assert is_acknowledged(alpha.answer(identifier))
    assert [answer.identifier for answer in came] == [identifier]


@pytest.mark.parametrize(
    "origin", ["server", f"gamma.{JOB_ID}", "alpha", "alpha.another-job", f"alpha.{JOB_ID}.child", f"x.alpha.{JOB_ID}"]
)
@pytest.mark.parametrize("topic", [READY, ANSWER])
def test_nothing_is_taken_of_a_process_that_is_none_of_the_job_s(
    sender: TaskSender, wire: Wire, came: list[Answer], origin: str, topic: str
) -> None:
    identifier = send(sender)
    parcel = pack(AnswerHead(identifier=identifier, code="OK"), b"{}", b"")
    assert not is_acknowledged(wire.cell(origin).send_request(ROUNDS, topic, SERVER, parcel, 1.0, True))
    assert came == []


def test_a_site_that_answers_is_not_asked_again_even_if_nobody_heard_that_it_took_the_task(
    sender: TaskSender, wire: Wire
) -> None:
    wire.forgets = lambda topic, _origin, _destination: topic == TASK
    alpha = AtSite(wire, "alpha")
    alpha.say(READY)
    identifier = send(sender, ["alpha"])
    until(lambda: alpha.took)
    alpha.answer(identifier)
    time.sleep(0.05)
    before = len(alpha.took)
    time.sleep(0.1)
    assert len(alpha.took) == before


def test_an_answer_to_an_earlier_asking_says_so(sender: TaskSender, wire: Wire, came: list[Answer]) -> None:
    alpha = AtSite(wire, "alpha")
    first, second = send(sender), send(sender)
    alpha.answer(first)
    assert [answer.identifier for answer in came] == [first]
    assert first != second


def test_two_answers_at_once_count_once(sender: TaskSender, wire: Wire, came: list[Answer]) -> None:
    alpha = AtSite(wire, "alpha")
    identifier = send(sender)
    together = threading.Barrier(8)

    def answer() -> None:
        together.wait()
        alpha.answer(identifier)

    threads = [threading.Thread(target=answer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == 1


# --- what is too large for a message

LARGE = bytes(range(256)) * 10_000


@pytest.fixture
def holder(wire: Wire) -> Holder:
    """Alpha's, which lets the server fetch."""
    made = Holder(wire.cell(process_of("alpha")))
    made.open()
    return made


def answer_large(holder: Holder, wire: Wire, identifier: str, reference: Reference) -> Message:
    head = AnswerHead(identifier=identifier, code="OK", reference=reference)
    return wire.cell(process_of("alpha")).send_request(ROUNDS, ANSWER, SERVER, pack(head, b"{}"), 1.0, True)


def test_a_large_update_is_fetched_before_its_answer_counts(
    sender: TaskSender, wire: Wire, came: list[Answer], holder: Holder
) -> None:
    identifier = send(sender)
    reference = holder.offer(b"{}", LARGE, {SERVER})
    assert not is_acknowledged(answer_large(holder, wire, identifier, reference))
    until(lambda: is_acknowledged(answer_large(holder, wire, identifier, reference)))
    (answer,) = came
    assert isinstance(answer.payload, Path)
    assert answer.payload.read_bytes() == LARGE
    assert answer.payload.stat().st_mode & 0o777 == 0o600
    assert answer.digest == digest_of(b"{}", LARGE)


def test_an_update_that_is_not_what_was_named_is_no_answer(
    sender: TaskSender, wire: Wire, came: list[Answer], holder: Holder, tmp_path: Path
) -> None:
    identifier = send(sender)
    reference = holder.offer(b"another message", LARGE, {SERVER})
    answer_large(holder, wire, identifier, reference)
    until(lambda: came)
    assert came == [Answer("alpha", identifier)]
    assert list((tmp_path / "spool").iterdir()) == []


def test_an_update_that_nobody_has_is_no_answer(
    sender: TaskSender, wire: Wire, came: list[Answer], holder: Holder
) -> None:
    identifier = send(sender)
    answer_large(holder, wire, identifier, Reference(digest="0" * 64, bytes=1 << 22))
    until(lambda: came)
    assert came == [Answer("alpha", identifier)]


@pytest.mark.parametrize("most", [0, len(LARGE) - 1])
def test_no_more_is_fetched_than_an_update_can_have(
    wire: Wire, came: list[Answer], holder: Holder, tmp_path: Path, most: int
) -> None:
    """What a site names could be as large as the server's disk."""
    asked: list[str] = []
    spool = tmp_path / "spool"

    def most_of(site: str) -> int:
        asked.append(site)
        return most

    sender = TaskSender(wire.cell(SERVER), JOB_ID, SITES, came.append, spool, most_of)
    sender.open()
    identifier = send(sender)
    answer_large(holder, wire, identifier, holder.offer(b"{}", LARGE, {SERVER}))
    until(lambda: came)
    assert (came, asked) == ([Answer("alpha", identifier)], ["alpha"])
    assert CHUNK not in {topic for topic, _, _ in wire.sent}
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("broken", ["unpack", "most"])
def test_a_gate_that_throws_takes_no_answer(
    wire: Wire, came: list[Answer], holder: Holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fails(*_about: object) -> Any:
        raise KeyError("on purpose")

    spool = tmp_path / "spool"
    if broken == "most":
        sender = TaskSender(wire.cell(SERVER), JOB_ID, SITES, came.append, spool, fails)
    else:
        sender = TaskSender(wire.cell(SERVER), JOB_ID, SITES, came.append, spool)
        monkeypatch.setattr(task_sender, "unpack", fails)
    sender.open()
    identifier = send(sender)
    answer_large(holder, wire, identifier, holder.offer(b"{}", LARGE, {SERVER}))
    until(lambda: came)
    assert came == [Answer("alpha", identifier if broken == "most" else None)]
    assert CHUNK not in {topic for topic, _, _ in wire.sent}
    assert list(spool.iterdir()) == []


def test_of_a_late_answer_nothing_more_is_fetched(
    sender: TaskSender, wire: Wire, came: list[Answer], holder: Holder
) -> None:
    identifier = send(sender)
    sender.withdraw()
    reference = holder.offer(b"{}", LARGE, {SERVER})
    assert is_acknowledged(answer_large(holder, wire, identifier, reference))
    assert came == [Answer("alpha", identifier, "OK", b"{}")]
    assert CHUNK not in {topic for topic, _, _ in wire.sent}


def test_fetching_ends_when_the_round_does(
    sender: TaskSender, wire: Wire, came: list[Answer], holder: Holder, tmp_path: Path
) -> None:
    wire.loses = lambda topic, _origin, _destination: topic == CHUNK
    identifier = send(sender)
    answer_large(holder, wire, identifier, holder.offer(b"{}", LARGE, {SERVER}))
    until(lambda: CHUNK in {topic for topic, _, _ in wire.sent})
    sender.withdraw()
    until(lambda: came)
    assert came == [Answer("alpha", identifier, "OK", b"{}")]
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("in_a_file", [True, False])
def test_large_weights_are_fetched_by_whom_they_are_for_until_the_round_is_over(
    sender: TaskSender, wire: Wire, tmp_path: Path, in_a_file: bool
) -> None:
    alpha, beta = AtSite(wire, "alpha"), AtSite(wire, "beta")
    alpha.say(READY), beta.say(READY)
    path = tmp_path / "weights"
    path.write_bytes(LARGE)
    sender.send(TaskName.TRAIN, [Part(["alpha"], b"{}", path if in_a_file else LARGE), Part(["beta"], b"1", b"2")], 9)
    until(lambda: alpha.took and beta.took)
    ((head, message, inline),) = alpha.took
    assert (message, inline, head.reference) == (
        b"{}",
        b"",
        Reference(digest=digest_of(b"{}", LARGE), bytes=len(LARGE)),
    )
    assert beta.took[0][1:] == (b"1", b"2")
    fetch = Fetch(alpha.cell, SERVER, time.monotonic() + 5)
    assert fetch.into(tmp_path / "came", message, head.reference).read_bytes() == LARGE
    with pytest.raises(JobError):
        Fetch(beta.cell, SERVER, time.monotonic() + 5).into(tmp_path / "stolen", message, head.reference)
    sender.withdraw()
    with pytest.raises(JobError):
        fetch.into(tmp_path / "again", message, head.reference)
