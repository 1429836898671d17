# SPDX-License-Identifier: Apache-2.0
"""Fetches what another process of the job has, by a stream where there is one, and piece by piece.

A piece that was lost on its way is asked for again, pieces are small where the line is slow and large where it is fast,
a few are on their way at any time. Those few are in memory and no more, and a connection that breaks costs no more than
what was on its way.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode

from cloister.errors import JobError
from cloister.files import PRIVATE_FILE
from cloister.flare.chunks import MAXIMUM_CHUNK_BYTES, ChunkHead, Line, begin_digest
from cloister.flare.parcel import Reference, pack
from cloister.flare.traffic import CHUNK, ROUNDS

MAXIMUM_PAYLOAD_BYTES = 16 << 30
"""Of all pieces, where nobody says less."""

_FIRST_CHUNK_BYTES = 1 << 20
_LEAST_CHUNK_BYTES = 64 << 10
_IN_FLIGHT = 4
_SECONDS = 15.0
_QUICK_SECONDS, _SLOW_SECONDS = 0.5, 3.0
_AGAIN_SECONDS, _AGAIN_SECONDS_AT_MOST = 0.1, 2.0

BY_MESSAGE = "did not come in a stream and is fetched by message, which takes longer"
"""What a log says of it."""

_Piece = bytes | bytearray | memoryview

_log = logging.getLogger(__name__)


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
        hashed, taken = begin_digest(message), 0
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
