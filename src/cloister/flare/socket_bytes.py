# SPDX-License-Identifier: Apache-2.0
"""How many bytes the server exchanges with each site's process, counted where they pass to gRPC and from it.

The server's parent process has the connections. It counts every frame, whatever it carries and for whichever process it
is, with what gRPC and protobuf put around it; HTTP/2 and TLS add less than a hundredth to large ones. The server's
job process, which has no connection to anybody else, asks it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.drivers.grpc_driver import StreamConnection
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.sfm.conn_manager import ConnManager
from nvflare.fuel.f3.sfm.sfm_conn import SfmConnection

from cloister.errors import FederationError
from cloister.flare.parcel import acknowledgement, origin_of
from cloister.flare.substitute import substitute
from cloister.flare.traffic import BYTES, ROUNDS

_SECONDS = 5.0
_PREFIX = 5
"""Bytes that gRPC puts before a message."""

_AROUND_A_FRAME = _PREFIX + 2 + 5 + 5
"""Bytes: that prefix, and protobuf's tags, sequence number and length; NVFlare's `Frame` has two fields."""

_BEFORE = "cloister_bytes"  # of a connection that has not said yet whose it is


class Counter:
    """What was exchanged with each process, since this one began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, tuple[int, int]] = {}

    def add(self, connection: Any, received: int, sent: int) -> None:
        """Note what passed over a connection of NVFlare's; one within the machine does not count."""
        if not isinstance(connection.conn, StreamConnection):
            return
        with self._lock:
            before = getattr(connection, _BEFORE, (0, 0))
            both = (before[0] + received, before[1] + sent)
            if connection.sfm_endpoint is None:
                setattr(connection, _BEFORE, both)
                return
            setattr(connection, _BEFORE, (0, 0))
            self._add(str(connection.sfm_endpoint.endpoint.name), *both)

    def count(self, process: str, received: int, sent: int) -> None:
        """Note one message of a stream (`cloister.flare.stream_service`), without what gRPC puts around it.

        Args:
            process: NVFlare's name of the site's process.
            received: bytes of a message that came from there.
            sent: of one that went there.
        """
        with self._lock:
            self._add(process, received + _PREFIX * bool(received), sent + _PREFIX * bool(sent))

    def _add(self, process: str, received: int, sent: int) -> None:
        total = self._totals.get(process, (0, 0))
        self._totals[process] = (total[0] + received, total[1] + sent)

    def of_job(self, job_id: str) -> dict[str, tuple[int, int]]:
        """Bytes received from and sent to each site's process of a job."""
        with self._lock:
            totals = dict(self._totals)
        end = f".{job_id}"
        return {name.removesuffix(end): total for name, total in totals.items() if name.endswith(end)}

    def serve(self, cell: CoreCell) -> None:
        """Have the server's parent process tell its job processes, each of its own job."""
        cell.register_request_cb(ROUNDS, BYTES, self._tell)

    def _tell(self, carrier: Message) -> Message:
        server, _, job_id = origin_of(carrier).partition(".")
        if server != FQCN.ROOT_SERVER or not job_id or "." in job_id:
            return acknowledgement(ReturnCode.UNAUTHENTICATED)
        return Message({MessageHeaderKey.RETURN_CODE: ReturnCode.OK}, json.dumps(self.of_job(job_id)).encode())


def count_socket_bytes() -> Counter:
    """Have NVFlare's server that is started from here count what it exchanges, and tell its job processes."""
    counter = Counter()
    send, receive, start = SfmConnection.send_frame, ConnManager.process_frame, CoreCell.start

    def send_and_count(connection: Any, prefix: Any, headers: Any, payload: Any) -> None:
        send(connection, prefix, headers, payload)
        counter.add(connection, 0, prefix.length + _AROUND_A_FRAME)

    def receive_and_count(manager: Any, connection: Any, frame: Any) -> None:
        counter.add(connection, len(frame) + _AROUND_A_FRAME, 0)
        receive(manager, connection, frame)

    def start_and_serve(cell: CoreCell) -> None:
        if cell.get_fqcn() == FQCN.ROOT_SERVER:
            counter.serve(cell)
        start(cell)

    substitute(SfmConnection, "send_frame", send_and_count)
    substitute(ConnManager, "process_frame", receive_and_count)
    substitute(CoreCell, "start", start_and_serve)
    return counter


def bytes_by_site(cell: CoreCell) -> Mapping[str, tuple[int, int]]:
    """Bytes that the server received from each site's process of this job, and that it sent there, so far.

    Args:
        cell: of the server's job process.

    Raises:
        FederationError: where the server's parent process does not tell.
    """
    reply = cell.send_request(
        channel=ROUNDS,
        topic=BYTES,
        target=FQCN.ROOT_SERVER,
        request=Message({}, b""),
        timeout=_SECONDS,
        optional=True,
    )
    if reply.get_header(MessageHeaderKey.RETURN_CODE) != ReturnCode.OK or not isinstance(
        reply.payload, bytes | bytearray
    ):
        raise FederationError("the server's process does not tell how much was sent", hint="see the server's log")
    return {site: (int(received), int(sent)) for site, (received, sent) in json.loads(reply.payload).items()}
