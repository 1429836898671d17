# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.apis.workspace import Workspace

from cloister.audit import Log
from cloister.errors import (
    CloisterError,
    DeniedError,
    EgressError,
    JobError,
    RecordsError,
    SandboxError,
    TrainerError,
)
from cloister.flare import executor as module
from cloister.flare.egress_filter import EgressFilter
from cloister.flare.exchange import Ask, Prepared, Refusal, Reply, Update, reply_of
from cloister.flare.executor import TrainingExecutor
from cloister.flare.job_folder import SITE_APP, write_job_folder
from cloister.flare.payload import Payload, content_of
from cloister.flare.refusal import TRAINER_FAILED
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import TensorSpec
from tests.flare.site_folder import SITE, admitted_job, make_site
from tests.flare.wire_form import first, reply_from, sent, whole

LAYOUT = AdapterLayout((TensorSpec("a", (2,), "uniform"),), ())
PREPARED = Prepared(
    training=18, validation=6, view="0" * 64, policy="1" * 64, sandbox="bubblewrap", layout=LAYOUT.to_json()
)
SECRET = "Ada Lovelace"
JOB_ID = "0b5e1d6e-9f43-4a5e-8f5c-2f3f8a4d9c11"


class JobInMemory:
    """Stands where a `SiteJob` with its trainer stands."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.agreed = LAYOUT
        self.error = error
        self.closed = 0
        self.norm = 0.25
        folder = tempfile.mkdtemp(prefix="executor-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.log = Log(Path(folder), SITE)
        self.trained: list[int] = []
        self.exchange: Any = None

    def prepare(self) -> Prepared:
        self._stumble()
        return PREPARED

    def train(self, asked: Ask, payload: Payload) -> tuple[Update, bytes]:
        self._stumble()
        self.trained.append(asked.round)
        return Update(round=asked.round, records=18, metrics={}, restarts=0), content_of(payload)

    def evaluate(self, asked: Ask, payload: Payload) -> Update:
        self._stumble()
        return Update(round=asked.round, records=0, metrics={"accuracy": 0.5}, restarts=0)

    def close(self) -> None:
        self.closed += 1

    def _stumble(self) -> None:
        if self.error:
            raise self.error


def executor_of(monkeypatch: pytest.MonkeyPatch, job: JobInMemory) -> TrainingExecutor:
    monkeypatch.setattr(module, "_open", lambda fl_ctx: job)
    monkeypatch.setattr(module, "_log_of", lambda fl_ctx: (job.log, JOB_ID))
    return TrainingExecutor()


def task(number: int = 1, adapter: bytes | None = None) -> Shareable:
    blob = first(LAYOUT, 1) if adapter is None else adapter
    return sent(whole(number), blob)


def ask(executor: TrainingExecutor, name: str, shareable: Shareable | None = None) -> tuple[Reply, bytes]:
    """What leaves the site after one task: the executor's answer, through the filter that stands behind it."""
    fl_ctx = FLContext()
    reply = executor.execute(name, shareable or task(), fl_ctx, Signal())
    return reply_from(EgressFilter().process(reply, fl_ctx))


def refused(executor: TrainingExecutor, name: str, shareable: Shareable | None = None) -> Refusal:
    reply, tensors = ask(executor, name, shareable)
    assert isinstance(reply, Refusal)
    assert tensors == b""
    return reply


def test_a_job_is_prepared_trained_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    job = JobInMemory()
    executor = executor_of(monkeypatch, job)
    assert ask(executor, "prepare", task(0, b"")) == (PREPARED, b"")
    update, tensors = ask(executor, "train", task(1))
    assert isinstance(update, Update)
    assert tensors == first(LAYOUT, 1)
    assert ask(executor, "evaluate", task(3))[1] == b""
    assert job.trained == [1]


def test_the_server_has_no_more_to_send_than_what_the_site_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    job = JobInMemory()
    executor = executor_of(monkeypatch, job)
    assert executor._most() == 0
    ask(executor, "prepare", task(0, b""))
    assert executor._most() == 0, "a site that describes its features does not know its tensors yet"
    job.exchange = SimpleNamespace(most_bytes=99)
    assert executor._most() == 99


