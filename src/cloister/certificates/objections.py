# SPDX-License-Identifier: Apache-2.0
"""Everything that speaks against a certificate, in words, gravest first (pure).

This is the one place where a certificate is judged: at a server and at a site for the other end of a connection, where
one is accepted into a kit, before a process starts, and where somebody looks for what is wrong. In this order: whether
its key and signature are strong enough; one of the federation's authorities signed it, and counts now; it was not
revoked; it is valid now; the roster has an entry of that name; it says of that entry exactly what the roster grants;
certification path validation (RFC 5280, 6.1) passes; and it is one of those that were issued for the entry, so that a
signature got out of the authority by a side door opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from cryptography import x509
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from cloister.certificates import keys, pem, profile
from cloister.certificates.anchors import Anchors
from cloister.certificates.differences import difference
from cloister.certificates.identity import Identity
from cloister.certificates.path import path_fault
from cloister.certificates.shown import shown

_STRONG = {
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
}
_ALGORITHMS = {
    SignatureAlgorithmOID.RSA_WITH_MD5: "MD5",
    SignatureAlgorithmOID.RSA_WITH_SHA1: "SHA-1",
    SignatureAlgorithmOID.RSA_WITH_SHA224: "SHA-224",
    SignatureAlgorithmOID.RSASSA_PSS: "RSASSA-PSS",
}
_MOST_SERIAL_BITS = 160  # 20 octets (RFC 5280, 4.1.2.2)
_TIME = "%Y-%m-%d %H:%M:%S UTC"


class Ground(Enum):
    """What kind of thing speaks against a certificate."""

    OTHER_AUTHORITY = auto()
    NO_AUTHORITY = auto()
    REVOKED = auto()
    NOT_YET_VALID = auto()
    EXPIRED = auto()
    NOT_IN_ROSTER = auto()
    REFUSED = auto()
    NOT_ISSUED = auto()


@dataclass(frozen=True)
class Objection:
    """One thing that speaks against a certificate.

    Attributes:
        ground: which kind of thing.
        words: the end of a sentence that begins with the certificate.
        hint: how to mend it; empty where the one who asks knows better.
    """

    ground: Ground
    words: str
    hint: str = ""


def objections(
    certificate: x509.Certificate,
    identity: Identity | None,
    anchors: Anchors,
    now: datetime,
    issued: Set[str] | None = None,
) -> Iterator[Objection]:
    """What speaks against ``certificate``, gravest first; nothing where it is right.

    Args:
        certificate: as somebody showed it.
        identity: the roster's entry that it must be of; None where the roster has no such entry.
        anchors: the authorities that are trusted, and what they have revoked.
        now: aware time.
        issued: fingerprints of the certificates that were issued for the entry; None where they are not known.
    """
    if fault := pem.damage(certificate):
        yield Objection(Ground.REFUSED, fault)
        return
    issuer = anchors.issuer_of(certificate)
    yield from _of_key_and_signature(certificate, issuer, anchors)
    if issuer is not None and anchors.has_revoked(certificate, issuer):
        yield Objection(Ground.REVOKED, "was revoked", "ask the authority's people why; a new one needs a new request")
    timely = tuple(_of_dates(certificate, issuer, now))
    yield from timely
    if identity is None:
        yield Objection(Ground.NOT_IN_ROSTER, "names somebody who is not in the roster")
        return
    if different := profile.departures(certificate, identity):
        detail = difference(certificate, identity)
        parts = "`, `".join(different[:6])
        words = f"differs from the roster's entry `{identity.name}` in `{parts}`" + (f": {detail}" if detail else "")
        yield Objection(Ground.NOT_IN_ROSTER, words)
    elif issuer is not None:
        fault = _of_form(certificate, issuer)
        if not fault and not timely:
            fault = path_fault(certificate, issuer, identity, now)
        if fault:
            yield Objection(Ground.REFUSED, fault)
    if issued is not None and pem.fingerprint(certificate) not in issued:
        words = (
            f"has the serial number {shown(f'{certificate.serial_number:x}', 44)}, which was not issued for that entry"
        )
        yield Objection(Ground.NOT_ISSUED, words)


def _of_key_and_signature(
    certificate: x509.Certificate, issuer: x509.Certificate | None, anchors: Anchors
) -> Iterator[Objection]:
    if fault := keys.weakness(certificate.public_key()):
        yield Objection(Ground.REFUSED, f"carries a key that {fault}")
    ours = any(certificate.issuer == root.subject for root in anchors.roots)
    algorithm = certificate.signature_algorithm_oid
    if ours and algorithm not in _STRONG:
        named = _ALGORITHMS.get(algorithm, algorithm.dotted_string)
        # Some of them are not even verified.
        ground = Ground.REFUSED if issuer is not None else Ground.OTHER_AUTHORITY
        yield Objection(ground, f"is signed with {named}, and RSA with SHA-256 is the least")
    elif issuer is None:
        yield Objection(Ground.OTHER_AUTHORITY, _of_a_foreign_issuer(certificate, anchors, ours=ours))


def _of_a_foreign_issuer(certificate: x509.Certificate, anchors: Anchors, *, ours: bool) -> str:
    if certificate.issuer == certificate.subject and profile.is_issued_by(certificate, certificate):
        return "was signed by itself"
    if not ours:
        names = [str(each.value) for each in certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)]
        by = f": `{shown(names[0], 60)}`" if names else ""
        return f"was signed by another authority than this federation's{by}"
    said = next((each for each in certificate.extensions if isinstance(each.value, x509.AuthorityKeyIdentifier)), None)
    if any(said is not None and said.value == profile.issuer_identifier(root) for root in anchors.roots):
        return "names this federation's authority, whose key did not sign it: it is forged, or was changed since"
    return "was signed by another authority of this federation's name: an earlier one, or a stranger's"


def _of_dates(certificate: x509.Certificate, issuer: x509.Certificate | None, now: datetime) -> Iterator[Objection]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    it_is = f"and it is {now:{_TIME}}"
    if begin > end:
        yield Objection(Ground.REFUSED, f"ends before it begins, on {end:{_TIME}}")
    elif now < begin:
        words = f"is not valid before {begin:{_TIME}}, {it_is}"
        yield Objection(Ground.NOT_YET_VALID, words, "one of the two clocks is wrong")
    # Valid through the last second named (RFC 5280, 4.1.2.5).
    elif now > end:
        yield Objection(Ground.EXPIRED, f"expired on {end:{_TIME}}, {it_is}", "its holder renews it: cloister renew")
    if issuer is not None and now < issuer.not_valid_before_utc:
        since = f"{issuer.not_valid_before_utc:{_TIME}}"
        yield Objection(Ground.NO_AUTHORITY, f"was signed by an authority that is not valid before {since}, {it_is}")
    if issuer is not None and now > issuer.not_valid_after_utc:
        until = f"{issuer.not_valid_after_utc:{_TIME}}"
        yield Objection(Ground.NO_AUTHORITY, f"was signed by an authority that expired on {until}, {it_is}")


def _of_form(certificate: x509.Certificate, issuer: x509.Certificate) -> str:
    """What is wrong with the parts that the roster does not decide."""
    serial = certificate.serial_number
    if serial <= 0:
        return f"has a serial number that is {'zero' if serial == 0 else 'negative'}"
    if serial.bit_length() > _MOST_SERIAL_BITS:
        return "has a serial number of more than 20 octets"
    begins_before = certificate.not_valid_before_utc < issuer.not_valid_before_utc
    if begins_before or certificate.not_valid_after_utc > issuer.not_valid_after_utc:
        return "lasts longer than the authority that signed it"
    said = {each.oid: (each.value, each.critical) for each in certificate.extensions}
    for value in (profile.key_identifier(certificate), profile.issuer_identifier(issuer)):
        if said.get(value.oid) != (value, False):
            whose = "its key" if isinstance(value, x509.SubjectKeyIdentifier) else "the authority's key"
            return f"has a {profile.word(value.oid)} that is not that of {whose}"
    return ""
