# SPDX-License-Identifier: Apache-2.0
"""Large files between a site's process and the server's, each in one stream of gRPC's beside NVFlare's own call.

It is the same port, the same connection and the same certificates: two more calls, which the server's parent process
answers by itself. A site shows a ticket (`cloister.flare.tickets`); whose it is, the certificate says, which is judged
by the roster in force as the call begins and again with every piece. What is to come is said by how much is there
already, so that a stream that broke is gone on with where it ended.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.drivers import grpc_driver

from cloister.certificates.identity import Identity
from cloister.errors import CertificateError, JobError
from cloister.flare.connections import certificate_of
from cloister.flare.socket_bytes import Counter
from cloister.flare.substitute import substitute
from cloister.flare.tickets import Ticket, Tickets, Way
from cloister.flare.trust_watch import Holder

UP, DOWN = "/cloister.Streams/Up", "/cloister.Streams/Down"

TICKET = "cloister-ticket"
"""In the metadata of a call."""

PIECE_BYTES = 512 << 10

OFFSET_BYTES = 8
"""Of a place in a file: little-endian."""

_log = logging.getLogger(__name__)


def serve_streams(tickets: Tickets, holder: Holder, counter: Counter) -> None:
    """Have NVFlare's server that is started from here take and send files over streams.

    Args:
        tickets: what may be taken and sent.
        holder: whose a certificate is now.
        counter: is told how much passed.
    """
    add, start = grpc_driver.add_StreamerServicer_to_server, CoreCell.start

    def add_both(servicer: Any, server: Any) -> None:
        add(servicer, server)
        server.add_generic_rpc_handlers((Streams(tickets, holder, counter),))

    def start_and_serve(cell: CoreCell) -> None:
        if cell.get_fqcn() == FQCN.ROOT_SERVER:
            tickets.serve(cell)
        start(cell)

    substitute(grpc_driver, "add_StreamerServicer_to_server", add_both)
    substitute(CoreCell, "start", start_and_serve)


class Streams(grpc.GenericRpcHandler):
    """The two calls.

    Args:
        tickets: what may be taken and sent.
        holder: whose a certificate is now.
        counter: is told how much passed.
    """

    def __init__(self, tickets: Tickets, holder: Holder, counter: Counter) -> None:
        self._tickets, self._holder, self._counter = tickets, holder, counter

    def service(self, details: Any) -> Any:
        """The handler of a call; None where it is none of these."""
        if details.method == UP:
            return grpc.stream_stream_rpc_method_handler(lambda pieces, call: _guarded(call, self._up(pieces, call)))
        if details.method == DOWN:
            # Of one message; but gRPC would wait for it, on a thread, before anybody has looked at the certificate.
            return grpc.stream_stream_rpc_method_handler(lambda begin, call: _guarded(call, self._down(begin, call)))
        return None

    def _up(self, pieces: Iterator[bytes], call: Any) -> Iterator[bytes]:
        """Say how much is there, and add what comes."""
        ticket, process, judge = self._admit(call, "up")
        with ticket.turn(call, process), _Opened(ticket, os.O_WRONLY | os.O_APPEND) as opened:
            yield opened.size().to_bytes(OFFSET_BYTES, "little")
            for piece in pieces:
                judge()
                more = ticket.add(opened.descriptor, piece)
                self._counter.count(process, len(piece), 0)
                if not more:
                    return

    def _down(self, begin: Iterator[bytes], call: Any) -> Iterator[bytes]:
        """Send what is there, from where it is asked for."""
        ticket, process, judge = self._admit(call, "down")
        with ticket.open_for(call, process), _Opened(ticket, os.O_RDONLY) as opened:
            if opened.size() != ticket.size:
                raise JobError("the file has not the length that was named")
            offset = int.from_bytes(next(begin, b"")[:OFFSET_BYTES], "little")
            while piece := os.pread(opened.descriptor, PIECE_BYTES, min(offset, ticket.size)):
                judge()
                ticket.check()
                self._counter.count(process, 0, len(piece))
                yield piece
                offset += len(piece)

    def _admit(self, call: Any, way: Way) -> tuple[Ticket, str, Callable[[], Identity]]:
        """The ticket that is shown, NVFlare's name of the process that it is for, and what judges again whose it is."""
        certificate = certificate_of(call)

        def judge() -> Identity:
            return self._holder(certificate)

        identifier = str(dict(call.invocation_metadata()).get(TICKET, ""))
        holder = judge()
        ticket = self._tickets.find(identifier, way, holder)
        return ticket, FQCN.join([holder.name, ticket.job]), judge


class _Opened:
    """A ticket's file, open."""

    def __init__(self, ticket: Ticket, flags: int) -> None:
        self.descriptor = os.open(ticket.path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_about: object) -> None:
        os.close(self.descriptor)

    def size(self) -> int:
        """Bytes that it has."""
        state = os.fstat(self.descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise JobError("a ticket's file is not a file")
        return state.st_size


def _guarded(call: Any, answer: Iterator[bytes]) -> Iterator[bytes]:
    """What ``answer`` gives; where it raises, the call ends and nothing more is taken or sent."""
    try:
        yield from answer
    except CertificateError as error:
        call.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
    except JobError as error:
        _log.warning("a stream from `%.200s` was ended: %s", call.peer(), error)
        call.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
    except Exception:  # noqa: BLE001 - a gate: what cannot be judged, for whatever reason, is neither taken nor sent
        if call.is_active():
            _log.exception("a stream from `%.200s` was ended", call.peer())
        call.abort(grpc.StatusCode.INTERNAL, "the stream was ended")
