# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.filter import Filter
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.message import Message
from nvflare.private.fed.client.client_runner import ClientRunner, ClientRunnerConfig, TaskRouter
from nvflare.private.privacy_manager import Scope

from cloister.errors import JobError
from cloister.flare import task_runner
from cloister.flare.egress_filter import EgressFilter, note_passed
from cloister.flare.exchange import TaskName, content_of, digest_of, reply_with
from cloister.flare.fetch import MAXIMUM_PAYLOAD_BYTES, Fetch
from cloister.flare.holder import Holder
from cloister.flare.parcel import AnswerHead, Reference, TaskHead, acknowledgement, is_acknowledged, pack, unpack
from cloister.flare.payload import content_of as content_of_payload
from cloister.flare.task_runner import Outcome, ReceivedTask, TaskRunner, Work, through_nvflare
from cloister.flare.traffic import ANSWER, CHUNK, READY, ROUNDS, TASK
from tests.flare.cells import JOB_ID, SERVER, Wire, process_of
from tests.flare.wire import until

SECRET = b"Ada Lovelace"
FIRST, SECOND = "1" * 32, "2" * 32


class AtServer:
    """The server's process of the job."""

    def __init__(self, wire: Wire, name: str = SERVER) -> None:
        self.cell = wire.cell(name)
        self.ready = 0
        self.answers: list[tuple[AnswerHead, bytes, bytes]] = []
        self.cell.register_request_cb(ROUNDS, READY, self._hear)
        self.cell.register_request_cb(ROUNDS, ANSWER, self._take)

    def _hear(self, _carrier: Message) -> Message:
        self.ready += 1
        return acknowledgement()

    def _take(self, carrier: Message) -> Message:
        self.answers.append(unpack(carrier, AnswerHead))
        return acknowledgement()

    def ask(self, identifier: str = FIRST, seconds: float = 20.0, task: TaskName = TaskName.TRAIN) -> bool:
        head = TaskHead(task=task, identifier=identifier, seconds=seconds)
        carrier = pack(head, b'{"round":1}', b"weights")
        return is_acknowledged(self.cell.send_request(ROUNDS, TASK, process_of("alpha"), carrier, 1.0, True))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.setattr(task_runner, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(task_runner, "_AGAIN_SECONDS_AT_MOST", 0.02)
    return Wire()


@pytest.fixture
def server(wire: Wire) -> AtServer:
    return AtServer(wire)


def runner_of(
    wire: Wire, work: Work, stopped: Callable[[], bool] = lambda: False, most: int = MAXIMUM_PAYLOAD_BYTES
) -> TaskRunner:
    spool = tempfile.mkdtemp(prefix="task-runner-")
    atexit.register(shutil.rmtree, spool, ignore_errors=True)
    made = TaskRunner(wire.cell(process_of("alpha")), JOB_ID, work, stopped, Path(spool), lambda: most)
    made.open()
    return made


def done(task: ReceivedTask) -> Outcome:
    return Outcome(ReturnCode.OK, task.message, content_of_payload(task.payload))


def test_a_task_is_done_and_answered(wire: Wire, server: AtServer) -> None:
    runner_of(wire, done)
    assert server.ask()
    until(lambda: server.answers)
    assert server.answers == [(AnswerHead(identifier=FIRST, code="OK"), b'{"round":1}', b"weights")]


def test_a_site_says_that_it_is_ready_until_the_server_hears_it(wire: Wire) -> None:
    runner_of(wire, done)
    until(lambda: len(wire.sent) > 2)  # there is no server yet
    server = AtServer(wire)
    until(lambda: server.ready)
    time.sleep(0.1)
    assert server.ready == 1


@pytest.mark.parametrize(
    "origin", ["server", "server.another-job", process_of("alpha"), process_of("beta"), "beta", f"{SERVER}.child", ""]
)
def test_a_task_of_anybody_else_is_refused_and_not_done(wire: Wire, origin: str) -> None:
    asked: list[ReceivedTask] = []
    runner_of(wire, lambda task: asked.append(task) or done(task))
    assert not AtServer(wire, origin).ask()
    time.sleep(0.05)
    assert asked == []


def test_a_task_that_comes_again_is_done_once(wire: Wire, server: AtServer) -> None:
    asked: list[ReceivedTask] = []
    runner_of(wire, lambda task: asked.append(task) or done(task))
    for _ in range(5):
        assert server.ask()
    until(lambda: server.answers)
    assert server.ask()
    time.sleep(0.05)
    assert (len(asked), len(server.answers)) == (1, 1)


def test_two_tasks_are_not_done_at_once(wire: Wire, server: AtServer) -> None:
    may_end = threading.Event()
    asked: list[str] = []

    def work(task: ReceivedTask) -> Outcome:
        asked.append(task.head.identifier)
        assert may_end.wait(5)
        return done(task)

    runner_of(wire, work)
    assert server.ask(FIRST)
    assert not server.ask(SECOND)
    assert server.ask(FIRST)  # it has that one
    may_end.set()
    until(lambda: server.answers)
    assert server.ask(SECOND)
    until(lambda: len(server.answers) == 2)
    assert asked == [FIRST, SECOND]


def test_whatever_goes_wrong_leaves_a_code_and_nothing_else(wire: Wire, server: AtServer) -> None:
    def work(_task: ReceivedTask) -> Outcome:
        raise KeyError(SECRET)

    runner_of(wire, work)
    server.ask()
    until(lambda: server.answers)
    assert server.answers == [(AnswerHead(identifier=FIRST, code=ReturnCode.EXECUTION_EXCEPTION), b"", b"")]


@pytest.mark.parametrize("payload", [b"", b"junk", None])
def test_what_is_no_task_is_not_acknowledged(wire: Wire, server: AtServer, payload: Any) -> None:
    runner_of(wire, done)
    reply = server.cell.send_request(ROUNDS, TASK, process_of("alpha"), Message({}, payload), 1.0, True)
    assert not is_acknowledged(reply)


def test_an_answer_is_sent_until_the_server_has_heard_it(wire: Wire, server: AtServer) -> None:
    tries: list[str] = []

    def loses(topic: str, _origin: str, _destination: str) -> bool:
        tries.append(topic)
        return topic == ANSWER and tries.count(ANSWER) <= 4

    wire.loses = loses
    runner_of(wire, done)
    server.ask()
    until(lambda: server.answers)
    assert tries.count(ANSWER) == 5


def test_an_answer_whose_acknowledgement_was_lost_is_sent_again_as_it_was(wire: Wire, server: AtServer) -> None:
    wire.forgets = lambda topic, _origin, _destination: topic == ANSWER and len(server.answers) < 3
    runner_of(wire, done)
    server.ask()
    until(lambda: len(server.answers) == 3)
    assert server.answers[0] == server.answers[1] == server.answers[2]


def test_nobody_is_sent_an_answer_for_ever(wire: Wire, server: AtServer) -> None:
    wire.loses = lambda topic, _origin, _destination: topic == ANSWER
    runner_of(wire, done)
    server.ask(seconds=0.05)
    time.sleep(0.3)
    before = len(wire.sent)
    time.sleep(0.1)
    assert len(wire.sent) == before > 2


def test_a_late_answer_is_sent_once(wire: Wire, server: AtServer) -> None:
    runner_of(wire, lambda task: time.sleep(0.1) or done(task))
    server.ask(seconds=0.02)
    until(lambda: server.answers)


def test_a_job_that_is_over_answers_nobody(wire: Wire, server: AtServer) -> None:
    over: list[bool] = []
    runner_of(wire, lambda task: over.append(True) or done(task), lambda: bool(over))
    until(lambda: server.ready)
    server.ask()
    time.sleep(0.1)
    assert server.answers == []


# --- what is too large for a message

LARGE = bytes(range(256)) * 10_000


def test_large_weights_are_fetched_and_a_large_update_can_be(wire: Wire, server: AtServer, tmp_path: Path) -> None:
    kinds: list[type] = []
    answered: list[AnswerHead] = []
    may_take = threading.Event()

    def take(carrier: Message) -> Message:
        answered.append(unpack(carrier, AnswerHead)[0])
        return acknowledgement() if may_take.is_set() else acknowledgement("service_unavailable")

    def work(task: ReceivedTask) -> Outcome:
        kinds.append(type(task.payload))
        return done(task)

    server.cell.register_request_cb(ROUNDS, ANSWER, take)
    holder = Holder(server.cell)
    holder.open()
    runner_of(wire, work)
    head = TaskHead(
        task=TaskName.TRAIN, identifier=FIRST, seconds=20, reference=holder.offer(b"{}", LARGE, {process_of("alpha")})
    )
    server.cell.send_request(ROUNDS, TASK, process_of("alpha"), pack(head, b"{}"), 1.0, True)
    until(lambda: answered)
    assert issubclass(kinds[0], Path)
    reference = answered[0].reference
    assert reference == Reference(digest=digest_of(b"{}", LARGE), bytes=len(LARGE))
    fetch = Fetch(server.cell, process_of("alpha"), time.monotonic() + 5)
    assert fetch.into(tmp_path / "update", b"{}", reference).read_bytes() == LARGE
    for stranger in ("beta", "gamma"):
        with pytest.raises(JobError):
            Fetch(wire.cell(process_of(stranger)), process_of("alpha"), time.monotonic() + 5).into(
                tmp_path / stranger, b"{}", reference
            )
    may_take.set()
    time.sleep(0.1)
    with pytest.raises(JobError):
        fetch.into(tmp_path / "later", b"{}", reference)


def test_weights_that_are_not_what_was_named_are_given_to_nobody(wire: Wire, server: AtServer) -> None:
    asked: list[ReceivedTask] = []
    holder = Holder(server.cell)
    holder.open()
    runner_of(wire, lambda task: asked.append(task) or done(task))
    reference = holder.offer(b"other", LARGE, {process_of("alpha")})
    head = TaskHead(task=TaskName.TRAIN, identifier=FIRST, seconds=20, reference=reference)
    server.cell.send_request(ROUNDS, TASK, process_of("alpha"), pack(head, b"{}"), 1.0, True)
    until(lambda: server.answers)
    assert server.answers == [(AnswerHead(identifier=FIRST, code=ReturnCode.EXECUTION_EXCEPTION), b"", b"")]
    assert asked == []


def test_no_more_is_fetched_than_the_weights_can_have(wire: Wire, server: AtServer) -> None:
    """What the server names could be as large as the site's disk."""
    asked: list[ReceivedTask] = []
    holder = Holder(server.cell)
    holder.open()

    def work(task: ReceivedTask) -> Outcome:
        asked.append(task)
        return done(task)

    runner_of(wire, work, most=len(LARGE) - 1)
    reference = holder.offer(b"{}", LARGE, {process_of("alpha")})
    head = TaskHead(task=TaskName.TRAIN, identifier=FIRST, seconds=20, reference=reference)
    server.cell.send_request(ROUNDS, TASK, process_of("alpha"), pack(head, b"{}"), 1.0, True)
    until(lambda: server.answers)
    assert server.answers == [(AnswerHead(identifier=FIRST, code=ReturnCode.EXECUTION_EXCEPTION), b"", b"")]
    assert asked == []
    assert CHUNK not in {topic for topic, _, _ in wire.sent}


# --- through NVFlare's runner


class Gate(Executor):
    """An executor whose answer passed the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[bytes, bytes]] = []

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        self.heard.append(content_of(shareable))
        return note_passed(fl_ctx, reply_with(b"said", b"update"))


class Changing(Filter):
    """A filter that puts something else in the place of what comes."""

    def __init__(self, message: bytes, tensors: bytes) -> None:
        super().__init__()
        self.content = message, tensors

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        return reply_with(*self.content)


class Throwing(Filter):
    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        raise RuntimeError(SECRET.decode())


class Nothing(Filter):
    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Any:
        return None


class Adding(Filter):
    """A filter that adds a header and a value."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        shareable.set_header("note", SECRET.decode())
        shareable["patients"] = SECRET.decode()
        return shareable


class Watching(FLComponent):
    """Changes the answer after the last filter, as no filter could."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        if event_type == EventType.AFTER_TASK_RESULT_FILTER:
            reply = fl_ctx.get_prop(FLContextKey.TASK_RESULT)
            reply.update(reply_with(b"said", SECRET))


class Engine:
    """NVFlare's engine of a site's job process, as far as its runner asks."""

    def __init__(self, scope: Scope | None, handlers: list[FLComponent]) -> None:
        private = {FLContextKey.SCOPE_OBJECT: scope} if scope else {}
        self._contexts = FLContextManager(
            engine=self, identity_name="alpha", job_id=JOB_ID, public_stickers={}, private_stickers=private
        )
        self._handlers = handlers

    def new_context(self) -> FLContext:
        return self._contexts.new_context()

    def register_aux_message_handler(self, topic: str, message_handle_func: Any) -> None:
        """Nothing: no such message comes."""

    def fire_event(self, event_type: str, fl_ctx: FLContext) -> None:
        for handler in self._handlers:
            handler.handle_event(event_type, fl_ctx)

    def get_workspace(self) -> None:
        """There is none."""


def work_of(
    executor: Executor,
    *,
    site_in: list[Filter] | None = None,
    site_out: list[Filter] | None = None,
    job_in: list[Filter] | None = None,
    job_out: list[Filter] | None = None,
    handlers: list[FLComponent] | None = None,
) -> Work:
    scope = Scope()
    scope.set_name("cloister")
    scope.task_data_filters = {FilterKey.IN: site_in or []}
    scope.task_result_filters = {FilterKey.OUT: [EgressFilter()] if site_out is None else site_out}
    router = TaskRouter()
    router.add_executor([task.value for task in TaskName], executor)
    config = ClientRunnerConfig(
        router,
        task_data_filters={f"train{FilterKey.DELIMITER}{FilterKey.IN}": job_in or []},
        task_result_filters={f"train{FilterKey.DELIMITER}{FilterKey.OUT}": job_out or []},
    )
    engine = Engine(scope, handlers or [])
    return through_nvflare(engine, ClientRunner({}, config, JOB_ID, engine), JOB_ID)


ASKED = ReceivedTask(TaskHead(task=TaskName.TRAIN, identifier=FIRST, seconds=20), b"asked", b"weights")


def test_a_task_goes_through_every_filter_and_the_egress_gate() -> None:
    gate = Gate()
    assert work_of(gate)(ASKED) == Outcome(ReturnCode.OK, b"said", b"update", digest_of(b"said", b"update"))
    assert gate.heard == [(b"asked", b"weights")]


def test_the_filters_of_site_and_job_for_what_comes_in_are_run_in_turn() -> None:
    gate = Gate()
    work_of(gate, site_in=[Changing(b"by the site", b"1")])(ASKED)
    work_of(gate, site_in=[Changing(b"by the site", b"1")], job_in=[Changing(b"by the job", b"2")])(ASKED)
    assert gate.heard == [(b"by the site", b"1"), (b"by the job", b"2")]


DENIED = Outcome(ReturnCode.TASK_RESULT_FILTER_ERROR)


def names_of(parts: list[Any]) -> str:
    return ", ".join(type(part).__name__ for part in parts) or "none"


@pytest.mark.parametrize(
    "filters",
    [
        {"site_out": []},
        {"site_out": [Throwing()]},
        {"site_out": [Nothing()]},
        {"site_out": [Throwing(), EgressFilter()]},
        {"site_out": [Nothing(), EgressFilter()]},
        {"site_out": [EgressFilter(), Throwing()]},
        {"site_out": [Changing(b"said", SECRET), EgressFilter()]},
        {"site_out": [EgressFilter(), Changing(b"said", SECRET)]},
        {"site_out": [EgressFilter(), EgressFilter()]},
        {"job_out": [Throwing()]},
        {"job_out": [Nothing()]},
        {"job_out": [Changing(b"said", SECRET)]},
        {"handlers": [Watching()]},
    ],
    ids=lambda filters: " ".join(f"{place}: {names_of(parts)}" for place, parts in filters.items()),
)
def test_where_a_filter_is_missing_throws_or_is_not_the_last_nothing_leaves(filters: dict[str, Any]) -> None:
    assert work_of(Gate(), **filters)(ASKED) == DENIED


@pytest.mark.parametrize("filters", [{"site_in": [Throwing()]}, {"job_in": [Throwing()]}, {"site_in": [Nothing()]}])
def test_where_a_filter_for_what_comes_in_throws_nothing_is_done(filters: dict[str, Any]) -> None:
    gate = Gate()
    assert work_of(gate, **filters)(ASKED) == Outcome(ReturnCode.TASK_DATA_FILTER_ERROR)
    assert gate.heard == []


def test_what_a_later_filter_adds_stays_behind() -> None:
    outcome = work_of(Gate(), job_out=[Adding()])(ASKED)
    assert outcome == Outcome(ReturnCode.OK, b"said", b"update", digest_of(b"said", b"update"))


class Unnoted(Executor):
    """An executor whose answer passed no gate."""

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        return reply_with(b"said", SECRET)


class Raising(Executor):
    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        raise ValueError(SECRET)


class Telling(Executor):
    """An executor that puts something else where NVFlare has a code."""

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        reply = note_passed(fl_ctx, reply_with(b"said", b"update"))
        reply.set_return_code(SECRET.decode())
        return reply


def test_what_passed_no_gate_stays() -> None:
    assert work_of(Unnoted())(ASKED) == DENIED
    assert work_of(Raising())(ASKED) == Outcome(ReturnCode.EXECUTION_EXCEPTION)
    assert work_of(Telling())(ASKED) == Outcome(ReturnCode.EXECUTION_EXCEPTION)
    assert work_of(Telling(), site_out=[])(ASKED) == Outcome(ReturnCode.EXECUTION_EXCEPTION)


def test_what_one_task_was_let_out_with_lets_out_no_other() -> None:
    work = work_of(Gate())
    assert work(ASKED).code == ReturnCode.OK
    for filters in ({"site_out": []}, {"site_out": [Nothing()]}):
        assert work_of(Gate(), **filters)(ASKED) == DENIED
