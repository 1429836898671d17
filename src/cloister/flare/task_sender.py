# SPDX-License-Identifier: Apache-2.0
"""The server's end of a job's rounds: tasks go out at once, to whom is ready, until they are taken; answers come once.

NVFlare has sites ask for tasks, again and again. Here the server sends them, over the same connections and under the
same rules of `cloister.flare.traffic`. Nothing is taken for sent that the site has not acknowledged, and a site sends
its answer until it is acknowledged; an answer that comes twice counts once.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from nvflare.apis.fl_constant import ReturnCode as TaskCode
from nvflare.fuel.f3.cellnet.core_cell import CoreCell, TargetMessage
from nvflare.fuel.f3.cellnet.defs import ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.message import Message

from cloister.files import private_folder
from cloister.flare.exchange import TaskName, digest_of
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
from cloister.flare.server_line import ServerLine
from cloister.flare.traffic import ANSWER, READY, ROUNDS, TASK

_log = logging.getLogger(__name__)

_ACKNOWLEDGED_SECONDS = 2.0
_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Part:
    """What some sites are sent in one asking.

    Attributes:
        sites: who.
        message: JSON.
        payload: tensors; of a file that holds them nothing is changed, and it stays until the asking is withdrawn.
    """

    sites: Collection[str]
    message: bytes = field(repr=False)
    payload: Payload = field(default=b"", repr=False)


@dataclass(frozen=True)
class Answer:
    """What came from a site.

    Attributes:
        site: whose process it came from.
        identifier: of the asking that it answers; None where it cannot be read.
        code: NVFlare's word for how it went; empty where it cannot be read.
        message: JSON; None where it cannot be read, or of a failure.
        payload: tensors, which whoever is handed a file has to remove; None where they did not come.
        digest: over message and tensors, as `cloister.flare.exchange.digest_of` has it; empty where they did not come.
    """

    site: str
    identifier: str | None = None
    code: str = ""
    message: bytes | None = field(default=None, repr=False)
    payload: Payload | None = field(default=None, repr=False)
    digest: str = ""


@dataclass
class _Asking:
    """One task that is on its way to some sites."""

    identifier: str
    task: TaskName
    deadline: float
    parcels: dict[str, Callable[[], Message]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)


class TaskSender:
    """Sends tasks to sites and takes their answers.

    Args:
        cell: of the server's job process.
        job_id: NVFlare's identifier.
        sites: those that take part; of anybody else nothing is taken.
        received: is handed every answer, from any thread, one at a time for each site and task; it must not fail.
        spool: for tensors that come and are too many for a message; emptied here.
        most: how many bytes of tensors a site may have to send now; where it has more, nothing of it is fetched.
    """

    def __init__(
        self,
        cell: CoreCell,
        job_id: str,
        sites: Collection[str],
        received: Callable[[Answer], None],
        spool: Path,
        most: Callable[[str], int] = lambda _site: MAXIMUM_PAYLOAD_BYTES,
    ) -> None:
        self._cell = cell
        self._line = ServerLine(cell, spool)
        self._holder = Holder(cell, self._line)
        self._spool = spool
        self._processes = {FQCN.join([site, job_id]): site for site in sites}
        self._names = {site: process for process, site in self._processes.items()}
        self._received, self._most = received, most
        self._changed = threading.Condition()
        self._ready: set[str] = set()  # guarded by _changed, as are the next five
        self._came: dict[tuple[str, str], bool] = {}  # whether it was handed in; False while its tensors are fetched
        self._asked: set[str] = set()  # identifiers of all askings
        self._unreadable: set[str] = set()  # sites that sent what is no answer, since the latest asking
        self._asking: _Asking | None = None
        self._heard = 0  # how often a site said that it is ready, or answered

    def open(self) -> None:
        """Take what sites send from now on."""
        shutil.rmtree(self._spool, ignore_errors=True)
        private_folder(self._spool)
        self._holder.open()
        self._cell.register_request_cb(ROUNDS, READY, self._hear_ready)
        self._cell.register_request_cb(ROUNDS, ANSWER, self._hear_answer)

    def send(self, task: TaskName, parts: Collection[Part], seconds: float) -> str:
        """Send a task, to each site as soon as it is ready, and return at once; what was sent before is withdrawn.

        Args:
            task: what is to be done.
            parts: who is asked, and with what.
            seconds: for how long it is tried, and the answer waited for.

        Returns:
            The identifier of this asking.
        """
        self.withdraw()
        asking = _Asking(uuid.uuid4().hex, task, time.monotonic() + seconds)
        for part in parts:
            parcel = self._parcel(asking, part, seconds)
            asking.parcels |= dict.fromkeys(part.sites, parcel)
        asking.left = set(asking.parcels)
        with self._changed:
            self._asking = asking
            self._asked.add(asking.identifier)
            self._unreadable.clear()
        threading.Thread(target=self._deliver, args=(asking,), daemon=True, name=f"send-{task.value}").start()
        return asking.identifier

    def _parcel(self, asking: _Asking, part: Part, seconds: float) -> Callable[[], Message]:
        reference, tensors = None, part.payload
        if size_of(tensors) > MAXIMUM_INLINE_BYTES:
            names = [self._names[site] for site in part.sites]
            reference, tensors = self._holder.offer(part.message, tensors, names), b""
        head = TaskHead(task=asking.task, identifier=asking.identifier, seconds=seconds, reference=reference)
        inline = content_of(tensors)
        return lambda: pack(head, part.message, inline)

    def withdraw(self) -> None:
        """Send no more of the latest task, and fetch no more of its answers."""
        with self._changed:
            if self._asking:
                self._asking.over.set()
            self._asking = None
            self._changed.notify_all()
        self._holder.withdraw()

    def _deliver(self, asking: _Asking) -> None:
        try:
            while self._wait_for_somebody(asking):
                self._send_once(asking)
        except Exception:  # noqa: BLE001 - whoever was not reached is absent when the deadline has come
            _log.exception("task `%s` could not be sent", asking.task.value)

    def _wait_for_somebody(self, asking: _Asking) -> bool:
        """Wait until a site is ready that has not taken the task; whether there will be any."""
        with self._changed:
            while not asking.over.is_set() and asking.left and time.monotonic() < asking.deadline:
                if asking.left & self._ready:
                    return True
                self._changed.wait(_AGAIN_SECONDS)
        return False

    def _send_once(self, asking: _Asking) -> None:
        with self._changed:
            sites, heard = sorted(asking.left & self._ready), self._heard
        messages = {
            self._names[site]: TargetMessage(self._names[site], ROUNDS, TASK, asking.parcels[site]()) for site in sites
        }
        timeout = min(_ACKNOWLEDGED_SECONDS, max(asking.deadline - time.monotonic(), 0.1))
        replies = self._cell.broadcast_multi_requests(messages, timeout, optional=True)
        with self._changed:
            asking.left -= {self._processes[name] for name, reply in replies.items() if is_acknowledged(reply)}
            # A site that gets ready, or answers an earlier task and is free then, is waited for no longer.
            if asking.left and not asking.over.is_set() and self._heard == heard:
                self._changed.wait(_AGAIN_SECONDS)

    def _hear_ready(self, carrier: Message) -> Message:
        site = self._processes.get(origin_of(carrier))
        if site is None:
            return self._refuse(carrier)
        with self._changed:
            self._ready.add(site)
            self._heard += 1
            self._changed.notify_all()
        return acknowledgement()

    def _hear_answer(self, carrier: Message) -> Message:
        site = self._processes.get(origin_of(carrier))
        if site is None:
            return self._refuse(carrier)
        try:
            head, message, tensors = unpack(carrier, AnswerHead)
        except Exception as error:  # noqa: BLE001 - a gate: what cannot be read, for whatever reason, is no answer
            return self._hear_unreadable(site, error)
        with self._changed:
            # What is handed in is kept and recorded, so that a site must not make up any.
            if head.identifier not in self._asked:
                return self._refuse(carrier)
            done = self._came.get((site, head.identifier))
            self._came.setdefault((site, head.identifier), False)
            asking = self._asking
            current = asking is not None and asking.identifier == head.identifier
            if asking and current:
                asking.left.discard(site)  # what is answered was taken, even if nobody heard so
            self._heard += 1
            self._changed.notify_all()
        if done is not None:  # the site sends it until its tensors have been fetched
            return acknowledgement() if done else acknowledgement(ReturnCode.SERVICE_UNAVAILABLE)
        if head.code == TaskCode.OK and head.reference and asking and current:
            about = (site, head, message, head.reference, asking)
            threading.Thread(target=self._fetch, args=about, daemon=True, name=f"fetch-{site}").start()
            return acknowledgement(ReturnCode.SERVICE_UNAVAILABLE)
        answer = Answer(site, head.identifier, head.code)
        if head.code == TaskCode.OK:
            came = head.reference is None  # of a late answer, nothing more is fetched
            digest = digest_of(message, tensors) if came else ""
            answer = replace(answer, message=message, payload=tensors if came else None, digest=digest)
        self._hand_in(answer)
        return acknowledgement()

    def _hear_unreadable(self, site: str, error: Exception) -> Message:
        """Hand in what is no answer, once for each asking: whatever is handed in is recorded on disk."""
        with self._changed:
            known = site in self._unreadable
            self._unreadable.add(site)
        if not known:
            _log.warning("what site `%s` sent is no answer: %s", site, error)
            self._received(Answer(site))
        return acknowledgement()

    def _fetch(self, site: str, head: AnswerHead, message: bytes, reference: Reference, asking: _Asking) -> None:
        answer = Answer(site, head.identifier, head.code, message)
        try:
            path = self._spool / f"{head.identifier}-{site}"
            most = self._most(site)
            fetch = Fetch(self._cell, self._names[site], asking.deadline, asking.over.is_set, most, self._line)
            payload = fetch.into(path, message, reference)
            answer = replace(answer, payload=payload, digest=reference.digest)
        except Exception as error:  # noqa: BLE001 - a gate: what did not come as it was named is no answer
            _log.warning("the tensors of site `%s` could not be fetched: %s", site, error)
            if not asking.over.is_set():
                answer = Answer(site, head.identifier)
        self._hand_in(answer)

    def _hand_in(self, answer: Answer) -> None:
        try:
            self._received(answer)
        finally:
            with self._changed:
                self._came[answer.site, str(answer.identifier)] = True
                self._changed.notify_all()

    def _refuse(self, carrier: Message) -> Message:
        _log.warning(
            "dropped a message of `%.200s`: it is no process of this job, or was not asked", origin_of(carrier)
        )
        return acknowledgement(ReturnCode.UNAUTHENTICATED)
