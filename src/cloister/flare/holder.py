# SPDX-License-Identifier: Apache-2.0
"""What other processes of a job may fetch from this one, each of them what is offered to it and nothing else.

A piece is read when it is asked for, so that no more than that is in memory, however many ask.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message

from cloister.errors import JobError
from cloister.flare.chunks import ChunkHead, Line, begin_digest
from cloister.flare.parcel import Reference, StreamHead, acknowledgement, origin_of, unpack
from cloister.flare.server_line import ServerLine
from cloister.flare.site_line import SiteLine
from cloister.flare.traffic import CHUNK, ROUNDS, STREAM

_READ_BYTES = 4 << 20

_log = logging.getLogger(__name__)


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
        hashed = begin_digest(message)
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
