# SPDX-License-Identifier: Apache-2.0
"""Whoever is nobody any more is put out of the server, within seconds and in the middle of a job too.

A connection lives for months, and what was true of its certificate when it began may have ended: it was revoked, its
time is over, the roster has dropped the name or changed what it says. Every two seconds the server holds each
connection's certificate against the roster in force; the same is asked of every message (`cloister.flare.traffic`).

Closing the connection alone would have NVFlare wait for the site's heartbeat. So the site is logged out as well, by
which the job's process hears at once that it is gone and goes on without it, and a person's sessions are ended. The
token of a session names a role, and NVFlare revives a session from its token: hence a session counts only while the
certificate of the connection says the same person, organisation and role.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nvflare.fuel.hci.server.constants import ConnProps
from nvflare.fuel.hci.server.login import LoginModule

from cloister.errors import CertificateError
from cloister.flare.connections import CERTIFICATE, SENDER
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import Holder, TrustWatch

EVERY_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PutOut:
    """A connection that was closed.

    Attributes:
        name: common name in its certificate.
        process: NVFlare's name of the process at its other end.
        reason: why, in one sentence.
    """

    name: str
    process: str
    reason: str


def close_strangers(server: Any, holder: Holder, told: Callable[[PutOut], None]) -> list[PutOut]:
    """Close every connection to NVFlare's ``server`` whose certificate is nobody's now.

    Args:
        server: NVFlare's.
        holder: whose a certificate is now.
        told: of each connection, before it is closed.

    Returns:
        What was closed.
    """
    known: set[str] = set()
    closed: list[PutOut] = []
    for connection in list(server.cell.core_cell.communicator.conn_manager.sfm_conns.values()):
        certificate = connection.conn.get_conn_properties().get(CERTIFICATE)
        if not certificate:  # the server's own job process
            continue
        process = str(connection.sfm_endpoint.endpoint.name) if connection.sfm_endpoint else ""
        try:
            known.add(holder(certificate).name)
        except CertificateError as error:
            name = str(connection.conn.get_conn_properties().get("peer_cn") or "")
            closed.append(PutOut(name, process, str(error)))
            try:
                told(closed[-1])
                _end(connection.conn)
            except Exception:  # noqa: BLE001 - it is tried again in two seconds; the next one is no less important
                _log.exception("the connection of `%s` could not be closed", process or name)
    for name in {each.name for each in closed} - known:  # who has another connection that stands stays logged in
        try:
            _log_out(server, name)
        except Exception:  # noqa: BLE001 - the connection is closed; the next name is no less important
            _log.exception("`%s` could not be logged out", name)
    return closed


def _end(connection: Any) -> None:
    """Close ``connection`` at once; NVFlare's own way alone ends the call as the other end sends something next."""
    context = getattr(connection, "context", None)
    if context is not None:
        context.cancel()
    connection.close()


def _log_out(server: Any, name: str) -> None:
    for token in [token for token, client in list(server.client_manager.get_clients().items()) if client.name == name]:
        server.logout_client(token)
    sessions: Any = server.admin_server.sess_mgr if server.admin_server else None  # there is none at the very beginning
    for session in sessions.get_sessions() if sessions else ():
        if session.user_name == name:
            sessions.end_session_by_id(session.sess_id)


def watch_connections(server: Any, holder: Holder, told: Callable[[PutOut], None]) -> threading.Thread:
    """Do `close_strangers` every two seconds, in a thread that is returned."""

    def watch() -> None:
        pause = threading.Event()
        while not server.shutdown:
            try:
                close_strangers(server, holder, told)
            except Exception:  # noqa: BLE001 - the next look is in two seconds; each message is judged by itself
                _log.exception("the connections could not be looked through")
            pause.wait(EVERY_SECONDS)

    thread = threading.Thread(target=watch, daemon=True, name="watch-connections")
    thread.start()
    return thread


def bind_sessions(watch: TrustWatch) -> None:
    """Have NVFlare's server that is started from here take a session's token from its own person's connection alone.

    Args:
        watch: the server's roster.
    """
    before = LoginModule.pre_command

    def pre_command(module: Any, conn: Any, args: list[str]) -> bool:
        if not before(module, conn, args):
            return False
        session = conn.get_prop(ConnProps.SESSION)
        if session is None or fits(session, conn.get_prop(ConnProps.REQUEST), watch):
            return True
        module.session_mgr.end_session_by_id(session.sess_id)
        conn.append_error("the session is another person's, or of another role")
        return False

    substitute(LoginModule, "pre_command", pre_command)


def fits(session: Any, request: Any, watch: TrustWatch) -> bool:
    """Whether ``session`` is that of the person whose connection ``request`` came over, in the role that they have.

    NVFlare has no request at hand where a job has come in as a stream. Then the role alone is looked at: who sends a
    job must have signed it (`cloister.flare.submitted_job`).
    """
    try:
        identity = watch.entry(session.user_name if request is None else request.get_header(SENDER))
        said = (session.user_name, session.user_org, session.user_role)
        return identity.kind == "person" and said == (identity.name, identity.organisation, str(identity.role))
    except CertificateError:
        return False
    except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
        _log.exception("a session could not be held against its connection")
        return False
