# SPDX-License-Identifier: Apache-2.0
"""What a handshake with the server says: which certificate, which name, which date, whose clock.

Nothing here looks at the outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID

from cloister.certificates import Anchors, Identity, pem, profile
from cloister.certificates.objections import Ground, Objection, objections
from cloister.doctor import spans
from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order
from cloister.doctor.handshake import ABOUT_CERTIFICATES, Handshake, Outcome, cleaned
from cloister.trust import Trust
from cloister.trust.judge import may_be_in_a_newer

_LEAST_VERSION = "TLSv1.3"
_SOON = timedelta(days=14)
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Expected:
    """What the server is to be.

    Attributes:
        server: its entry in the roster.
        place: where it was dialled, for people, such as ``port 8002 of `fl.example```.
        anchors: the authorities that this participant trusts.
        trust: the signed roster; None where there is none.
        now: aware time.
        proxy: the variable with which the environment names a proxy; empty where it names none.
    """

    server: Identity
    place: str
    anchors: Anchors
    trust: Trust | None
    now: datetime
    proxy: str = ""


def judge_handshake(found: Handshake, expected: Expected) -> Iterator[Finding]:
    """Everything that ``found`` says, gravest first; one finding at least."""
    if found.certificate is not None:
        wrong = tuple(judge_certificate(found.certificate, expected))
        yield from wrong
        if wrong:
            return
    yield from _judge_outcome(found, expected)


_PLAIN = {
    Outcome.HUNG_UP: (
        "D0311",
        "{place} ends the connection during the TLS handshake, without a word",
        "a firewall or proxy that inspects TLS does so; else see the server's log",
    ),
    Outcome.SILENT: (
        "D0312",
        "{place} takes the connection and then says nothing",
        "the server is overloaded or hangs, or a firewall holds the connection",
    ),
    Outcome.OTHER_SERVICE: (
        "D0313",
        "{place} speaks TLS and not gRPC: it answers {said}",
        "the port is another service's, or a proxy's; ask the server's people",
    ),
    Outcome.TOO_EARLY: (
        "D0314",
        "{place} refuses TLS before any certificate is shown: {said}",
        "something older than the server, or a proxy, answers there",
    ),
    Outcome.WE_REFUSE: (
        "D0308",
        "the certificate of {place} is refused: {said}",
        "send this sentence to the server's people",
    ),
}


def _judge_outcome(found: Handshake, expected: Expected) -> Iterator[Finding]:
    place = expected.place
    if found.outcome is Outcome.HUNG_UP and found.version:
        yield _turned_away(found, place)
    elif found.outcome in _PLAIN:
        code, message, hint = _PLAIN[found.outcome]
        yield Finding(code, message.format(place=place, said=_quoted(found.said.replace("_", " "))), hint)
    elif found.outcome is Outcome.NO_TLS:
        yield _without_tls(found, place)
    elif not found.showed_ours:
        message = f"{place} shows the right certificate; whether it accepts ours was not tried"
        yield Finding("D0315", message, "mend our own key and certificate first")
    elif found.outcome is Outcome.THEY_REFUSE:
        yield _refused(found, place)
    elif found.version != _LEAST_VERSION:
        message = f"{place} speaks {found.version} at most, and Cloister demands {_LEAST_VERSION}"
        yield Finding("D0314", message, "something older than the server, or a proxy, answers there")
    else:
        yield _established(found, expected)


def _established(found: Handshake, expected: Expected) -> Finding:
    certificate = found.certificate
    message = f"{found.version} with {expected.place}: each side accepts the other's certificate"
    if certificate is not None:
        end = certificate.not_valid_after_utc
        if end - expected.now < _SOON:
            left = spans.said(end - expected.now)
            message = f"the server's certificate ends on {spans.moment(end)}, in {left}"
            return Finding("D0309", message, "its people renew it with `cloister renew`; all connections end with it")
        message += f"; the server's ends on {spans.moment(end)}"
    return in_order(Topic.TLS, message)


def _turned_away(found: Handshake, place: str) -> Finding:
    """A server that hangs up once TLS stands on our side: gRPC's does so with a certificate that it refuses."""
    if not found.showed_ours:
        message = f"{place} shows the right certificate, and ends the connection without one of ours"
        return Finding("D0315", message, "mend our own key and certificate first")
    message = f"{place} ends the connection as soon as it has our certificate, without a reason, as gRPC refuses one"
    hint = "see what is told of our own certificate; where it is right, the server's clock, roots or roster are not"
    return Finding("D0310", message, hint)


def _refused(found: Handshake, place: str) -> Finding:
    meaning = ABOUT_CERTIFICATES.get(found.said, "the server does not say why")
    hints = {
        "UNKNOWN_CA": "compare the authority's fingerprint with the server's people: one has an old `rootCA.pem`",
        "CERTIFICATE_EXPIRED": "see our own certificate's dates; where they are right, the server's clock is wrong",
        "CERTIFICATE_REVOKED": "ask the authority's people why",
    }
    hint = hints.get(found.said, "the server's log names the reason; its people see it with `cloister doctor` there")
    return Finding("D0310", f"{place} refuses our certificate: {meaning}", hint)


