# SPDX-License-Identifier: Apache-2.0
"""The server's end of a job's rounds: tasks go out at once, to whom is ready, until they are taken; answers come once.

NVFlare has sites ask for tasks, again and again. Here the server sends them, over the same connections and under the
same rules of `cloister.flare.traffic`. Nothing is taken for sent that the site has not acknowledged, and a site sends
its answer until it is acknowledged; an answer that comes twice counts once.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from nvflare.apis.fl_constant import ReturnCode as TaskCode
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.message import Message

from cloister.flare.exchange import TaskName
from cloister.flare.parcel import AnswerHead, TaskHead, acknowledgement, is_acknowledged, origin_of, pack, unpack
from cloister.flare.traffic import ANSWER, READY, ROUNDS, TASK

_log = logging.getLogger(__name__)

_ACKNOWLEDGED_SECONDS = 2.0
_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Answer:
    """What came from a site.

    Attributes:
        site: whose process it came from.
        identifier: of the asking that it answers; None where it cannot be read.
        code: NVFlare's word for how it went; empty where it cannot be read.
        content: message and tensors; None where it cannot be read.
    """

    site: str
    identifier: str | None = None
    code: str = ""
    content: tuple[bytes, bytes] | None = None


@dataclass(frozen=True)
class Part:
    """What some of the sites that are asked are sent; the others are sent something else for the same task.

    Attributes:
        sites: who is asked.
        message: JSON.
        tensors: encoded.
    """

    sites: tuple[str, ...]
    message: bytes
    tensors: bytes = b""


@dataclass
class _Asking:
    """One task that is on its way to some sites."""

    head: TaskHead
    parcel: Callable[[], Message]
    deadline: float
    left: set[str]
    over: threading.Event = field(default_factory=threading.Event)


class TaskSender:
    """Sends tasks to sites and takes their answers.

    Args:
        cell: of the server's job process.
        job_id: NVFlare's identifier.
        sites: those that take part; of anybody else nothing is taken.
        received: is handed every answer, from any thread, one at a time for each site and task; it must not fail.
    """

    def __init__(self, cell: CoreCell, job_id: str, sites: Collection[str], received: Callable[[Answer], None]) -> None:
        self._cell = cell
        self._processes = {FQCN.join([site, job_id]): site for site in sites}
        self._names = {site: process for process, site in self._processes.items()}
        self._received = received
        self._changed = threading.Condition()
        self._ready: set[str] = set()  # guarded by _changed, as are the next two
        self._came: set[tuple[str, str]] = set()
        self._askings: list[_Asking] = []

    def open(self) -> None:
        """Take what sites send from now on."""
        self._cell.register_request_cb(ROUNDS, READY, self._hear_ready)
        self._cell.register_request_cb(ROUNDS, ANSWER, self._hear_answer)

    def send(self, task: TaskName, parts: Collection[Part], seconds: float) -> str:
        """Send a task to sites, each as soon as it is ready, and return at once; what was sent before is withdrawn.

        Args:
            task: what they are to do.
            parts: who is sent what.
            seconds: for how long it is tried, and the answer waited for.

        Returns:
            The identifier of this asking.
        """
        self.withdraw()
        head, deadline = TaskHead(task=task, identifier=uuid.uuid4().hex, seconds=seconds), time.monotonic() + seconds
        askings = [
            _Asking(head, partial(pack, head, part.message, part.tensors), deadline, set(part.sites)) for part in parts
        ]
        with self._changed:
            self._askings = askings
        for asking in askings:
            threading.Thread(target=self._deliver, args=(asking,), daemon=True, name=f"send-{task.value}").start()
        return head.identifier

    def withdraw(self) -> None:
        """Send no more of the latest task."""
        with self._changed:
            for asking in self._askings:
                asking.over.set()
            self._askings = []
            self._changed.notify_all()

    def _deliver(self, asking: _Asking) -> None:
        try:
            while self._wait_for_somebody(asking):
                self._send_once(asking)
        except Exception:  # noqa: BLE001 - whoever was not reached is absent when the deadline has come
            _log.exception("task `%s` could not be sent", asking.head.task.value)

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
            targets = sorted(self._names[site] for site in asking.left & self._ready)
        replies = self._cell.broadcast_request(
            channel=ROUNDS,
            topic=TASK,
            targets=targets,
            request=asking.parcel(),
            timeout=min(_ACKNOWLEDGED_SECONDS, max(asking.deadline - time.monotonic(), 0.1)),
            optional=True,
        )
        with self._changed:
            asking.left -= {self._processes[name] for name, reply in replies.items() if is_acknowledged(reply)}
            if asking.left and not asking.over.is_set():
                self._changed.wait(_AGAIN_SECONDS)  # an answer to an earlier task ends it: a busy site is free then

    def _hear_ready(self, carrier: Message) -> Message:
        site = self._processes.get(origin_of(carrier))
        if site is None:
            return self._refuse(carrier)
        with self._changed:
            self._ready.add(site)
            self._changed.notify_all()
        return acknowledgement()

    def _hear_answer(self, carrier: Message) -> Message:
        site = self._processes.get(origin_of(carrier))
        if site is None:
            return self._refuse(carrier)
        try:
            head, message, tensors = unpack(carrier, AnswerHead)
        except Exception as error:  # noqa: BLE001 - a gate: what cannot be read, for whatever reason, is no answer
            _log.warning("what site `%s` sent is no answer: %s", site, error)
            self._received(Answer(site))
            return acknowledgement()
        with self._changed:
            again = (site, head.identifier) in self._came
            self._came.add((site, head.identifier))
        if not again:
            content = (message, tensors) if head.code == TaskCode.OK else None
            self._received(Answer(site, head.identifier, head.code, content))
        with self._changed:
            for asking in self._askings:
                if asking.head.identifier == head.identifier:
                    asking.left.discard(site)  # what is answered was taken, even if nobody heard so
            self._changed.notify_all()
        return acknowledgement()

    def _refuse(self, carrier: Message) -> Message:
        _log.warning("dropped a message of `%.200s`, which is no process of this job", origin_of(carrier))
        return acknowledgement(ReturnCode.UNAUTHENTICATED)
