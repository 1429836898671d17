# SPDX-License-Identifier: Apache-2.0
"""A site's end of the streams in which large files go to the server and come from it.

They take the connection that NVFlare's messages take, which was dialled with care (`cloister.flare.dialling`) and is
dialled anew by itself; what goes up is what the holder was given for the server's process, that is after every gate.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.fqcn import FQCN

from cloister.errors import JobError
from cloister.flare.parcel import Reference
from cloister.flare.stream_service import DOWN, OFFSET_BYTES, PIECE_BYTES, TICKET, UP

_ON_THEIR_WAY = 4
_PATIENCE_SECONDS = 20.0
_AGAIN_SECONDS = 0.2

_log = logging.getLogger(__name__)

Read = Callable[[int, int], bytes]
"""Reads from what is sent: from which place on, and how many bytes."""


class SiteLine:
    """The streams of one process.

    Args:
        cell: of the site's job process.
    """

    def __init__(self, cell: CoreCell) -> None:
        self._cell = cell
        self._lock = threading.Lock()
        self._under_way: set[str] = set()

    def _channel(self) -> Any:
        """Of gRPC, to the server; None where there is none now."""
        endpoint = self._cell.communicator.conn_manager.sfm_endpoints.get(FQCN.ROOT_SERVER)
        channels = [getattr(each.conn, "channel", None) for each in list(endpoint.connections)] if endpoint else []
        return next((each for each in reversed(channels) if each is not None), None)

    def push(self, ticket: str, read: Read, size: int) -> bool:
        """Begin to send ``size`` bytes up, if that is not under way; whether there is a line.

        Args:
            ticket: the server's.
            read: reads from what is sent.
            size: bytes of it.
        """
        channel = self._channel()
        if channel is None:
            return False
        with self._lock:
            if ticket in self._under_way:
                return True
            self._under_way.add(ticket)
        about = (channel, ticket, read, size)
        threading.Thread(target=self._push, args=about, daemon=True, name="push").start()
        return True

    def _push(self, channel: Any, ticket: str, read: Read, size: int) -> None:
        begin: queue.SimpleQueue[int | None] = queue.SimpleQueue()

        def pieces() -> Iterator[bytes]:
            offset = begin.get()
            while offset is not None and offset < size:
                piece = read(offset, min(PIECE_BYTES, size - offset))
                if not piece:
                    raise JobError("what is sent has become shorter")
                yield piece
                offset += len(piece)

        try:
            call = channel.stream_stream(UP)(pieces(), metadata=((TICKET, ticket),))
            try:
                for said in call:  # once, how much is there already
                    begin.put(int.from_bytes(said, "little"))
            finally:
                call.cancel()
        except Exception:  # noqa: BLE001 - gRPC raises where the line breaks; the server's process asks again
            _log.info("a file was not sent to its end", exc_info=True)
        finally:
            begin.put(None)
            with self._lock:
                self._under_way.discard(ticket)

    def lands(
        self,
        path: Path,
        reference: Reference,
        process: str,  # noqa: ARG002 - it is the server's
        over: Callable[[], bool],
    ) -> Generator[bytes, None, None]:
        """Have what ``reference`` names come down to ``path``, as much of it as comes; see `cloister.flare.chunks`.

        Raises:
            JobError: where more comes than was named.
        """
        taken, moved = 0, time.monotonic()
        if reference.ticket is None:
            return
        with path.open("ab") as stream:
            while taken < reference.bytes and not over() and time.monotonic() - moved < _PATIENCE_SECONDS:
                with closing(self._come(reference.ticket, taken, over)) as pieces:
                    for piece in pieces:
                        taken, moved = taken + len(piece), time.monotonic()
                        if taken > reference.bytes:
                            raise JobError("more came than was named")
                        stream.write(piece)
                        yield piece
                if not taken:  # there is no such way here
                    return
                if taken < reference.bytes:
                    time.sleep(_AGAIN_SECONDS)

    def _call(self, ticket: str, offset: int) -> Any:
        """Of gRPC, which brings what lies from ``offset`` on; None where there is no line now."""
        channel = self._channel()
        if channel is None:
            return None
        begin = offset.to_bytes(OFFSET_BYTES, "little")
        try:
            return channel.unary_stream(DOWN)(begin, metadata=((TICKET, ticket),))
        except ValueError:  # gRPC's, of a channel that was closed: NVFlare closes one before it forgets it
            _log.info("a file did not come, since its line was closed", exc_info=True)
            return None

    def _come(self, ticket: str, offset: int, over: Callable[[], bool]) -> Generator[bytes, None, None]:
        """Pieces from ``offset`` on, while they come; a few are taken from the line while one is looked at."""
        call = self._call(ticket, offset)
        if call is None:
            return
        came: queue.Queue[bytes | None] = queue.Queue(_ON_THEIR_WAY)
        ended = threading.Event()

        def put(piece: bytes | None) -> None:
            while not ended.is_set():
                try:
                    return came.put(piece, timeout=1.0)
                except queue.Full:
                    continue

        def take() -> None:
            try:
                for piece in call:
                    put(piece)
            except grpc.RpcError as error:
                _log.info("a file did not come to its end: %.500s", error)
            finally:
                put(None)

        threading.Thread(target=take, daemon=True, name="take").start()
        try:
            while not over() and (piece := came.get(timeout=_PATIENCE_SECONDS)) is not None:
                yield piece
        except queue.Empty:
            _log.info("a file does not come any more")
        finally:
            ended.set()
            call.cancel()
