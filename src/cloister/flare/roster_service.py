# SPDX-License-Identifier: Apache-2.0
"""Newer rosters, fetched by somebody who cannot believe the server yet.

A participant that was away has a roster that does not list the server's renewed certificate, or not even the authority
that signed it; the roster that does is at the server. A roster needs no trusted way to travel: its signature counts. So
beside NVFlare's own call the server's port answers one more, which hands out rosters, and whoever does not believe the
server's certificate asks that first and then judges again. Nothing else is said over this connection.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import grpc
from nvflare.fuel.f3.drivers import grpc_driver

from cloister.envelope import MAXIMUM_BYTES as MAXIMUM_ROSTER_BYTES
from cloister.files import read_regular
from cloister.flare.connections import refusal_of
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import TrustWatch
from cloister.trust import roster_file, take_up
from cloister.trust.mailbox import FOLDER, newest_version, rosters_after

METHOD = "/cloister.Rosters/After"
MAXIMUM_BYTES = 8 << 20
_SECONDS = 10.0

_log = logging.getLogger(__name__)


def rosters_newer_than(version: int, watch: TrustWatch) -> list[bytes]:
    """What somebody whose roster has ``version`` must take up, in this order, of what is at the server.

    Args:
        version: of their roster.
        watch: the server's.
    """
    folder, size = watch.workspace / FOLDER, 0
    found: list[bytes] = []
    for content in rosters_after(folder, version):
        size += len(content)
        if size > MAXIMUM_BYTES:  # the next time it is the others
            return found
        found.append(content)
    if max(version, newest_version(folder)) < watch.trust().version:  # it came in force by another way
        found.append(read_regular(roster_file(watch.workspace), MAXIMUM_ROSTER_BYTES))
    return found


def serve_rosters(watch: TrustWatch) -> None:
    """Have NVFlare's server that is started from here hand out rosters, to everybody whose certificate counts.

    Args:
        watch: the server's roster.
    """
    add = grpc_driver.add_StreamerServicer_to_server

    def add_both(servicer: Any, server: Any) -> None:
        add(servicer, server)
        server.add_generic_rpc_handlers((_Rosters(watch),))

    substitute(grpc_driver, "add_StreamerServicer_to_server", add_both)


class _Rosters(grpc.GenericRpcHandler):
    def __init__(self, watch: TrustWatch) -> None:
        self._watch = watch

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._after) if details.method == METHOD else None

    def _after(self, request: bytes, context: Any) -> bytes:
        if reason := refusal_of(context, self._watch.holder):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, reason)
        return answer(request, self._watch)


def answer(request: bytes, watch: TrustWatch) -> bytes:
    """The reply to ``request``, which is a version in decimal; nothing newer where it is not."""
    try:
        return json.dumps([each.decode() for each in rosters_newer_than(int(request[:20]), watch)]).encode()
    except Exception:  # noqa: BLE001 - whoever asks nonsense learns nothing, and the server goes on
        _log.exception("rosters could not be handed out")
        return b"[]"


def fetch_rosters(place: str, credentials: Any, workspace: Path, version: int) -> bool:
    """Take up what is newer at the server; whether there was anything.

    Args:
        place: host and port.
        credentials: gRPC's, for whoever is there.
        workspace: where it is taken up.
        version: of the roster in force there.

    Raises:
        CloisterError: where something that came is no roster that counts.
    """
    options = [("grpc.max_receive_message_length", MAXIMUM_BYTES * 2)]
    with grpc.secure_channel(place, credentials, options=options) as channel:
        try:
            reply = channel.unary_unary(METHOD)(str(version).encode(), timeout=_SECONDS)
            rosters = [str(each).encode() for each in json.loads(reply)]
        except (grpc.RpcError, ValueError, TypeError) as error:
            _log.info("no newer roster could be fetched: %.200s", error)
            return False
    taken = [take_up(workspace, content) for content in rosters]
    return any(each is not None for each in taken)
