# SPDX-License-Identifier: Apache-2.0
"""A second connection to the server takes the place of the first, and nothing that is on its way is lost.

NVFlare keeps one connection for each process at the other end: as a second one introduces itself, the first is closed
there and then, with whatever was queued in it, and whoever waits for that waits until a timeout of five minutes. Here
the first one gets no more to send, and is closed once it has been quiet for a while. So a site's processes dial anew as
soon as they have another certificate, in the middle of a job too.

The other way about, a site's processes let go of a server whose certificate the roster does not accept any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.drivers.driver_params import DriverParams
from nvflare.fuel.f3.sfm.conn_manager import ConnManager
from nvflare.fuel.f3.sfm.constants import Types
from nvflare.fuel.f3.sfm.prefix import Prefix
from nvflare.fuel.f3.sfm.sfm_endpoint import SfmEndpoint

from cloister.errors import CertificateError
from cloister.flare import dialling
from cloister.flare.server_credentials import CredentialFiles
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import TrustWatch

_EVERY_SECONDS = 2.0
_QUIET_SECONDS = 5.0
_MOST_SECONDS = 120.0
_DIAL_SECONDS = 30.0
_DIAL_AGAIN_SECONDS = 10.0
_STEP_SECONDS = 0.2
_INTRODUCTION_SECONDS = 2.0

_log = logging.getLogger(__name__)


def let_connections_finish() -> None:
    """Have NVFlare's processes that are started from here close a connection that was replaced once it is quiet."""

    def add_connection(endpoint: Any, latest: Any) -> None:
        with endpoint.lock:
            earlier = [each for each in endpoint.connections if each is not latest]
            endpoint.connections[:] = [latest]  # what is sent from now on takes this one
        for each in earlier:
            threading.Thread(target=_close_when_quiet, args=(each,), daemon=True, name="close-when-quiet").start()

    substitute(SfmEndpoint, "add_connection", add_connection)
    process = ConnManager.process_frame_task

    def process_once_introduced(manager: Any, connection: Any, frame: Any) -> None:
        _wait_for_introduction(connection, frame)
        process(manager, connection, frame)

    substitute(ConnManager, "process_frame_task", process_once_introduced)


def _wait_for_introduction(connection: Any, frame: Any) -> None:
    """Wait a moment where a message overtakes the handshake of its connection.

    NVFlare answers a handshake before it has noted whose it is, and looks at each frame in a thread of its own. What
    the other end sends in that instant, over a second connection at once, would be lost.
    """
    deadline = time.monotonic() + _INTRODUCTION_SECONDS
    while connection.sfm_endpoint is None and time.monotonic() < deadline:
        if Prefix.from_bytes(frame).type != Types.DATA:
            return
        time.sleep(0.005)


def _close_when_quiet(connection: Any) -> None:
    begun = quiet_since = time.monotonic()
    seen = _traffic(connection)
    while time.monotonic() < min(quiet_since + _QUIET_SECONDS, begun + _MOST_SECONDS):
        time.sleep(_STEP_SECONDS)
        now = _traffic(connection)
        if now != seen or now[-1]:
            seen, quiet_since = now, time.monotonic()
    connection.conn.close()


def _traffic(connection: Any) -> tuple[float, int, int]:
    """What changes as frames come and go: when the last came, how many were sent, and how many wait to be."""
    waiting = getattr(getattr(connection.conn, "oq", None), "q", None)
    return connection.last_activity, connection.sequence, waiting.qsize() if waiting else 0


def redial(cell: CoreCell, seconds: float = _DIAL_SECONDS) -> bool:
    """Connect ``cell``, a participant's process, to the server anew and let go of its earlier connection.

    Args:
        cell: NVFlare's.
        seconds: for how long that is tried.

    Returns:
        Whether that was possible; otherwise the earlier connection is as it was.
    """
    manager, earlier = cell.communicator.conn_manager, cell.bb_ext_connector
    if earlier is None or _is_ending(cell):
        return False
    latest = cell.connector_manager.get_external_connector(cell.root_url, False)
    if latest is None:
        return False
    deadline = time.monotonic() + seconds
    while not _leads(manager, latest.handle):
        if time.monotonic() > deadline or _is_ending(cell):
            _log.warning("the server could not be dialled anew; the earlier connection stays")
            cell.communicator.remove_connector(latest.handle)
            return False
        time.sleep(_STEP_SECONDS)
    cell.bb_ext_connector = latest
    connector = manager.connectors.get(earlier.handle)
    if connector is not None:
        connector.stopped.set()  # its connection may finish; it dials no more
        threading.Thread(target=_remove_when_closed, args=(cell, connector), daemon=True, name="redial").start()
    _log.info("connected to the server anew")
    return True


