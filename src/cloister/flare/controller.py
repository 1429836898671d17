# SPDX-License-Identifier: Apache-2.0
"""The server's part in a job: NVFlare's controller, which asks the sites and hands their answers to `Rounds`.

It loads no base model and builds no object that a site named. It waits for every site that is there, until the round's
deadline; a site that dies, refuses or is late is gone on without, as long as enough are left.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_common.workflows.model_controller import ModelController

from cloister.audit import ERROR, UNREADABLE, Fact, Kind, Log
from cloister.errors import AuditError, CloisterError, DeniedError, JobError
from cloister.flare.app_check import files_in
from cloister.flare.audit_log import log_of_server, record_failure, sign_log
from cloister.flare.exchange import (
    Ask,
    Refusal,
    Reply,
    TaskName,
    Update,
    digest_of,
    read_reply,
    received_bytes,
    task_of,
)
from cloister.flare.job_folder import SERVER_APP, read_app
from cloister.flare.rounds import Rounds

_log = logging.getLogger(__name__)

PROGRESS = "cloister.progress"
RESULT = "cloister"

_TASK_CHECK_SECONDS = 0.01
_WAIT_SECONDS = 0.5


class AdapterController(ModelController):
    """Runs the rounds of one job."""

    def __init__(self) -> None:
        super().__init__(persistor_id="", ignore_result_error=True, task_check_period=_TASK_CHECK_SECONDS)
        self._rounds: Rounds | None = None
        self._log: Log | None = None
        self._job_id = ""
        self._answered = threading.Condition()
        self._waiting: set[str] = set()  # guarded by _answered, as are the next two
        self._lost: set[str] = set()
        self._late: set[str] = set()

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Read the job and offer its progress to whoever may see the job."""
        super().start_controller(fl_ctx)
        # NVFlare sets `task_check_period` on its communicator and reads `_task_check_period` (2.9.0).
        self.communicator._task_check_period = _TASK_CHECK_SECONDS
        workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        job_id = str(fl_ctx.get_job_id())
        document = read_app(SERVER_APP, files_in(Path(workspace.get_app_dir(job_id)))).job
        sites = sorted(client.name for client in self.engine.get_clients())
        self._rounds = Rounds(document, job_id, sites, Path(workspace.get_run_dir(job_id)) / RESULT)
        self._log, self._job_id = log_of_server(Path(workspace.get_root_dir())), job_id
        self.engine.register_app_command(PROGRESS, self._progress)

    def _progress(self, _topic: str, _data: object, _fl_ctx: FLContext) -> dict[str, Any]:
        return self.rounds.progress()

    @property
    def rounds(self) -> Rounds:
        """The job's rounds.

        Raises:
            JobError: before the controller was started.
        """
        if self._rounds is None:
            raise JobError("the server's job process was not started properly")
        return self._rounds

    def run(self) -> None:
        """Prepare, train round by round, measure, choose."""
        rounds = self.rounds
        try:
            self._ask(TaskName.PREPARE, Ask(round=0), b"", rounds.invited)
            if rounds.job.form.statistics:
                whole = rounds.pool()
                if not rounds.job.trains:
                    rounds.finish_described(self._record_result)
                    return
                self._ask(TaskName.SETTLE, Ask(round=0, statistics=whole), b"", rounds.taking_part)
            rounds.begin()
            while (number := rounds.next_round()) is not None:
                self._ask(TaskName.TRAIN, Ask(round=number), rounds.adapter_bytes(), rounds.taking_part)
                rounds.finish_round()
            self._ask(TaskName.EVALUATE, Ask(round=rounds.last + 1), rounds.adapter_bytes(), rounds.taking_part)
            rounds.finish(self._record_result)
        except CloisterError as error:
            self._fail(str(error), denied=isinstance(error, DeniedError))
        except OSError as error:
            self._fail(f"the server cannot write the job's state: {(error.strerror or 'no reason given').lower()}")
        finally:
            if self._log:
                sign_log(self._log)

    def _record_result(self, adapter: str, chosen: int) -> None:
        facts: dict[str, Fact] = {"adapter": adapter, "chosen_round": chosen, "sites": tuple(self.rounds.taking_part)}
        facts["document"] = self.rounds.document_digest
        self._audit.append(Kind.RESULT, facts, job=self._job_id)

    @property
    def _audit(self) -> Log:
        if self._log is None:
            raise AuditError("the server's audit log was not opened")
        return self._log

    def _fail(self, reason: str, *, denied: bool = False) -> None:
        if self._log:
            record_failure(self._log, "rounds", reason, job=self._job_id)
        try:
            self.rounds.fail(reason, denied=denied)
        finally:  # also where a full disk keeps the reason from being written
            self.panic(reason)

    def _ask(self, task: TaskName, ask: Ask, adapter: bytes, sites: list[str]) -> None:
        """Send one task to ``sites`` and hand in the answers that come before the deadline."""
        rounds = self.rounds
        rounds.ask(task, ask.round, sites)
        with self._answered:
            self._waiting = set(sites)
            targets = [site for site in sites if site not in self._lost]
        if targets:
            deadline = rounds.job.federation.round_deadline_seconds
            model = task_of(ask, adapter, total_rounds=rounds.last)
            self.broadcast_model(
                model, task.value, targets, min_responses=0, timeout=deadline, blocking=False, callback=self._received
            )
            self._wait(time.monotonic() + deadline)
            self.cancel_all_tasks()
        with self._answered:
            missing, self._waiting = self._waiting, set()
            self._late = missing - self._lost
        for site in sorted(missing):
            rounds.absent(site, "is not reachable" if site in self._lost else "did not answer before the deadline")

    def _wait(self, deadline: float) -> None:
        with self._answered:
            while self._awaited() and time.monotonic() < deadline:
                if self.abort_signal.triggered:
                    raise self._stopped()
                self._answered.wait(_WAIT_SECONDS)

    def _awaited(self) -> set[str]:
        """Sites that the round is held for: those that were late before only where the others are too few."""
        there = self._waiting - self._lost
        others = len(self.rounds.taking_part) - len((self._late | self._lost) & set(self.rounds.taking_part))
        return there - self._late if others >= self.rounds.job.federation.minimum_sites else there

    def _stopped(self) -> JobError:
        """Why NVFlare stopped the job: somebody aborted it, or it counted too few sites that are left."""
        if not self._lost:
            return JobError("the job was aborted")
        left = len(self.rounds.invited) - len(self._lost)
        asked, needed = len(self.rounds.invited), self.rounds.job.federation.minimum_sites
        gone = ", ".join(f"`{site}`" for site in sorted(self._lost))
        return JobError(f"{left} of {asked} sites are left, and the job needs {needed}: {gone} cannot be reached")

    def _received(self, model: FLModel) -> bool:
        """Take one site's answer; called by NVFlare, from a thread of its own, once per site and task."""
        site = str(model.meta["client_name"])
        reply, tensors, problem = _read(model)
        if not self._is_recorded(site, reply, received_bytes(model)):
            reply, problem = None, "the server could not record the site's answer"
        if reply is None:
            reply, tensors = Refusal(denied=False, reason=problem), b""
        return self._take(site, reply, tensors)

    def _is_recorded(self, site: str, reply: Reply | None, came: tuple[bytes, bytes] | None, kind: str = "") -> bool:
        """Write down what came, whether or not it will count; what could not be written down does not count."""
        facts: dict[str, Fact] = {"site": site, "reply": kind or (reply.kind if reply else UNREADABLE)}
        facts |= {"digest": digest_of(*came), "bytes": len(came[1])} if came else {}
        if isinstance(reply, Update):
            facts["records"] = reply.records
            facts |= {"site_head": reply.audit} if reply.audit else {}
        number = reply.round if isinstance(reply, Update) else 0
        try:
            self._audit.append(Kind.RECEIVE, facts, job=self._job_id, number=number)
        except Exception:  # noqa: BLE001 - a gate: what is not recorded does not count
            _log.exception("what site `%s` sent in job %s could not be recorded", site, self._job_id)
            return False
        return True

    def _accept_train_result(
        self, client_name: str, result: Shareable, fl_ctx: FLContext, is_unknown_task: bool = False
    ) -> bool:
        """See what NVFlare would hand on to nobody: its own error codes, late answers, and what is no model.

        All of it came, so it is recorded; what was waited for is refused, so that nobody waits for more.
        """
        accepted = bool(super()._accept_train_result(client_name, result, fl_ctx, is_unknown_task))
        if not accepted:
            self._is_recorded(client_name, None, None, ERROR)
            reason = f"the site's job process answered with {result.get_return_code()}"
        else:
            model = _model_of(result)
            if model and not is_unknown_task:
                return True  # `_received` is called with it
            self._is_recorded(client_name, _read(model)[0] if model else None, received_bytes(model) if model else None)
            accepted, reason = is_unknown_task, "the site's job process sent what is no answer"
        if not is_unknown_task:
            self._take(client_name, Refusal(denied=False, reason=reason), b"")
        return accepted

    def _take(self, site: str, reply: Reply, tensors: bytes) -> bool:
        with self._answered:
            if site not in self._waiting:
                return False
            accepted = self.rounds.take(site, reply, tensors)
            self._waiting.discard(site)
            self._answered.notify_all()
            return accepted

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Note sites that are gone and sites that are back."""
        gone = fl_ctx.get_prop(FLContextKey.DISCONNECTED_CLIENT_NAME)
        back = fl_ctx.get_prop(FLContextKey.RECONNECTED_CLIENT_NAME)
        with self._answered:
            if event_type == EventType.CLIENT_DISCONNECTED and gone:
                self._lost.add(str(gone))
            elif event_type == EventType.CLIENT_RECONNECTED and back:
                self._lost.discard(str(back))
            self._answered.notify_all()


def _read(model: FLModel) -> tuple[Reply | None, bytes, str]:
    """The reply and its tensors, or no reply and why not."""
    try:
        return (*read_reply(model), "")
    except CloisterError as error:
        return None, b"", str(error)
    except Exception:  # noqa: BLE001 - a gate: what cannot be read, for whatever reason, is no reply
        return None, b"", "the site sent a reply that is not one"


def _model_of(result: Shareable) -> FLModel | None:
    """What NVFlare will make of ``result``; None where it will make nothing."""
    try:
        return FLModelUtils.from_shareable(result)
    except Exception:  # noqa: BLE001 - a gate: what cannot be read, for whatever reason, is no answer
        return None
