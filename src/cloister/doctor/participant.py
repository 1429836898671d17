# SPDX-License-Identifier: Apache-2.0
"""What is looked at for one participant: all that a site, the server or a person needs besides the machine itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from cloister import __version__
from cloister.audit import FOLDER, verify_own
from cloister.audit.last_checkpoint import path_of
from cloister.certificates import identities, passphrase
from cloister.doctor.audit_log import judge_report
from cloister.doctor.clock import judge_difference
from cloister.doctor.codes import Level, Topic
from cloister.doctor.contact import judge_contact
from cloister.doctor.finding import Finding, in_order, unchecked
from cloister.doctor.handshake import Handshake, Target, shake_hands
from cloister.doctor.here import AskServer, Here
from cloister.doctor.kit import judge_kit
from cloister.doctor.network import DIAL_SECONDS
from cloister.doctor.own import Own
from cloister.doctor.peer import Expected, judge_certificate, judge_handshake
from cloister.doctor.probe import Probe
from cloister.doctor.proxy import Proxy, ask, judge_tunnel, named, proxy_for
from cloister.doctor.roster import judge_roster
from cloister.doctor.server import (
    judge_hosts,
    judge_mailbox,
    judge_own_port,
    judge_served,
    waiting,
    who_listens,
)
from cloister.doctor.site import site_probes
from cloister.doctor.versions import judge_server
from cloister.errors import CloisterError
from cloister.flare.last_contact import LastContact
from cloister.flare.port import is_free
from cloister.trust import mailbox, roots_of_the_past

_TLS_SECONDS = 12.0
_SESSION_SECONDS = 60.0  # NVFlare's own limits end it before
_AUDIT_SECONDS = 60.0
_LOOPBACK = "127.0.0.1"
_NVFLARE_LOG = "log.txt"  # what a process of NVFlare's writes as soon as it runs


def participant_probes(here: Here, own: Own, target: Target | None) -> Iterator[Probe]:
    """What to look at, in order.

    Args:
        here: the machine and the moment.
        own: what lies here of the participant.
        target: where the server takes connections; None where it does not.
    """
    name, kind = own.identity.name, own.identity.kind
    yield Probe(Topic.KIT, f"key and certificate of `{name}`", lambda: judge_kit(own, here.now))
    yield Probe(Topic.ROSTER, f"the roster at `{name}`", lambda: judge_roster(own, here.document, here.now))
    if kind == "site" and (contact := LastContact.read(own.workspace)) is not None:
        last = contact
        yield Probe(Topic.TLS, f"the last word of the server to `{name}`", lambda: _contact(here, own, last))
    if kind == "server":
        yield from _server_probes(here, own)
    elif target is not None:
        yield from _tls_probes(here, own, target)
    if kind == "site":
        yield from site_probes(here, own)
    if kind != "person" and _has_run(own):
        yield Probe(Topic.AUDIT, f"the audit log of `{name}`", lambda: _audit(own), _AUDIT_SECONDS)


def _tls_probes(here: Here, own: Own, target: Target) -> Iterator[Probe]:
    """Each is looked at before the next is asked for: what rests on something that is wrong is not tried."""
    seen: list[Finding] = []

    def kept(look: Callable[[], Iterator[Finding]]) -> Callable[[], list[Finding]]:
        def tried() -> list[Finding]:
            seen.extend(look())
            return seen[:]

        return tried

    yield Probe(Topic.TLS, "mutual TLS with the server", kept(lambda: _tls(here, own, target)), _TLS_SECONDS)
    if own.identity.kind != "person":
        return
    proxy = proxy_for(target.host, here.environment)
    if proxy is not None:
        through = replace(target, proxy=proxy)
        seen.clear()
        look = kept(lambda: _through(here, own, through, proxy))
        yield Probe(Topic.PROXY, f"the way through the proxy `{proxy}`", look, _TLS_SECONDS)
    session = here.ask_server
    if session is not None and seen and all(each.level is Level.OK for each in seen):
        yield Probe(Topic.TLS, "a session with the server", lambda: _session(own, session), _SESSION_SECONDS)


def _through(here: Here, own: Own, target: Target, proxy: Proxy) -> Iterator[Finding]:
    tunnel = judge_tunnel(proxy, ask(proxy, target.host, target.port, DIAL_SECONDS), target.host, target.port)
    yield tunnel
    if tunnel.level is Level.OK:
        yield from _tls(here, own, target)


def _tls(here: Here, own: Own, target: Target) -> Iterator[Finding]:
    if not own.kit.roots:
        why = "the authority's certificate cannot be read, by which the server's is known"
        yield unchecked(Topic.TLS, "mutual TLS with the server", why, "join first, or mend `rootCA.pem`")
        return
    yield from judge_handshake(_shake(own, target), _expected(here, own, target))


def _session(own: Own, ask: AskServer) -> Iterator[Finding]:
    try:
        state = ask(own.workspace, own.identity.name)
    except CloisterError as error:
        hint = error.hint or "the server's log names the reason"
        yield Finding("D0316", f"the server opens no session: {error.message}", hint)
        return
    yield in_order(Topic.TLS, "the server opens a session")
    yield judge_difference(state.asked_at, state.time)
    yield judge_server(__version__, state.version)


def _contact(here: Here, own: Own, last: LastContact) -> Iterator[Finding]:
    yield judge_contact(last, here.now, runs=own.identity.name in here.running)
    yield judge_difference(last.at, last.server_time)
    yield judge_server(__version__, last.version)


def _shake(own: Own, target: Target) -> Handshake:
    secret = passphrase.own()
    return shake_hands(target, own.kit.paths, secret.reveal() if secret else b"")


def _expected(here: Here, own: Own, target: Target) -> Expected:
    server = identities(own.federation(here.document))[0]
    place = f"port {target.port} of `{target.host}`" + (f" behind the proxy `{target.proxy}`" if target.proxy else "")
    return Expected(server, place, own.anchors, own.trust, here.now, named(here.environment)[0])


def _server_probes(here: Here, own: Own) -> Iterator[Probe]:
    server = own.federation(here.document).server
    port = server.port if isinstance(server.port, int) else here.state.remembered_port()
    yield Probe(Topic.SERVER, "the server's port on this machine", lambda: _own_port(here, own, port), _TLS_SECONDS)
    certificate = own.kit.certificate
    if certificate is not None:
        yield Probe(Topic.SERVER, "hosts in the server's certificate", lambda: (judge_hosts(certificate, server),))
    yield Probe(Topic.SERVER, "the mailbox", lambda: _mailbox(here, own))


def _own_port(here: Here, own: Own, port: int | None) -> Iterator[Finding]:
    runs = own.identity.name in here.running
    if port is None or is_free(port):
        yield judge_own_port(port, runs=runs, free=True, holder="")
        return
    target = Target(own.federation(here.document).server.host, _LOOPBACK, port)
    shown, mine = _shake(own, target), own.kit.certificate
    if shown.certificate is not None:
        # A service manager's server is in no list of ours; it is known by its certificate.
        ours = shown.certificate == mine or not [*judge_certificate(shown.certificate, _expected(here, own, target))]
        runs = runs or ours
    yield judge_own_port(port, runs=runs, free=False, holder="" if runs else who_listens(port))
    if runs and mine is not None:
        yield from filter(None, [judge_served(shown, mine)])


def _mailbox(here: Here, own: Own) -> Iterator[Finding]:
    folder = own.workspace / mailbox.FOLDER
    yield from judge_mailbox(waiting(folder), mailbox.newest_version(folder), own.trust, here.now)


def _has_run(own: Own) -> bool:
    folder = own.workspace / FOLDER
    return any(path.exists() for path in (folder, path_of(folder), own.workspace / _NVFLARE_LOG))


def _audit(own: Own) -> Iterator[Finding]:
    certificate = own.kit.certificate
    if certificate is None:
        yield unchecked(Topic.AUDIT, "the audit log", "the participant's certificate cannot be read", "mend that first")
        return
    roots = roots_of_the_past(own.workspace)
    yield judge_report(verify_own(own.workspace / FOLDER, certificate, roots, own.identity.name))
