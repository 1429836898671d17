# SPDX-License-Identifier: Apache-2.0
"""A site's end of a job's rounds: takes one task at a time from the server's process of this job, and answers it.

A task goes through what NVFlare would put it through had the site asked for it: the filters of the site and of the job
for what comes in, the executor, the filters for what goes out, of which `EgressFilter` is the last. What leaves is what
that filter let out of this very task; where it did not run, or something changed afterwards, an error code leaves.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvflare.apis.fl_constant import ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import ReturnCode as CellCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.message import Message
from nvflare.private.fed.client.client_runner import ClientRunner, TaskAssignment

from cloister.files import private_folder
from cloister.flare.egress_filter import code_of, released_digest
from cloister.flare.exchange import content_of as content_of_reply
from cloister.flare.exchange import task_with
from cloister.flare.fetch import MAXIMUM_PAYLOAD_BYTES, Fetch
from cloister.flare.holder import Holder
from cloister.flare.parcel import (
    MAXIMUM_INLINE_BYTES,
    AnswerHead,
    Reference,
    TaskHead,
    acknowledgement,
    is_acknowledged,
    origin_of,
    pack,
    unpack,
)
from cloister.flare.payload import Payload, content_of, size_of
from cloister.flare.site_line import SiteLine
from cloister.flare.traffic import ANSWER, READY, ROUNDS, TASK

_log = logging.getLogger(__name__)

_ACKNOWLEDGED_SECONDS = 5.0
_AGAIN_SECONDS = 0.1
_AGAIN_SECONDS_AT_MOST = 2.0


@dataclass(frozen=True)
class ReceivedTask:
    """What the server asks of this site, as it came.

    Attributes:
        head: which task it is.
        message: JSON.
        payload: tensors; a file, where they are too many for a message.
    """

    head: TaskHead
    message: bytes = field(repr=False)
    payload: bytes | Path = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What may leave the site.

    Attributes:
        code: NVFlare's word for how it went.
        message: JSON; empty where the code is not `OK`.
        tensors: likewise.
        digest: over both, as `cloister.flare.exchange.digest_of` has it; likewise.
    """

    code: str
    message: bytes = field(default=b"", repr=False)
    tensors: Payload = field(default=b"", repr=False)
    digest: str = ""


Work = Callable[[ReceivedTask], Outcome]
"""Does a task."""


