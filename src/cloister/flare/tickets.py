# SPDX-License-Identifier: Apache-2.0
"""Which file of a job's run a site's process may add to, or be sent, by the server's parent process itself.

Connections end in the server's parent process, the job's process has none. A ticket is how the job's process has its
parent take what a site sends straight into a file, or send a site what is in one, without handing it on.

The job's process decides, its parent only looks up: which of the job's site processes, which way, how many bytes. No
message says where a file is. It is the one that lies under the ticket's random name among what that job has received,
and a ticket whose file is gone counts for nothing. What is in a file is never changed: a site only adds, up to the
length that it named beforehand.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.message import Message
from pydantic import Field, StringConstraints

from cloister.certificates.identity import Identity
from cloister.documents import Model
from cloister.errors import JobError
from cloister.flare.leftover_updates import RECEIVED
from cloister.flare.parcel import Identifier, acknowledgement, origin_of, unpack
from cloister.flare.traffic import ISSUE, REVOKE, ROUNDS

_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TURN_SECONDS, _LOOK_SECONDS = 10.0, 0.1

_log = logging.getLogger(__name__)

Way = Literal["up", "down"]
"""From a site to the server, or from the server to a site."""


class TicketHead(Model):
    """Asks the server's parent process for a ticket.

    Attributes:
        identifier: random; under this name lies the file.
        way: in which it goes.
        sites: whose processes of the job it is for.
        bytes: how many the file has, or is to have in the end.
    """

    identifier: Identifier
    way: Way
    sites: Annotated[tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...], Field(min_length=1)]
    bytes: int = Field(ge=0)


class TicketEnd(Model):
    """Has a ticket count for nothing from now on.

    Attributes:
        identifier: of the ticket.
    """

    identifier: Identifier


@dataclass
class Ticket:
    """One ticket, at the server's parent process.

    Attributes:
        job: NVFlare's identifier of the job whose process asked for it.
        way: in which it goes.
        sites: whose processes it is for.
        size: bytes that the file has, or is to have.
        path: of the file.
    """

    job: str
    way: Way
    sites: frozenset[str]
    size: int
    path: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)  # guards the next two, and what is added
    _revoked: bool = False
    _calls: list[tuple[str, Any]] = field(default_factory=list)  # whose, and gRPC's
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def revoke(self) -> None:
        """Have it count for nothing, and end its calls; nothing is added any more once this returns."""
        with self._lock:
            self._revoked = True
            calls = list(self._calls)
        for _, call in calls:
            call.cancel()

    def check(self) -> None:
        """See that it counts.

        Raises:
            JobError: where it does not.
        """
        if self._revoked or not self.path.exists():
            raise JobError("the ticket does not count any more")

    def add(self, descriptor: int, piece: bytes) -> bool:
        """Add ``piece`` at the end of the file.

        Args:
            descriptor: of the file, open for appending.
            piece: bytes.

        Returns:
            Whether more is to come.

        Raises:
            JobError: where the ticket does not count, or the file would be longer than was named.
            OSError: where it cannot be written.
        """
        with self._lock:
            self.check()
            length = os.fstat(descriptor).st_size + len(piece)
            if length > self.size:
                raise JobError("more came than was named")
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        return length < self.size

    @contextmanager
    def open_for(self, call: Any, process: str) -> Iterator[None]:
        """The time of one ``call`` of gRPC's, which ends with the ticket, and where its ``process`` begins another.

        The line of an earlier one may be broken unnoticed; and each takes a thread, of which no site may have many.
        """
        with self._lock:
            self.check()
            before = [each for name, each in self._calls if name == process]
            self._calls.append((process, call))
        try:
            for each in before:
                each.cancel()
            yield
        finally:
            with self._lock:
                self._calls.remove((process, call))

    @contextmanager
    def turn(self, call: Any, process: str) -> Iterator[None]:
        """As `open_for`, once every earlier call has ended.

        Raises:
            JobError: where one does not, or this one ends meanwhile.
        """
        with self.open_for(call, process):
            deadline = time.monotonic() + _TURN_SECONDS
            while not self._turn.acquire(timeout=_LOOK_SECONDS):
                if time.monotonic() >= deadline or not call.is_active():
                    raise JobError("an earlier call with the same ticket has not ended")
            try:
                yield
            finally:
                self._turn.release()


class Tickets:
    """All tickets that count, at the server's parent process.

    Args:
        workspace: the server's.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._tickets: dict[str, Ticket] = {}

    def serve(self, cell: CoreCell) -> None:
        """Have the server's job processes ask for tickets and end them, each of its own job."""
        cell.register_request_cb(ROUNDS, ISSUE, self._issue)
        cell.register_request_cb(ROUNDS, REVOKE, self._revoke)

    def find(self, identifier: str, way: Way, holder: Identity) -> Ticket:
        """The ticket that a site shows.

        Args:
            identifier: of the ticket.
            way: in which it is to go.
            holder: whose certificate the connection has.

        Raises:
            JobError: where there is none, or it is another's.
        """
        with self._lock:
            ticket = self._tickets.get(identifier)
        if ticket is None or ticket.way != way or holder.kind != "site" or holder.name not in ticket.sites:
            raise JobError("there is no such ticket")
        ticket.check()
        return ticket

    def _issue(self, carrier: Message) -> Message:
        try:
            job = _job_of(carrier)
            head, _, _ = unpack(carrier, TicketHead)
            path = self._workspace / job / RECEIVED / head.identifier
            ticket = Ticket(job, head.way, frozenset(head.sites), head.bytes, path)
            self._forget()
            with self._lock:
                if head.identifier in self._tickets or not path.exists():
                    raise JobError("a ticket's file is not there, or its name is taken")
                self._tickets[head.identifier] = ticket
        except Exception:  # noqa: BLE001 - a gate: where it cannot be judged who may send what, nobody may
            _log.exception("no ticket was issued to `%.200s`", origin_of(carrier))
            return acknowledgement(ReturnCode.INVALID_REQUEST)
        return acknowledgement()

    def _forget(self) -> None:
        """End the tickets of jobs that were killed."""
        with self._lock:
            gone = {key: each for key, each in self._tickets.items() if not each.path.exists()}
        for key, ticket in gone.items():
            self._end(key, ticket)

    def _end(self, identifier: str, ticket: Ticket) -> None:
        """End a ticket, and only then forget it: who finds none here takes it that nothing is added any more."""
        ticket.revoke()
        with self._lock:
            self._tickets.pop(identifier, None)

    def _revoke(self, carrier: Message) -> Message:
        try:
            job = _job_of(carrier)
            head, _, _ = unpack(carrier, TicketEnd)
            with self._lock:
                ticket = self._tickets.get(head.identifier)
            if ticket is not None and ticket.job != job:
                raise JobError("the ticket is another job's")
            if ticket is not None:
                self._end(head.identifier, ticket)
        except Exception:  # noqa: BLE001 - whoever asked goes by the answer, and takes nothing that came so
            _log.exception("a ticket was not ended for `%.200s`", origin_of(carrier))
            return acknowledgement(ReturnCode.INVALID_REQUEST)
        return acknowledgement()


def _job_of(carrier: Message) -> str:
    """The job whose process at the server sent ``carrier``.

    Raises:
        JobError: where it is from somebody else.
    """
    server, _, job = origin_of(carrier).partition(".")
    if server != FQCN.ROOT_SERVER or not _JOB_ID.fullmatch(job):
        raise JobError("only a job's process at the server asks for tickets")
    return job