def _is_ending(cell: CoreCell) -> bool:
    """Whether the process is about to end: NVFlare would wait for ever for a connector that was begun meanwhile."""
    return bool(cell.stopping or cell.asked_to_stop or not cell.running or cell.communicator.conn_manager.stopped)


def _leads(manager: Any, handle: str) -> bool:
    """Whether the connection that is used for the server is the one of connector ``handle``."""
    return any(each.conn.connector.handle == handle for each in _connections(manager))


def _connections(manager: Any) -> list[Any]:
    """The connection to the server that is used; none while there is none."""
    endpoint = manager.sfm_endpoints.get(FQCN.ROOT_SERVER)
    return list(endpoint.connections) if endpoint else []


def _remove_when_closed(cell: CoreCell, connector: Any) -> None:
    deadline = time.monotonic() + _MOST_SECONDS + _DIAL_SECONDS
    while connector.curr_conns > 0 and time.monotonic() < deadline:
        time.sleep(_STEP_SECONDS)
    cell.communicator.remove_connector(connector.handle)


def keep_connected(watch: TrustWatch, trouble: Callable[[str], None]) -> None:
    """Have a site's process that is started from here stay connected, with its latest certificate, to the server alone.

    Args:
        watch: the site's roster.
        trouble: told why the server is not believed any more.
    """
    start = CoreCell.start

    def start_and_watch(cell: Any) -> None:
        start(cell)
        threading.Thread(target=_watch, args=(cell, watch, trouble), daemon=True, name="keep-connected").start()

    substitute(CoreCell, "start", start_and_watch)


def _watch(cell: Any, watch: TrustWatch, trouble: Callable[[str], None]) -> None:
    shown = b""
    while not _is_ending(cell):
        time.sleep(_EVERY_SECONDS)
        try:
            files = CredentialFiles.of(cell.endpoint.conn_props, DriverParams.CLIENT_KEY, DriverParams.CLIENT_CERT)
            if not shown and dialling.latest:
                shown = dialling.latest[0].own
            elif shown:
                shown = look(cell, files, shown)
            leave_stranger(cell, watch, trouble)
        except Exception:  # noqa: BLE001 - the next look is in two seconds, and each dialling is judged by itself
            _log.exception("the connection to the server could not be looked at")
    _stop_late_connectors(cell)


def _stop_late_connectors(cell: Any) -> None:
    """Stop what was begun after NVFlare had gone through its connectors to stop them; it waits for each."""
    manager, deadline = cell.communicator.conn_manager, time.monotonic() + _DIAL_SECONDS
    while not manager.stopped and time.monotonic() < deadline:
        time.sleep(_STEP_SECONDS)
    for connector in list(manager.connectors.values()):
        if not connector.stopped.is_set():
            cell.communicator.remove_connector(connector.handle)


def look(cell: Any, files: CredentialFiles, shown: bytes) -> bytes:
    """Dial anew where there is another certificate than ``shown``, which fits its key; returns what is shown now."""
    found = files.read()
    if found.certificate == shown or not found.fit():
        return shown
    return found.certificate if redial(cell) else shown


def leave_stranger(cell: Any, watch: TrustWatch, trouble: Callable[[str], None]) -> bool:
    """Close the connection to a server whose certificate is not the server's any more; whether it was closed.

    A server that was renewed since shows another one to whoever dials anew, and nothing on its way is lost by that.
    Otherwise NVFlare dials again at once, and what is shown then is judged (`cloister.flare.dialling`).
    """
    connections = _connections(cell.communicator.conn_manager)
    if not dialling.latest or not connections:
        return False
    try:
        dialling.check_server(dialling.latest[0].server, watch.holder)
    except CertificateError as error:
        if redial(cell, _DIAL_AGAIN_SECONDS):
            return False
        trouble(str(error))
        for connection in connections:
            connection.conn.close()
        return True
    return False