def _without_tls(found: Handshake, place: str) -> Finding:
    if found.said.startswith("HTTP/"):
        hint = "a proxy or web server answers on this port; ask the server's people which port is the federation's"
        return Finding("D0206", f"{place} answers in plain HTTP ({_quoted(found.said)}), and not in TLS", hint)
    said = f": it says {_quoted(found.said)}" if found.said else ""
    hint = (
        "another service has the port; compare `server.port` in provisioning/federation.yaml with the server's people"
    )
    return Finding("D0207", f"{place} does not speak TLS{said}", hint)


def judge_certificate(certificate: x509.Certificate, expected: Expected) -> Iterator[Finding]:
    """Everything that is wrong with what the server showed, gravest first; nothing where nothing is."""
    shown = f"the certificate that {expected.place} shows ({_identified(certificate)})"
    issued = expected.trust.pins.get(expected.server.name, frozenset()) if expected.trust else None
    found = tuple(objections(certificate, expected.server, expected.anchors, expected.now, issued))
    foreign = next((each for each in found if each.ground is Ground.OTHER_AUTHORITY), None)
    if foreign is not None:
        yield _of_another_issuer(certificate, expected, f"{shown} {foreign.words}")
        return
    told: set[str] = set()
    for objection in found:
        if objection.ground is Ground.NOT_ISSUED and (told or _renewed_since(certificate, expected)):
            continue  # it follows from what has been said, or is as it should be
        finding = _told(certificate, expected, objection, shown)
        if finding.code not in told:
            told.add(finding.code)
            yield finding


def _renewed_since(certificate: x509.Certificate, expected: Expected) -> bool:
    return expected.trust is not None and may_be_in_a_newer(certificate, expected.server, expected.trust)


def _of_another_issuer(certificate: x509.Certificate, expected: Expected, words: str) -> Finding:
    if any(certificate.issuer == root.subject for root in expected.anchors.roots):
        hint = "compare the authority's fingerprint with the server's people; one of you must take up the new root"
        return Finding("D0302", words, hint)
    message = f"{words}; either a proxy ends TLS on the way, or another service answers there"
    through = f" (the environment names one: {expected.proxy})" if expected.proxy else ""
    hint = f"have the network's people pass this connection through without inspecting TLS{through}"
    return Finding("D0301", message, hint)


def _told(certificate: x509.Certificate, expected: Expected, objection: Objection, shown: str) -> Finding:
    now, clock = expected.now, f"this machine's clock says {spans.moment(expected.now)}"
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    words = f"{shown} {objection.words}"
    if objection.ground is Ground.EXPIRED:
        message = f"{shown} expired on {spans.moment(end)}, {spans.said(now - end)} ago: {clock}"
        hint = "the server runs; its people renew its certificate and restart it. If the clock is wrong, set the clock"
        return Finding("D0303", message, hint)
    if objection.ground is Ground.NOT_YET_VALID:
        message = f"{shown} begins on {spans.moment(begin)}, in {spans.said(begin - now)}: {clock}"
        hint = "one clock is wrong by that much or more: this machine's is behind, or the authority's was ahead; set it"
        return Finding("D0304", message, hint)
    if objection.ground is Ground.NOT_IN_ROSTER:
        return _of_names(certificate, expected.server, words, shown)
    if objection.ground in (Ground.REVOKED, Ground.NOT_ISSUED):
        hint = "the server's people see why with `cloister doctor`; take up the newest roster on both sides"
        return Finding("D0307", words, hint)
    return Finding("D0308", words, objection.hint or "the authority's people sign it anew, for the roster as it is")


def _of_names(certificate: x509.Certificate, server: Identity, words: str, shown: str) -> Finding:
    host, named = server.hosts[0], alternative_names(certificate)
    if host.lower() not in named:
        listed = ", ".join(f"`{name}`" for name in named[:_NAMES_SHOWN]) or "no host at all"
        listed += f" and {len(named) - _NAMES_SHOWN} more" if len(named) > _NAMES_SHOWN else ""
        hint = "write the host into `server.host` or `server.other_hosts`, and have the server's certificate renewed"
        return Finding("D0305", f"{shown} is for {listed}, and the roster dials `{host}`", hint)
    if certificate.subject != profile.subject(server):
        hint = "somebody else's key answers there; ask the server's people, and the authority's"
        return Finding("D0306", f"{shown} is not that of the server `{server.name}`", hint)
    return Finding("D0307", words, "the server's people renew its certificate: `cloister renew`")


def alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The hosts and addresses that ``certificate`` is for, in lower case."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return ()
    hosts = [cleaned(name.encode("utf-8", "replace")).lower() for name in names.get_values_for_type(x509.DNSName)]
    return (*hosts, *(str(each) for each in names.get_values_for_type(x509.IPAddress)))


def _identified(certificate: x509.Certificate) -> str:
    if pem.damage(certificate):
        return f"one without a name that can be read, {pem.fingerprint(certificate)[:16]}…"
    return f"{_name(certificate.subject)}, issued by {_name(certificate.issuer)}, {pem.fingerprint(certificate)[:16]}…"


def _name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME) or list(name)
    return _quoted(str(found[0].value)) if found else "a name that is empty"


def _quoted(text: str) -> str:
    return f"`{cleaned(text.encode('utf-8', 'replace'))}`"
