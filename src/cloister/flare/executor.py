# SPDX-License-Identifier: Apache-2.0
"""A site's part in a job: NVFlare's executor in the client job process, which is trusted and runs no code of the job's.

`prepare` checks the base model, writes the governed view, asks the policy again now that the records are counted, and
starts the trainer in its sandbox; where a network is made for what columns hold, it describes them instead, and
`settle` starts the trainer. `train` and `evaluate` pass the tensors through the trainer and the egress gate.
Whatever goes wrong becomes a refusal that says so in a sentence of Cloister's own; the trainer's words stay here, and
so does how it failed, which code that a job brings can choose.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from cloister.audit import Fact, Kind, Log
from cloister.errors import DeniedError, JobError
from cloister.flare.app_check import files_in
from cloister.flare.audit_log import log_of_site, record_failure, sign_log
from cloister.flare.egress_filter import note_passed
from cloister.flare.exchange import (
    Refusal,
    Reply,
    TaskName,
    Update,
    content_of,
    digest_of,
    read_task,
    reply_of,
)
from cloister.flare.job_folder import SITE_APP, read_app
from cloister.flare.leftover_updates import RECEIVED
from cloister.flare.not_recorded import NOT_RECORDED
from cloister.flare.payload import Payload, size_of
from cloister.flare.refusal import refusal_of
from cloister.flare.site_job import SiteJob
from cloister.flare.standing import check_start
from cloister.flare.state import SiteSettings
from cloister.flare.task_runner import TaskRunner, through_nvflare

_log = logging.getLogger(__name__)

T = TypeVar("T")

_ABORT_POLL_SECONDS = 0.2


class TrainingExecutor(Executor):
    """Does what the server asks of a site, or refuses."""

    def __init__(self) -> None:
        super().__init__()
        self._job: SiteJob | None = None
        self._opened = False
        self._busy = threading.Lock()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answer one task."""
        if not self._busy.acquire(blocking=False):
            reply = Refusal(denied=True, reason="the server asks for two things at once")
            return self._recorded(fl_ctx, task_name, reply, b"")
        try:
            return self._execute(task_name, shareable, fl_ctx, abort_signal)
        finally:
            self._busy.release()

    def _execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        reply: Reply
        tensors: Payload = b""
        try:
            reply, tensors = self._answer(task_name, shareable, fl_ctx, abort_signal)
        except Exception as error:  # noqa: BLE001 - a gate: whatever goes wrong inside denies, and its text stays here
            reply = refusal_of(error, task_name)
        return self._recorded(fl_ctx, task_name, reply, tensors)

    def _recorded(self, fl_ctx: FLContext, task_name: str, reply: Reply, tensors: Payload) -> Shareable:
        """The reply, once the site's audit log has it on disk; one sentence where it could not be written."""
        shareable = reply_of(reply, tensors)
        try:
            log, job_id = _log_of(fl_ctx)
            if isinstance(reply, Refusal):
                record_failure(log, task_name, reply.reason, job=job_id)
            digest, size = digest_of(*content_of(shareable)), size_of(tensors)
            facts: dict[str, Fact] = {"reply": reply.kind, "digest": digest, "bytes": size}
            if isinstance(reply, Update):
                facts |= {"records": reply.records, "metrics": tuple(sorted(reply.metrics))}
            if size and self._job and self._job.norm is not None:
                facts["norm"] = self._job.norm
            number = reply.round if isinstance(reply, Update) else 0
            log.append(Kind.RELEASE, facts, job=job_id, number=number)
        except Exception:  # noqa: BLE001 - a gate: what is not recorded does not leave
            _log.exception("the answer to task `%s` could not be recorded", task_name)
            self._close()
            return note_passed(fl_ctx, reply_of(NOT_RECORDED))
        return note_passed(fl_ctx, shareable, digest)

    def _answer(
        self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal
    ) -> tuple[Reply, Payload]:
        ask, payload = read_task(shareable)
        task = TaskName(task_name)
        if task is TaskName.PREPARE:
            if self._opened:  # a second beginning would let the server ask for every round again
                raise DeniedError("the server asks the site to prepare a second time")
            self._opened = True
            self._job = _open(fl_ctx)
            return self._watched(abort_signal, self._job.prepare), b""
        job = self._job
        if job is None:
            raise JobError("the server asked for a round before the site was ready")
        if task is TaskName.SETTLE:
            if (statistics := ask.statistics) is None:
                raise JobError("the server does not say what the features are like")
            return self._watched(abort_signal, lambda: job.settle(statistics)), b""
        if task is TaskName.TRAIN:
            return self._watched(abort_signal, lambda: job.train(ask, payload))
        return self._watched(abort_signal, lambda: job.evaluate(ask, payload)), b""

    def _watched(self, abort_signal: Signal, work: Callable[[], T]) -> T:
        """Do ``work``, and stop the trainer when the job is aborted meanwhile."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_ABORT_POLL_SECONDS):
                if abort_signal.triggered:
                    self._close()
                    return

        threading.Thread(target=watch, daemon=True).start()
        try:
            return work()
        finally:
            done.set()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Take tasks when the job begins; stop the trainer and remove the view when it ends."""
        if event_type == EventType.START_RUN:
            self._begin(fl_ctx)
        elif event_type in (EventType.END_RUN, EventType.ABORT_TASK):
            self._close()

    def _begin(self, fl_ctx: FLContext) -> None:
        engine, runner = fl_ctx.get_engine(), fl_ctx.get_prop(FLContextKey.RUNNER)
        if engine is None or runner is None:
            return  # not in a job process of NVFlare's
        job_id, signal = str(fl_ctx.get_job_id()), runner.run_abort_signal
        work = through_nvflare(engine, runner, job_id)
        spool = Path(fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT).get_run_dir(job_id)) / RECEIVED
        cell = engine.get_cell().core_cell
        TaskRunner(cell, job_id, work, lambda: bool(signal.triggered), spool, self._most).open()

    def _most(self) -> int:
        """Bytes of tensors that the server may have to send; none before the site knows which there are."""
        job = self._job
        return 0 if job is None or job.exchange is None else job.exchange.most_bytes

    def _close(self) -> None:
        job, self._job = self._job, None
        if job:
            job.close()
            sign_log(job.log)


def _log_of(fl_ctx: FLContext) -> tuple[Log, str]:
    """The site's audit log, and which job it is of."""
    workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
    return log_of_site(SiteSettings.read(Path(workspace.get_root_dir()))), str(fl_ctx.get_job_id())


def _open(fl_ctx: FLContext) -> SiteJob:
    workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
    job_id = str(fl_ctx.get_job_id())
    settings = SiteSettings.read(Path(workspace.get_root_dir()))
    app = read_app(SITE_APP, files_in(Path(workspace.get_app_dir(job_id))))
    private = Path(workspace.get_run_dir(job_id)) / "private"
    shutil.rmtree(private, ignore_errors=True)
    job = SiteJob.open(settings, job_id, app, private, lambda: datetime.now(UTC))
    check_start(settings, app, job.admitted, datetime.now(UTC))
    return job
