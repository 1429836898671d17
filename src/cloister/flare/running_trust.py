# SPDX-License-Identifier: Apache-2.0
"""What each of NVFlare's processes is given before it begins, so that the roster in force counts while it runs.

NVFlare trusts whatever the authority ever signed, from files that it reads once. The parts that change this are in
modules of their own; here is which process needs which.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nvflare.fuel.f3.drivers import grpc_driver
from nvflare.fuel.f3.drivers.grpc_driver import StreamConnection
from nvflare.private.fed.utils.identity_utils import IdentityVerifier

from cloister.audit import Log
from cloister.flare.audit_log import record_failure
from cloister.flare.closing import bind_sessions
from cloister.flare.connections import hear_refusals, keep_certificates, refuse_strangers
from cloister.flare.dialling import dial_carefully
from cloister.flare.redial import keep_connected, let_connections_finish
from cloister.flare.roster_service import serve_rosters
from cloister.flare.server_credentials import serve_with_files
from cloister.flare.server_identity import sign_with_renewed_key
from cloister.flare.traffic import restrict_traffic, rule_of_server, rule_of_site
from cloister.flare.trust_watch import TrustWatch
from cloister.flare.trusted_roots import trust_every_root

POINT = "connection"
"""What an audit log says of where a certificate was refused."""

_SAY_AGAIN_SECONDS = 60.0
_RECORD_AGAIN_SECONDS = 3600.0
_MOST_REASONS = 1000

_log = logging.getLogger(__name__)


class Complaints:
    """Sentences about connections, in the process's log and its audit log, each of them once in a while.

    Somebody who is refused tries again within seconds, for as long as their process runs.

    Args:
        log: the participant's audit log.
    """

    def __init__(self, log: Log) -> None:
        self._audit = log
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}
        self._recorded: dict[str, float] = {}

    def note(self, sentence: str) -> None:
        """Log ``sentence``, once a minute at most."""
        with self._lock:
            due = _due(self._said, sentence, _SAY_AGAIN_SECONDS)
        if due:
            _log.error("%s", sentence)

    def say(self, sentence: str) -> None:
        """Log ``sentence``, and record it, once an hour at most."""
        self.note(sentence)
        with self._lock:
            due = _due(self._recorded, sentence, _RECORD_AGAIN_SECONDS)
        if due:
            record_failure(self._audit, POINT, sentence, job="")

    def refused(self, peer: str, reason: str) -> None:
        """Say that a connection from ``peer`` was refused; the port, new with each, is left out."""
        self.say(f"refused a connection from {peer.rpartition(':')[0]}: {reason}")


def _due(last: dict[str, float], sentence: str, seconds: float) -> bool:
    now = time.monotonic()
    if sentence in last and now - last[sentence] < seconds:
        return False
    if len(last) >= _MOST_REASONS:
        last.clear()
    last[sentence] = now
    return True


def trust_as_server(watch: TrustWatch, complaints: Complaints) -> None:
    """Have NVFlare's server that is started from here go by the roster in force.

    Args:
        watch: the server's roster.
        complaints: where refusals are written down.
    """
    keep_certificates()
    refuse_strangers(watch.holder, complaints.refused)
    serve_with_files()
    serve_rosters(watch)
    sign_with_renewed_key(watch)
    bind_sessions(watch)
    trust_every_root()
    let_connections_finish()
    restrict_traffic(rule_of_server(watch.holder))


def trust_as_site(watch: TrustWatch, site: str, complaints: Complaints) -> None:
    """Have a site's process of NVFlare's that is started from here go by the roster in force.

    Args:
        watch: the site's roster.
        site: its name.
        complaints: where it is written down why there is no connection.
    """
    dial_carefully(complaints.say)
    hear_refusals(lambda reason: complaints.say(f"the server refuses the connection: {reason}"))
    trust_every_root()
    let_connections_finish()
    keep_connected(watch, complaints.say)
    restrict_traffic(rule_of_site(site))


@contextmanager
def trust_as_person(heard: Callable[[str], None]) -> Iterator[None]:
    """Have a person's session of NVFlare's that is opened meanwhile go by the roster in force.

    Args:
        heard: told why there is no connection.
    """
    kept = [
        (grpc_driver, "get_grpc_client_credentials"),
        (StreamConnection, "read_loop"),
        (IdentityVerifier, "__init__"),
        (IdentityVerifier, "verify_common_name"),
    ]
    before = [(target, name, getattr(target, name)) for target, name in kept]
    try:
        dial_carefully(heard)
        hear_refusals(lambda reason: heard(f"the server refuses the connection: {reason}"))
        trust_every_root()
        yield
    finally:
        for target, name, value in before:  # the process is a command's, or a test's, and does other things as well
            setattr(target, name, value)
