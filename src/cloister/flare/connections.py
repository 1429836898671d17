# SPDX-License-Identifier: Apache-2.0
"""Who is at the other end of a connection: the whole certificate of it, looked at as it begins and with each message.

NVFlare's gRPC driver keeps of a certificate the common name alone, and takes any that the authority ever signed. Here

1. the certificate of each connection that comes in is kept, and goes with every message that comes over it;
2. the server ends a call whose certificate is nobody's by the roster in force before NVFlare hears of it, and says why:
   gRPC carries the sentence to the other end, which logs it.

gRPC looks at signature and dates itself, as it shakes hands. What it refuses there, it refuses without a word to either
end's log, so a participant's own log is where to look: `cloister.flare.dialling` examines what is sent and what comes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.drivers.grpc_driver import GrpcDriver, Servicer, StreamConnection

from cloister.errors import CertificateError
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import Holder

CERTIFICATE = "cloister_certificate"
"""Under this name NVFlare's properties of a connection, and of a message, carry the certificate in PEM form."""

SENDER = "cloister_sender"
"""In this header of a message stands whose connection it came over, whatever the sender wrote there.

NVFlare hands on the headers of a message that came in pieces and not its properties.
"""

_MOST_CONNECTIONS = 2000  # NVFlare's hundred would be used up by fifty sites that train; a thread each, while it lasts
_SAY_AGAIN_SECONDS = 60.0

_log = logging.getLogger(__name__)

Refused = Callable[[str, str], None]
"""Is told of a connection that was refused: from where it came, and why."""


def keep_certificates() -> None:
    """Have NVFlare's processes that are started from here keep the certificate of each connection that comes in."""
    begin, receive, prepare = StreamConnection.__init__, CoreCell._process_received_msg, GrpcDriver.__init__

    def begin_with_certificate(
        connection: Any, oq: Any, connector: Any, conn_props: dict[str, Any], side: str, **ends: Any
    ) -> None:
        context = ends.get("context")
        if context is not None:
            conn_props[CERTIFICATE] = certificate_of(context)
        begin(connection, oq, connector, conn_props, side, **ends)

    def receive_with_certificate(cell: Any, endpoint: Any, connection: Any, message: Any) -> Any:
        properties = connection.get_conn_properties() if connection else {}
        # Set either way: what the endpoint has is of its latest connection, and this may have come over an earlier one.
        message.set_prop(CERTIFICATE, properties.get(CERTIFICATE, b""))
        return receive(cell, endpoint, connection, message)

    def prepare_for_many(driver: Any) -> None:
        prepare(driver)
        driver.max_workers = _MOST_CONNECTIONS

    substitute(StreamConnection, "__init__", begin_with_certificate)
    substitute(CoreCell, "_process_received_msg", receive_with_certificate)
    substitute(GrpcDriver, "__init__", prepare_for_many)


def certificate_of(context: Any) -> bytes:
    """The certificate, in PEM form, that the caller in a gRPC ``context`` showed; empty where there is none."""
    found = context.auth_context().get("x509_pem_cert") or [b""]
    return bytes(found[0])


def refuse_strangers(holder: Holder, refused: Refused) -> None:
    """Have the server take a call only from whom ``holder`` knows.

    Args:
        holder: whose a certificate is now.
        refused: told of every call that is not taken.
    """
    serve = Servicer.Stream

    def serve_known(servicer: Any, request_iterator: Any, context: Any) -> Iterator[Any]:
        if reason := refusal_of(context, holder):
            refused(str(context.peer()), reason)
            context.abort(grpc.StatusCode.UNAUTHENTICATED, reason)
        yield from serve(servicer, request_iterator, context)

    substitute(Servicer, "Stream", serve_known)


def refusal_of(context: Any, holder: Holder) -> str:
    """Why a call is not taken, or nothing."""
    try:
        certificate = certificate_of(context)
        if not certificate:
            return "the connection shows no certificate"
        holder(certificate)
    except CertificateError as error:
        return str(error)
    except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
        _log.exception("a connection could not be judged")
        return "the certificate cannot be judged"
    return ""


def hear_refusals(heard: Callable[[str], None]) -> None:
    """Have a participant's process say why the server ends its calls; NVFlare drops the reason.

    Args:
        heard: told of a reason, once a minute at most for the same one.
    """
    read = StreamConnection.read_loop
    said: dict[str, float] = {}

    def told(frames: Any) -> Iterator[Any]:
        try:
            yield from frames
        except grpc.RpcError as error:
            code, reason = _ending(error)
            if code is grpc.StatusCode.UNAUTHENTICATED and time.monotonic() - said.get(reason, -1e9) > (
                _SAY_AGAIN_SECONDS
            ):
                said.clear()
                said[reason] = time.monotonic()
                heard(reason)
            raise

    def read_and_tell(connection: Any, frames: Any) -> None:
        read(connection, told(frames))

    substitute(StreamConnection, "read_loop", read_and_tell)


def _ending(error: Any) -> tuple[Any, str]:
    """Code and sentence of a call's end."""
    try:
        return error.code(), " ".join(str(error.details()).split())[:500]
    except Exception:  # noqa: BLE001 - an error of gRPC's own without either; the call has ended all the same
        return None, ""
