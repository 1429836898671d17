# SPDX-License-Identifier: Apache-2.0
"""What each of NVFlare's processes is given before it begins, so that the roster in force counts while it runs.

NVFlare trusts whatever the authority ever signed, from files that it reads once. The parts that change this are in
modules of their own; here is which process needs which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nvflare.fuel.f3.drivers import grpc_driver
from nvflare.fuel.f3.drivers.grpc_driver import StreamConnection
from nvflare.private.fed.utils.identity_utils import IdentityVerifier

from cloister.flare.closing import bind_sessions
from cloister.flare.complaints import Complaints
from cloister.flare.connections import hear_refusals, keep_certificates, refuse_strangers
from cloister.flare.dialling import dial_carefully
from cloister.flare.frames import join_frames
from cloister.flare.redial import keep_connected, let_connections_finish
from cloister.flare.roster_service import serve_rosters
from cloister.flare.server_credentials import serve_with_files
from cloister.flare.server_identity import sign_with_renewed_key
from cloister.flare.socket_bytes import count_socket_bytes
from cloister.flare.stream_service import serve_streams
from cloister.flare.tickets import Tickets
from cloister.flare.traffic import restrict_traffic, rule_of_server, rule_of_site
from cloister.flare.trust_watch import TrustWatch
from cloister.flare.trusted_roots import trust_every_root


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
    sign_with_renewed_key(watch.workspace)
    bind_sessions(watch)
    trust_every_root()
    let_connections_finish()
    join_frames()
    serve_streams(Tickets(watch.workspace), watch.holder, count_socket_bytes())
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
    join_frames()
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