class TaskRunner:
    """Takes tasks for one job, one at a time and each once.

    Args:
        cell: of the site's job process.
        job_id: NVFlare's identifier.
        work: does a task, with every gate.
        stopped: whether the job is over.
        spool: for what comes and is too large for memory; emptied here.
        most: how many bytes of tensors the server may have to send now; where it has more, nothing of it is fetched.
    """

    def __init__(
        self,
        cell: CoreCell,
        job_id: str,
        work: Work,
        stopped: Callable[[], bool],
        spool: Path,
        most: Callable[[], int] = lambda: MAXIMUM_PAYLOAD_BYTES,
    ) -> None:
        self._most = most
        self._cell = cell
        self._line = SiteLine(cell)
        self._holder = Holder(cell, self._line)
        self._spool = spool
        self._server = FQCN.join([FQCN.ROOT_SERVER, job_id])
        self._work = work
        self._stopped = stopped
        self._lock = threading.Lock()
        self._under_way = ""  # guarded by _lock, as is the next
        self._taken: set[str] = set()

    def open(self) -> None:
        """Take tasks from now on, and tell the server so until it has heard."""
        shutil.rmtree(self._spool, ignore_errors=True)
        private_folder(self._spool)
        self._holder.open()
        self._cell.register_request_cb(ROUNDS, TASK, self._hear_task)
        threading.Thread(target=self._announce, daemon=True, name="ready").start()

    def _announce(self) -> None:
        self._send_until_heard(READY, lambda: Message(headers={}, payload=b""), None)

    def _hear_task(self, carrier: Message) -> Message:
        if origin_of(carrier) != self._server:
            _log.warning(
                "dropped a task of `%.200s`, which is not the server's process of this job", origin_of(carrier)
            )
            return acknowledgement(CellCode.UNAUTHENTICATED)
        arrived = time.monotonic()
        head, message, tensors = unpack(carrier, TaskHead)
        with self._lock:
            if head.identifier in self._taken:
                return acknowledgement()
            if self._under_way:
                return acknowledgement(CellCode.SERVICE_UNAVAILABLE)
            self._taken.add(head.identifier)
            self._under_way = head.identifier
        work = (head, message, tensors, arrived + head.seconds)
        threading.Thread(target=self._do, args=work, daemon=True, name=f"do-{head.task.value}").start()
        return acknowledgement()

    def _do(self, head: TaskHead, message: bytes, tensors: bytes, deadline: float) -> None:
        path = self._spool / head.identifier
        try:
            payload = self._fetched(path, message, head.reference, deadline) if head.reference else tensors
            outcome = self._work(ReceivedTask(head, message, payload))
        except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside leaves a code and nothing else
            _log.exception("task `%s` failed", head.task.value)
            outcome = Outcome(ReturnCode.EXECUTION_EXCEPTION)
        finally:
            path.unlink(missing_ok=True)
            with self._lock:
                self._under_way = ""
        self._answer(head, outcome, deadline)

    def _fetched(self, path: Path, message: bytes, reference: Reference, deadline: float) -> Path:
        fetch = Fetch(self._cell, self._server, deadline, self._stopped, self._most(), self._line)
        return fetch.into(path, message, reference)

    def _answer(self, task: TaskHead, outcome: Outcome, deadline: float) -> None:
        """Send what may leave; of what is too large, its digest, and let the server's process fetch it meanwhile."""
        reference, tensors = None, outcome.tensors
        if size_of(tensors) > MAXIMUM_INLINE_BYTES:
            reference = self._holder.offer(outcome.message, tensors, {self._server}, outcome.digest)
            tensors = b""
        inline = content_of(tensors)
        head = AnswerHead(identifier=task.identifier, code=outcome.code, reference=reference)
        try:
            self._send_until_heard(ANSWER, lambda: pack(head, outcome.message, inline), deadline)
        finally:
            if reference:
                self._holder.withdraw(reference)

    def _send_until_heard(self, topic: str, parcel: Callable[[], Message], deadline: float | None) -> bool:
        """Send once at least, and again until the server has acknowledged it, or nobody waits for it any more."""
        pause = _AGAIN_SECONDS
        while not self._stopped():
            try:
                reply = self._cell.send_request(
                    channel=ROUNDS,
                    topic=topic,
                    target=self._server,
                    request=parcel(),
                    timeout=_ACKNOWLEDGED_SECONDS,
                    optional=True,
                )
                if is_acknowledged(reply):
                    return True
            except Exception:  # noqa: BLE001 - NVFlare raises while a connection is made anew
                _log.info("the server's process could not be reached; it is tried again", exc_info=True)
            if deadline is not None and time.monotonic() > deadline:
                _log.warning("the server's process did not hear the answer before the deadline")
                return False
            time.sleep(pause)
            pause = min(2 * pause, _AGAIN_SECONDS_AT_MOST)
        return False


def through_nvflare(engine: Any, runner: ClientRunner, job_id: str) -> Work:
    """Work that goes through NVFlare's runner of a site's job process: its filters, its executor, its events.

    Args:
        engine: NVFlare's, of the job process.
        runner: likewise.
        job_id: NVFlare's identifier.
    """

    def work(task: ReceivedTask) -> Outcome:
        with engine.new_context() as fl_ctx:
            server = FLContext()
            server.set_public_props({ReservedKey.RUN_NUM: job_id, ReservedKey.IDENTITY_NAME: FQCN.ROOT_SERVER})
            fl_ctx.set_peer_context(server)
            data = task_with(task.message, task.payload)
            assignment = TaskAssignment(name=task.head.task.value, task_id=task.head.identifier, data=data)
            return outcome_of(runner._process_task(assignment, fl_ctx), fl_ctx)

    return work


def outcome_of(reply: Shareable, fl_ctx: FLContext) -> Outcome:
    """What of ``reply`` leaves: what `EgressFilter` let out in ``fl_ctx``, to the byte, or an error code."""
    code = code_of(reply)
    if code != ReturnCode.OK:
        return Outcome(code)
    message, tensors = content_of_reply(reply)
    digest = released_digest(fl_ctx, message, tensors)
    if digest is None:
        _log.error("the egress filter did not let out what came through NVFlare's filters, so it stays here")
        return Outcome(ReturnCode.TASK_RESULT_FILTER_ERROR)
    return Outcome(code, message, tensors, digest)
