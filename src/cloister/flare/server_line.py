# SPDX-License-Identifier: Apache-2.0
"""The end of the streams in the server's job process, which has no connection: its parent writes and reads the files.

This process asks its parent for a ticket, asks the site to send, and reads the file as it grows, so that the digest
that decides is its own.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.message import Message

from cloister.errors import JobError
from cloister.flare.parcel import Reference, StreamHead, is_acknowledged, pack
from cloister.flare.tickets import TicketEnd, TicketHead, Way
from cloister.flare.traffic import ISSUE, REVOKE, ROUNDS, STREAM

# Whoever is asked looks something up, or waits for one piece to be on the disk: after so long the request is lost.
_SECONDS = 5.0
# One is lost with the connection that it was on, and the next may come before there is a new one.
_TRIES = 3
# Without a new byte. A broken call may hold up the next for 10 s (`cloister.flare.tickets`), and a site dials anew in
# the meantime. To wait longer is dearer than to fetch by message, which is less than half as fast but needs no stream.
_PATIENCE_SECONDS = 20.0
# A stream that has stopped is asked for again once a second: a site that has one under way has nothing to do then.
_AGAIN_SECONDS = 1.0
# Nothing says that the parent's file has grown. At full speed a piece is there every other millisecond; where nothing
# comes, twenty looks a second cost next to nothing, and what comes then waits no longer than that.
_LOOK_SECONDS, _LOOK_SECONDS_AT_MOST = 0.001, 0.05
_READ_BYTES = 1 << 20

_log = logging.getLogger(__name__)


class ServerLine:
    """The streams of one job.

    Args:
        cell: of the server's job process.
        folder: what the job has received; a ticket's file lies here.
    """

    def __init__(self, cell: CoreCell, folder: Path) -> None:
        self._cell, self._folder = cell, folder

    def issue(self, way: Way, processes: Collection[str], size: int, path: Path) -> str | None:
        """A ticket for the file at ``path``, which stays where it is.

        Args:
            way: in which it goes.
            processes: NVFlare's names of those that it is for.
            size: bytes that the file has, or is to have.
            path: of the file.

        Returns:
            Its identifier; None where the parent process gives none.
        """
        identifier = uuid.uuid4().hex
        sites = tuple(sorted(process.partition(".")[0] for process in processes))
        head = TicketHead(identifier=identifier, way=way, sites=sites, bytes=size)
        try:
            os.link(path, self._folder / identifier)
            if self._issued(head):
                return identifier
        except OSError as error:
            _log.warning("a file has no second name: %s", error)
        _log.warning("the server's process gave no ticket, so that nothing goes in a stream")
        (self._folder / identifier).unlink(missing_ok=True)  # without it the ticket would count for nothing
        return None

    def _issued(self, head: TicketHead) -> bool:
        """Whether the parent process gives the ticket. A job's first may be asked for before it can be reached."""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_AGAIN_SECONDS)
            reply = self._ask(ISSUE, pack(head))
            if is_acknowledged(reply):
                return True
            if _is_refused(reply):
                return False
        return False

    def revoke(self, identifier: str) -> bool:
        """Have a ticket count for nothing; whether the parent process has heard so."""
        (self._folder / identifier).unlink(missing_ok=True)
        return any(is_acknowledged(self._ask(REVOKE, pack(TicketEnd(identifier=identifier)))) for _ in range(_TRIES))

    def _ask(self, topic: str, request: Message, target: str = FQCN.ROOT_SERVER) -> Message | None:
        try:
            reply: Message = self._cell.send_request(
                channel=ROUNDS, topic=topic, target=target, request=request, timeout=_SECONDS, optional=True
            )
        except Exception:  # noqa: BLE001 - NVFlare raises while a connection is made anew
            _log.info("`%s` could not be asked", target, exc_info=True)
            return None
        return reply

    def lands(self, path: Path, reference: Reference, process: str, over: Callable[[], bool]) -> Iterator[memoryview]:
        """Have what ``reference`` names come up to ``path``, as much of it as comes; see `cloister.flare.chunks`.

        Raises:
            JobError: where the site does not have it, or it cannot be made sure that nothing is added any more.
        """
        identifier = self.issue("up", [process], reference.bytes, path)
        if identifier is None:
            return
        ended = False
        try:
            with path.open("rb", buffering=0) as stream:
                head = StreamHead(digest=reference.digest, ticket=identifier)
                yield from self._follow(stream, reference.bytes, lambda: self._begun(head, process), over)
                ended = self.revoke(identifier)
                if not ended:
                    raise JobError("the server's process does not answer")
                yield from _rest(stream)
        finally:
            if not ended:
                self.revoke(identifier)

    def _begun(self, head: StreamHead, process: str) -> bool:
        """Ask the site to send; whether it does."""
        reply = self._ask(STREAM, pack(head), process)
        if _is_refused(reply):
            raise JobError("the other end does not have what was to be fetched")
        return is_acknowledged(reply)

    @staticmethod
    def _follow(
        stream: BinaryIO, size: int, begun: Callable[[], bool], over: Callable[[], bool]
    ) -> Iterator[memoryview]:
        """What is added to the file, while it grows."""
        buffer = memoryview(bytearray(_READ_BYTES))
        taken, moved, asked, pause = 0, time.monotonic(), -_AGAIN_SECONDS, _LOOK_SECONDS
        while taken < size and not over():
            if count := stream.readinto(buffer):  # type: ignore[attr-defined]
                taken, moved, pause = taken + count, time.monotonic(), _LOOK_SECONDS
                yield buffer[:count]
                continue
            now = time.monotonic()
            if now - max(moved, asked) > _AGAIN_SECONDS or asked < 0:
                if now - moved > _PATIENCE_SECONDS or (not begun() and not taken):
                    return
                asked = time.monotonic()
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS_AT_MOST)


def _is_refused(reply: Message | None) -> bool:
    """Whether ``reply`` comes from whoever was asked, and says no: to ask again would change nothing."""
    return reply is not None and reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.INVALID_REQUEST


def _rest(stream: BinaryIO) -> Iterator[memoryview]:
    """What is in the file beyond what was read."""
    while piece := stream.read(_READ_BYTES):
        yield memoryview(piece)
