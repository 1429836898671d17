# SPDX-License-Identifier: Apache-2.0
"""What is too large for a message: whoever has it names it by its digest, and whoever is to have it fetches the pieces.

Where there is a line between them beside NVFlare's messages, the pieces come in a stream (`cloister.flare.site_line`,
`cloister.flare.server_line`). What does not come so is asked for piece by piece: one that was lost on its way is asked
for again, pieces are small where the line is slow and large where it is fast, a few are on their way at any time. Both
ends hold those few in memory and no more, and a connection that breaks costs no more than what was on its way.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message
from pydantic import Field

from cloister.documents import Model
from cloister.errors import JobError
from cloister.files import PRIVATE_FILE
from cloister.flare.parcel import Reference, StreamHead, acknowledgement, origin_of, pack, unpack
from cloister.flare.server_line import ServerLine
from cloister.flare.site_line import SiteLine
from cloister.flare.traffic import CHUNK, ROUNDS, STREAM
from cloister.names import Sha256

MAXIMUM_CHUNK_BYTES = 2 << 20
"""Of one piece."""

MAXIMUM_PAYLOAD_BYTES = 16 << 30
"""Of all of them, where nobody says less."""

_FIRST_CHUNK_BYTES = 1 << 20
_LEAST_CHUNK_BYTES = 64 << 10
_IN_FLIGHT = 4
_SECONDS = 15.0
_QUICK_SECONDS, _SLOW_SECONDS = 0.5, 3.0
_AGAIN_SECONDS, _AGAIN_SECONDS_AT_MOST = 0.1, 2.0
_READ_BYTES = 4 << 20

BY_MESSAGE = "did not come in a stream and is fetched by message, which takes longer"
"""What a log says of it."""

_Piece = bytes | bytearray | memoryview

_log = logging.getLogger(__name__)


Line = ServerLine | SiteLine
"""By which something comes and goes in a stream. What `lands` gives is each piece, once it was added to the file, from
the beginning and without a gap; none where there is no such way. Once it ends, nothing else adds to the file."""


class ChunkHead(Model):
    """Asks for one piece.

    Attributes:
        digest: of the whole, as its reference says.
        offset: where the piece begins.
        bytes: how long it is.
    """

    digest: Sha256
    offset: int = Field(ge=0)
    bytes: int = Field(ge=1, le=MAXIMUM_CHUNK_BYTES)


@dataclass
class _Offer:
    """Something that may be fetched."""

    size: int
    processes: frozenset[str]
    content: bytes | BinaryIO
    tickets: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def piece(self, offset: int, size: int) -> bytes:
        if isinstance(self.content, bytes):
            return self.content[offset : offset + size]
        with self.lock:  # a file that was closed meanwhile raises
            self.content.seek(offset)
            return self.content.read(size)

    def close(self) -> None:
        if not isinstance(self.content, bytes):
            with self.lock:
                self.content.close()


class Holder:
    """Has what other processes of the job may fetch from this one.

    Args:
        cell: of this process.
        line: by which it may be streamed; None where there is none.
    """

    def __init__(self, cell: CoreCell, line: Line | None = None) -> None:
        self._cell, self._line = cell, line
        self._lock = threading.Lock()
        self._offers: dict[str, _Offer] = {}

    def open(self) -> None:
        """Answer whoever asks from now on."""
        self._cell.register_request_cb(ROUNDS, CHUNK, self._serve)
        if isinstance(self._line, SiteLine):
            self._cell.register_request_cb(ROUNDS, STREAM, self._stream)

    def offer(self, message: bytes, payload: bytes | Path, processes: Collection[str], digest: str = "") -> Reference:
        """Let ``processes``, and nobody else, fetch ``payload`` until it is withdrawn.

        Args:
            message: what it belongs to; the digest covers both.
            payload: bytes, or a file that holds them and does not change; it may be removed once it is offered.
            processes: NVFlare's names of them.
            digest: of both, where that is known already: whoever fetches sees whether it is so.
        """
        hashed = _begin_digest(message)
        if isinstance(payload, bytes):
            if not digest:
                hashed.update(payload)
            offer = _Offer(len(payload), frozenset(processes), payload)
        else:
            stream = payload.open("rb")
            try:
                if digest:
                    stream.seek(0, os.SEEK_END)
                else:
                    for piece in iter(lambda: stream.read(_READ_BYTES), b""):
                        hashed.update(piece)
                offer = _Offer(stream.tell(), frozenset(processes), stream)
            except BaseException:
                stream.close()
                raise
        ticket = None
        if isinstance(self._line, ServerLine) and isinstance(payload, Path):
            ticket = self._line.issue("down", processes, offer.size, payload)
        reference = Reference(digest=digest or hashed.hexdigest(), bytes=offer.size, ticket=ticket)
        with self._lock:
            before = self._offers.get(reference.digest)
            offer.processes |= before.processes if before else frozenset()
            offer.tickets += [*(before.tickets if before else ()), *([ticket] if ticket else ())]
            self._offers[reference.digest] = offer
        if before:
            before.close()
        return reference

    def withdraw(self, reference: Reference | None = None) -> None:
        """Let nobody fetch it any more; nothing at all where no reference is given."""
        with self._lock:
            digests = list(self._offers) if reference is None else [reference.digest]
            offers = [self._offers.pop(digest) for digest in digests if digest in self._offers]
        for offer in offers:
            offer.close()
            if isinstance(self._line, ServerLine):
                for ticket in offer.tickets:
                    self._line.revoke(ticket)

    def _serve(self, carrier: Message) -> Message:
        try:
            head, _, _ = unpack(carrier, ChunkHead)
            offer = self._offered(head.digest, carrier)
            if head.offset + head.bytes > offer.size:
                raise JobError("a piece beyond the end was asked for")
            piece = offer.piece(head.offset, head.bytes)
        except Exception:  # noqa: BLE001 - a gate: a request that cannot be judged, for whatever reason, is refused
            _log.exception("a piece could not be handed out")
            return acknowledgement(ReturnCode.INVALID_REQUEST)
        return Message(headers={MessageHeaderKey.RETURN_CODE: ReturnCode.OK}, payload=piece)

    def _stream(self, carrier: Message) -> Message:
        try:
            head, _, _ = unpack(carrier, StreamHead)
            offer = self._offered(head.digest, carrier)
            begun = isinstance(self._line, SiteLine) and self._line.push(head.ticket, offer.piece, offer.size)
        except Exception:  # noqa: BLE001 - a gate, as above
            _log.exception("a stream could not be begun")
            return acknowledgement(ReturnCode.INVALID_REQUEST)
        return acknowledgement(ReturnCode.OK if begun else ReturnCode.SERVICE_UNAVAILABLE)

    def _offered(self, digest: str, carrier: Message) -> _Offer:
        """What is offered to whoever asks.

        Raises:
            JobError: where it is not.
        """
        with self._lock:
            offer = self._offers.get(digest)
        if offer is None or origin_of(carrier) not in offer.processes:
            raise JobError(f"`{origin_of(carrier):.200}` asked for what is not offered to it")
        return offer


def _begin_digest(message: bytes) -> hashlib._Hash:
    """The digest of `cloister.flare.exchange.digest_of`, up to where the payload begins."""
    return hashlib.sha256(len(message).to_bytes(8, "little") + message)


@dataclass(frozen=True)
class Fetch:
    """How something is fetched.

    Attributes:
        cell: of this process.
        process: NVFlare's name of the process that has it.
        deadline: until when it is tried, by the monotonic clock.
        over: whether nobody waits for it any more.
        most: bytes that are taken at most.
        line: by which it may come in a stream; None where there is none.
    """

    cell: CoreCell
    process: str
    deadline: float
    over: Callable[[], bool] = lambda: False
    most: int = MAXIMUM_PAYLOAD_BYTES
    line: Line | None = None

    def into(self, path: Path, message: bytes, reference: Reference) -> Path:
        """Fetch what ``reference`` names and ``message`` belongs to, and write it to ``path``.

        Returns:
            ``path``; where anything is raised, nothing lies there.

        Raises:
            JobError: where it is too large, the other end does not have it, it does not come in time, or what comes is
                not what was named.
        """
        if reference.bytes > self.most:
            raise JobError(f"what is to be fetched has {reference.bytes} bytes, and {self.most} may be taken")
        hashed, taken = _begin_digest(message), 0
        path.touch(PRIVATE_FILE, exist_ok=False)
        try:
            with closing(self._streamed(path, reference)) as pieces:
                for piece in pieces:
                    hashed.update(piece)
                    taken += len(piece)
            if self.line is not None and taken < reference.bytes and not self._is_over():
                _log.warning("of %d bytes, what begins at %d %s", reference.bytes, taken, BY_MESSAGE)
            with path.open("ab") as stream:  # buffered, so that nothing is written in part unseen
                for piece in self._pieces(reference, taken):
                    hashed.update(piece)
                    stream.write(piece)
            # Its length as well: what was hashed is what came, and what lies there must be that and no more.
            if hashed.hexdigest() != reference.digest or path.stat().st_size != reference.bytes:
                raise JobError("what was fetched is not what was named")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _streamed(self, path: Path, reference: Reference) -> Generator[_Piece, None, None]:
        """What came to ``path`` in a stream."""
        if self.line is not None and reference.bytes:
            yield from self.line.lands(path, reference, self.process, self._is_over)

    def _is_over(self) -> bool:
        return self.over() or time.monotonic() >= self.deadline

    def _pieces(self, reference: Reference, offset: int) -> Iterator[_Piece]:
        """The pieces from ``offset`` on, in order; some more are on their way while one is looked at."""
        pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="fetch")
        on_their_way: deque[Future[tuple[_Piece, float]]] = deque()
        size = _FIRST_CHUNK_BYTES
        try:
            while offset < reference.bytes or on_their_way:
                while offset < reference.bytes and len(on_their_way) < _IN_FLIGHT:
                    length = min(size, reference.bytes - offset)
                    head = ChunkHead(digest=reference.digest, offset=offset, bytes=length)
                    on_their_way.append(pool.submit(self._piece, head))
                    offset += length
                piece, seconds = on_their_way.popleft().result()
                size = _next_size(size, seconds)
                yield piece
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _piece(self, head: ChunkHead) -> tuple[_Piece, float]:
        """One piece, however often it has to be asked for, and how long the last time took."""
        pause = _AGAIN_SECONDS
        while not self._is_over():
            begun = time.monotonic()
            if (piece := self._try(head)) is not None:
                return piece, time.monotonic() - begun
            time.sleep(pause)
            pause = min(2 * pause, _AGAIN_SECONDS_AT_MOST)
        raise JobError("what was to be fetched did not come in time")

    def _try(self, head: ChunkHead) -> _Piece | None:
        """One piece, if it comes."""
        try:
            reply = self.cell.send_request(
                channel=ROUNDS, topic=CHUNK, target=self.process, request=pack(head), timeout=_SECONDS, optional=True
            )
        except Exception:  # noqa: BLE001 - NVFlare raises while a connection is made anew
            _log.info("a piece could not be asked for; it is tried again", exc_info=True)
            return None
        code = reply.get_header(MessageHeaderKey.RETURN_CODE)
        if code == ReturnCode.INVALID_REQUEST:
            raise JobError("the other end does not have what was to be fetched")
        if code != ReturnCode.OK or not isinstance(reply.payload, bytes | bytearray | memoryview):
            return None
        if len(reply.payload) != head.bytes:
            raise JobError("a piece of what was fetched has another length than was asked for")
        piece: _Piece = reply.payload
        return piece


def _next_size(size: int, seconds: float) -> int:
    """How long the next piece is, after one of ``size`` took so many seconds."""
    if seconds < _QUICK_SECONDS:
        return min(2 * size, MAXIMUM_CHUNK_BYTES)
    return max(size // 2, _LEAST_CHUNK_BYTES) if seconds > _SLOW_SECONDS else size