@pytest.mark.parametrize(
    "error",
    [
        *(
            kind(SECRET)
            for kind in (
                KeyError,
                ValueError,
                TypeError,
                RuntimeError,
                OSError,
                MemoryError,
                RecursionError,
                AssertionError,
                StopIteration,
                ZeroDivisionError,
                LookupError,
                EOFError,
                UnicodeError,
                NotImplementedError,
                Exception,
            )
        ),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("name", ["prepare", "train", "evaluate"])
def test_whatever_goes_wrong_becomes_a_refusal_without_its_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, error: Exception
) -> None:
    job = JobInMemory()
    executor = executor_of(monkeypatch, job)
    if name != "prepare":
        ask(executor, "prepare", task(0, b""))
    job.error = error
    with caplog.at_level(logging.ERROR):
        reply = refused(executor, name)
    assert not reply.denied
    assert reply.reason.startswith("the site's job process failed")
    assert SECRET not in reply.model_dump_json()
    assert SECRET in caplog.text


@pytest.mark.parametrize(
    ("error", "denied"),
    [
        (DeniedError("`purpose`: no"), True),
        (EgressError("tensor `x` is missing"), False),
        (RecordsError("the dataset is empty"), False),
        (SandboxError("no bubblewrap"), False),
        (JobError("no"), False),
        (CloisterError("no", hint="try again"), False),
    ],
)
def test_errors_of_cloisters_own_are_told(monkeypatch: pytest.MonkeyPatch, error: CloisterError, denied: bool) -> None:
    reply = refused(executor_of(monkeypatch, JobInMemory(error)), "prepare", task(0, b""))
    assert (reply.denied, reply.reason) == (denied, str(error))


CHOSEN_BY_CODE = (
    TrainerError("the trainer died twice over one request"),
    TrainerError("the trainer used more than 4.0 GiB memory", hint="its own words are in the site's trainer log"),
)


@pytest.mark.parametrize("error", [*CHOSEN_BY_CODE, SandboxError("the sandbox cannot be started")])
@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_how_a_trainer_failed_stays_at_the_site(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, error: CloisterError
) -> None:
    job = JobInMemory()
    executor = executor_of(monkeypatch, job)
    ask(executor, "prepare", task(0, b""))
    job.error = error
    assert refused(executor, name) == Refusal(denied=False, reason=TRAINER_FAILED)
    assert error.message in caplog.text


@pytest.mark.parametrize("error", CHOSEN_BY_CODE)
def test_how_a_trainer_failed_to_get_ready_stays_at_the_site(
    monkeypatch: pytest.MonkeyPatch, error: CloisterError
) -> None:
    executor = executor_of(monkeypatch, JobInMemory(error))
    assert refused(executor, "prepare", task(0, b"")).reason == TRAINER_FAILED


def test_a_long_reason_is_cut_to_what_a_refusal_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = refused(executor_of(monkeypatch, JobInMemory(JobError("x" * 5000))), "prepare", task(0, b""))
    assert reply.reason == "x" * 2000


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_a_round_before_prepare_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    reply = refused(executor_of(monkeypatch, JobInMemory()), name)
    assert reply.reason == "the server asked for a round before the site was ready"


@pytest.mark.parametrize("name", ["", "submit_model", "validate", "PREPARE", "train "])
def test_an_unknown_task_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    refused(executor_of(monkeypatch, JobInMemory()), name)


def test_of_two_tasks_at_once_the_second_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()

    class Slow(JobInMemory):
        def train(self, asked: Ask, payload: Payload) -> tuple[Update, bytes]:
            begun.set()
            assert may_end.wait(5)
            return super().train(asked, payload)

    job = Slow()
    executor = executor_of(monkeypatch, job)
    ask(executor, "prepare", task(0, b""))
    first_one = threading.Thread(target=ask, args=(executor, "train", task(1)))
    first_one.start()
    assert begun.wait(5)
    refusal = refused(executor, "train", task(2))
    assert (refusal.denied, refusal.reason) == (True, "the server asks for two things at once")
    may_end.set()
    first_one.join()
    assert job.trained == [1]
    assert isinstance(ask(executor, "train", task(2))[0], Update)


def test_a_second_prepare_is_refused_and_the_first_job_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    job = JobInMemory()
    executor = executor_of(monkeypatch, job)
    ask(executor, "prepare", task(0, b""))
    assert refused(executor, "prepare", task(0, b"")).denied
    assert isinstance(ask(executor, "train")[0], Update)
    assert job.closed == 0


def test_a_prepare_after_the_end_is_refused_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = executor_of(monkeypatch, JobInMemory())
    ask(executor, "prepare", task(0, b""))
    executor.handle_event(EventType.ABORT_TASK, FLContext())
    assert refused(executor, "prepare", task(0, b"")).denied


@pytest.mark.parametrize("shareable", [Shareable(), reply_of(PREPARED)])
def test_what_is_no_task_is_refused(monkeypatch: pytest.MonkeyPatch, shareable: Shareable) -> None:
    refused(executor_of(monkeypatch, JobInMemory()), "prepare", shareable)


@pytest.mark.parametrize("event", [EventType.END_RUN, EventType.ABORT_TASK])
def test_the_end_closes_the_job(monkeypatch: pytest.MonkeyPatch, event: str) -> None:
    job = JobInMemory()
    executor = executor_of(monkeypatch, job)
    executor.handle_event(event, FLContext())
    ask(executor, "prepare", task(0, b""))
    executor.handle_event(EventType.START_RUN, FLContext())
    assert job.closed == 0
    executor.handle_event(event, FLContext())
    assert job.closed == 1


def test_an_abort_stops_a_round_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()

    class Slow(JobInMemory):
        def train(self, asked: Ask, payload: Payload) -> tuple[Update, bytes]:
            assert closed.wait(5)
            raise TrainerError("the trainer was closed")

        def close(self) -> None:
            closed.set()

    executor = executor_of(monkeypatch, Slow())
    monkeypatch.setattr(module, "_ABORT_POLL_SECONDS", 0.01)
    ask(executor, "prepare", task(0, b""))
    abort = Signal()
    abort.trigger(True)
    fl_ctx = FLContext()
    reply, _ = reply_from(executor.execute("train", task(), fl_ctx, abort))
    assert isinstance(reply, Refusal)
    assert reply.reason == TRAINER_FAILED


# --- the job as it lies in NVFlare's workspace


def context_of(root: Path, identifier: str) -> FLContext:
    workspace = Workspace(str(root / ".cloister" / "sites" / SITE), site_name=SITE)
    fl_ctx = FLContext()
    fl_ctx.set_prop(FLContextKey.WORKSPACE_OBJECT, workspace, private=True)
    fl_ctx.set_prop(ReservedKey.RUN_NUM, identifier, private=True, sticky=False)
    fl_ctx.set_prop(FLContextKey.CURRENT_JOB_ID, identifier, private=True)
    return fl_ctx


@pytest.fixture
def unpacked(tmp_path: Path) -> tuple[FLContext, Path]:
    """A job that was admitted and unpacked, and the app's folder in the site's workspace."""
    root = make_site(tmp_path / "federation").resolve()
    settings, identifier, admitted = admitted_job(root)
    fl_ctx = context_of(root, identifier)
    app = Path(Workspace(str(settings.workspace), site_name=SITE).get_app_dir(identifier))
    app.parent.mkdir(parents=True)
    (write_job_folder(admitted.job, [SITE], admitted.manifest, tmp_path / "job") / SITE_APP).rename(app)
    return fl_ctx, app


def test_the_job_is_opened_from_the_workspace_and_what_lay_there_before_is_removed(
    unpacked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fl_ctx, app = unpacked
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(module, "check_start", lambda *about: asked.append(about))  # this app's manifest says nothing
    old = app.parent / "private" / "view"
    old.mkdir(parents=True)
    (old / "train.parquet").write_bytes(b"left behind by a crash")
    job = module._open(fl_ctx)
    assert job.job.job == "tiny-triage"
    assert not old.exists()
    assert job.private.stat().st_mode & 0o777 == 0o700
    assert [about[2] for about in asked] == [job.admitted]


def test_a_job_that_may_no_longer_start_is_refused_when_it_is_opened(unpacked: Any) -> None:
    """The record was made without asking for a manifest that counts; the start asks for it."""
    fl_ctx, _ = unpacked
    reply = TrainingExecutor().execute("prepare", task(0, b""), fl_ctx, Signal())
    refusal, _ = reply_from(reply)
    assert isinstance(refusal, Refusal)
    assert "signed statement" in refusal.reason


def test_code_beside_the_job_is_refused_when_it_is_opened(unpacked: Any) -> None:
    fl_ctx, app = unpacked
    (app / "custom").mkdir()
    (app / "custom" / "x.py").write_text("import os")
    reply = TrainingExecutor().execute("prepare", task(0, b""), fl_ctx, Signal())
    refusal, _ = reply_from(reply)
    assert isinstance(refusal, Refusal)
    assert "custom/x.py" in refusal.reason


@pytest.mark.parametrize(
    ("name", "old", "new"), [("job.yaml", b"rounds: 2", b"rounds: 3"), ("manifest.json", b"{", b" {")]
)
def test_a_job_exchanged_after_admission_is_refused_when_it_is_opened(
    unpacked: Any, name: str, old: bytes, new: bytes
) -> None:
    fl_ctx, app = unpacked
    path = app / "config" / name
    path.write_bytes(path.read_bytes().replace(old, new))
    reply = TrainingExecutor().execute("prepare", task(0, b""), fl_ctx, Signal())
    refusal, _ = reply_from(reply)
    assert refusal == Refusal(denied=True, reason="the job is not the one that was admitted")
