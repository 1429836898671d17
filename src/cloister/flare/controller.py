# SPDX-License-Identifier: Apache-2.0
"""The server's part in a job: NVFlare's controller, which asks the sites and hands their answers to `Rounds`.

It loads no base model and builds no object that a site named. It waits for every site that is there, until the round's
deadline; a site that dies, refuses or is late is gone on without, as long as enough are left.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.core_cell import CoreCell

from cloister.audit import ERROR, UNREADABLE, Fact, Kind, Log
from cloister.errors import AuditError, CloisterError, DeniedError, JobError
from cloister.flare.app_check import files_in
from cloister.flare.audit_log import log_of_server, record_failure, sign_log
from cloister.flare.course import run_course
from cloister.flare.exchange import (
    Refusal,
    Reply,
    TaskName,
    Update,
    reply_in,
)
from cloister.flare.job_folder import SERVER_APP, read_app
from cloister.flare.leftover_updates import RECEIVED
from cloister.flare.payload import Payload, discard, size_of
from cloister.flare.rounds import Rounds
from cloister.flare.socket_bytes import bytes_by_site
from cloister.flare.task import Task
from cloister.flare.task_sender import Answer, Part, TaskSender

_log = logging.getLogger(__name__)

PROGRESS = "cloister.progress"
RESULT = "cloister"

_WAIT_SECONDS = 0.5


class AdapterController(Controller):
    """Runs the rounds of one job."""

    def __init__(self) -> None:
        super().__init__()
        self._rounds: Rounds | None = None
        self._log: Log | None = None
        self._job_id = ""
        self._tasks: TaskSender | None = None
        self._abort = Signal()
        self._cell: CoreCell | None = None
        self._answered = threading.Condition()
        self._asked = ""  # guarded by _answered, as are the next four
        self._sites: frozenset[str] = frozenset()
        self._waiting: set[str] = set()
        self._lost: set[str] = set()
        self._late: set[str] = set()

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Read the job and offer its progress to whoever may see the job."""
        engine, workspace = fl_ctx.get_engine(), fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        job_id = str(fl_ctx.get_job_id())
        document = read_app(SERVER_APP, files_in(Path(workspace.get_app_dir(job_id)))).job
        sites = sorted(client.name for client in engine.get_clients())
        self._rounds = Rounds(document, job_id, sites, Path(workspace.get_run_dir(job_id)) / RESULT)
        self._log, self._job_id = log_of_server(Path(workspace.get_root_dir())), job_id
        spool = Path(workspace.get_run_dir(job_id)) / RECEIVED
        self._cell = cell = engine.get_cell().core_cell
        most = self._rounds.most_from
        self._tasks = TaskSender(cell, job_id, sites, self._received, spool, most)
        self._tasks.open()
        engine.register_app_command(PROGRESS, self._progress)

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:  # noqa: ARG002 - NVFlare's signature
        """Run the job; NVFlare calls it in a thread of its own."""
        self._abort = abort_signal
        self.run()

    def stop_controller(self, fl_ctx: FLContext) -> None:  # noqa: ARG002 - NVFlare's signature
        """Ask nobody any more."""
        if self._tasks:
            self._tasks.withdraw()

    def panic(self, reason: str) -> None:
        """Have NVFlare end the job as one that failed."""
        with self._engine.new_context() as fl_ctx:
            self.system_panic(reason, fl_ctx)

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
            run_course(rounds, self._ask, self._record_result)
        except CloisterError as error:
            self._fail(str(error), denied=isinstance(error, DeniedError))
        except OSError as error:
            self._fail(f"the server cannot write the job's state: {(error.strerror or 'no reason given').lower()}")
        except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside, the job ends and says that it has failed
            _log.exception("the rounds of job %s failed", self._job_id)
            self._fail("the server's job process failed; its administrator finds the reason in the server's log")
        finally:
            if self._log:
                sign_log(self._log)

    def _record_result(self, adapter: str, chosen: int) -> None:
        facts: dict[str, Fact] = {"adapter": adapter, "chosen_round": chosen, "sites": tuple(self.rounds.taking_part)}
        facts["document"] = self.rounds.record.document_digest
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

    def _ask(self, task: TaskName, sites: list[str], parts: list[Task]) -> None:
        """Ask ``sites`` for one thing, some perhaps in other words, and hand in the answers before the deadline."""
        rounds = self.rounds
        rounds.ask(task, parts[0].ask.round if parts else 0, sites)
        with self._answered:
            self._sites, self._waiting = frozenset(sites), set(sites)
            there = [replace(part, sites=tuple(sorted(set(part.sites) - self._lost))) for part in parts]
        if any(part.sites for part in there):
            seconds = float(rounds.job.federation.round_deadline_seconds)
            deadline = time.monotonic() + seconds
            self._send(task, there, seconds)
            self._wait(deadline)
        with self._answered:
            missing, self._waiting, self._asked = self._waiting, set(), ""
            self._late = missing - self._lost
        if self._tasks:
            self._tasks.withdraw()
        reason = "was not waited for" if rounds.is_enough() else "did not answer before the deadline"
        for site in sorted(missing):
            rounds.absent(site, "is not reachable" if site in self._lost else reason)
        self._count_bytes()

    def _count_bytes(self) -> None:
        """Have the rounds tell how much travelled; nothing hangs on it, and a job goes on without."""
        if self._cell is None:
            return
        try:
            self.rounds.record.travelled(bytes_by_site(self._cell))
        except Exception:  # noqa: BLE001 - it is a figure for people, and no gate
            _log.warning("how much travelled in job %s cannot be told", self._job_id, exc_info=True)

    def _send(self, task: TaskName, parts: list[Task], seconds: float) -> None:
        if self._tasks is None:
            raise JobError("the server's job process was not started properly")
        sent = [Part(part.sites, part.ask.model_dump_json().encode(), part.payload) for part in parts]
        with self._answered:  # so that no answer is looked at before it is known what was asked
            self._asked = self._tasks.send(task, sent, seconds)

    def _wait(self, deadline: float) -> None:
        with self._answered:
            while self._awaited() and time.monotonic() < deadline:
                if self._abort.triggered:
                    raise self._stopped()
                self._answered.wait(_WAIT_SECONDS)

    def _awaited(self) -> set[str]:
        """Sites that the round is held for: those that were late before only where the others are too few."""
        if self.rounds.is_enough():
            return set()
        there = self._waiting - self._lost
        others = len(self._sites - self._late - self._lost)
        return there - self._late if others >= self.rounds.job.federation.minimum_sites else there

    def _stopped(self) -> JobError:
        """Why NVFlare stopped the job: somebody aborted it, or it counted too few sites that are left."""
        if not self._lost:
            return JobError("the job was aborted")
        left = len(self.rounds.invited) - len(self._lost)
        asked, needed = len(self.rounds.invited), self.rounds.job.federation.minimum_sites
        gone = ", ".join(f"`{site}`" for site in sorted(self._lost))
        return JobError(f"{left} of {asked} sites are left, and the job needs {needed}: {gone} cannot be reached")

    def _received(self, answer: Answer) -> None:
        """Take one site's answer: all that came is recorded, and what is waited for counts or is refused.

        Called from threads of NVFlare's, once for each site and task, and for what comes and is no answer.
        """
        reply, problem, kind = None, f"the site's job process answered with {answer.code}", ERROR
        if answer.code in ("", ReturnCode.OK):
            reply, problem = _read(answer.message)
            kind = ""
        if not self._is_recorded(answer, reply, kind):
            reply, problem = None, "the server could not record the site's answer"
        payload = answer.payload or b""
        try:
            self._take(answer, reply or Refusal(denied=False, reason=problem), payload if reply else b"")
        finally:
            discard(payload)

    def _is_recorded(self, answer: Answer, reply: Reply | None, kind: str = "") -> bool:
        """Write down what came, whether or not it will count; what could not be written down does not count."""
        facts: dict[str, Fact] = {"site": answer.site, "reply": kind or (reply.kind if reply else UNREADABLE)}
        if answer.payload is not None:
            facts |= {"digest": answer.digest, "bytes": size_of(answer.payload)}
        if isinstance(reply, Update):
            facts["records"] = reply.records
            facts |= {"site_head": reply.audit} if reply.audit else {}
        number = reply.round if isinstance(reply, Update) else 0
        try:
            self._audit.append(Kind.RECEIVE, facts, job=self._job_id, number=number)
        except Exception:  # noqa: BLE001 - a gate: what is not recorded does not count
            _log.exception("what site `%s` sent in job %s could not be recorded", answer.site, self._job_id)
            return False
        return True

    def _take(self, answer: Answer, reply: Reply, payload: Payload) -> bool:
        """Hand in what was waited for; an answer to an earlier asking is late, and counts for no other."""
        site = answer.site
        with self._answered:
            if answer.identifier not in (None, self._asked):
                _log.info("site `%s` answered too late", site)
                self.rounds.record.late(site)
                return False
            if site not in self._waiting:
                return False
            accepted = self.rounds.take(site, reply, payload)
            self._waiting.discard(site)
            self._answered.notify_all()
            return accepted

    def process_result_of_unknown_task(self, *about: Any, **more: Any) -> None:
        """Nobody is asked through NVFlare's own tasks, so no result of one is taken."""

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


def _read(message: bytes | None) -> tuple[Reply | None, str]:
    """The reply, or none and why not."""
    if message is None:
        return None, "the site's job process sent what is no answer"
    try:
        return reply_in(message), ""
    except CloisterError as error:
        return None, str(error)
    except Exception:  # noqa: BLE001 - a gate: what cannot be read, for whatever reason, is no reply
        return None, "the site sent a reply that is not one"
