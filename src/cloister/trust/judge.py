# SPDX-License-Identifier: Apache-2.0
"""What a certificate is worth now: whose it is by the roster in force, or why it is nobody's, in words (pure).

A certificate counts where, in this order: its key is strong enough; one of the federation's authorities signed it; it
was not revoked; it is valid now; the roster has an entry of that name; it says of that entry exactly what the roster
grants; certification path validation (RFC 5280, 6.1) passes; and it is one of those that were issued for the entry, so
that a signature got out of the authority by a side door opens nothing.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from cloister.certificates import keys, pem, profile
from cloister.certificates.identity import Identity, identities
from cloister.certificates.path import path_is_valid
from cloister.errors import CertificateError, CloisterError
from cloister.trust.signed_roster import Trust

_SHOWN_CHARACTERS = 80


def judge(certificate: x509.Certificate, trust: Trust, now: datetime) -> Identity:
    """Whose ``certificate`` is.

    Args:
        certificate: as a peer showed it.
        trust: the roster in force.
        now: aware time.

    Raises:
        CertificateError: where it makes nobody of its holder; one sentence says why.
    """
    try:
        return _judge(certificate, trust, now)
    except CertificateError:
        raise
    except CloisterError as error:
        raise CertificateError(f"the certificate cannot be judged: {error.message}") from error
    except Exception as error:  # a gate: what cannot be judged, for whatever reason, is refused
        raise CertificateError("the certificate cannot be judged") from error


def judge_pem(content: bytes, trust: Trust, now: datetime) -> Identity:
    """Whose the one certificate in ``content`` is; see `judge`.

    Args:
        content: PEM of at most 64 KiB that holds one certificate: this federation has no intermediate authorities.
        trust: the roster in force.
        now: aware time.

    Raises:
        CertificateError: where it is nobody's, cannot be read, or is not one.
    """
    try:
        certificate = pem.parse_certificate(content, "certificate")
    except CloisterError as error:
        raise CertificateError(error.message) from error
    return judge(certificate, trust, now)


def _judge(certificate: x509.Certificate, trust: Trust, now: datetime) -> Identity:
    name = common_name(certificate)
    if fault := keys.weakness(certificate.public_key()):
        raise CertificateError(f"the key in the certificate of {name} {fault}")
    issuer = trust.anchors.issuer_of(certificate)
    if issuer is None:
        itself = profile.is_issued_by(certificate, certificate)
        by = "by itself" if itself else "by another authority than this federation's"
        raise CertificateError(f"the certificate of {name} was signed {by}")
    if trust.anchors.is_revoked(certificate):
        raise _revoked(name, certificate, trust)
    _check_dates(name, certificate, now)
    identity = _entry(name, certificate, trust)
    if not path_is_valid(certificate, issuer, identity, now):
        raise CertificateError(f"the certificate of {name} does not pass path validation (RFC 5280, 6.1)")
    if pem.fingerprint(certificate) not in trust.pins.get(identity.name, frozenset()):
        serial = f"{certificate.serial_number:x}"
        message = f"the certificate of {name} has the serial number {serial}, which was not issued for that entry"
        raise CertificateError(message, hint=f"version {trust.version} of the roster lists what was")
    return identity


def _revoked(name: str, certificate: x509.Certificate, trust: Trust) -> CertificateError:
    found = trust.revocation_of(certificate)
    why = f" on {found.revoked_at:%Y-%m-%d %H:%M} UTC: {found.reason}" if found else ""
    return CertificateError(f"the certificate of {name} was revoked{why}")


def _check_dates(name: str, certificate: x509.Certificate, now: datetime) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    shown = f"{now:%Y-%m-%d %H:%M} UTC"
    if now < begin:
        message = f"the certificate of {name} is not valid before {begin:%Y-%m-%d %H:%M} UTC, and it is {shown}"
        raise CertificateError(message, hint="one of the two clocks is wrong")
    if now > end:
        message = f"the certificate of {name} expired on {end:%Y-%m-%d %H:%M} UTC, and it is {shown}"
        raise CertificateError(message, hint="its holder renews it: cloister renew")


def _entry(name: str, certificate: x509.Certificate, trust: Trust) -> Identity:
    """The roster's entry that the certificate is of."""
    named = [each for each in identities(trust.federation) if name == f"`{each.name}`"]
    if not named:
        hint = f"version {trust.version} of the roster says who takes part"
        raise CertificateError(f"the certificate is of {name}, which is not in the roster", hint=hint)
    if different := profile.departures(certificate, named[0]):
        parts = "`, `".join(different)
        raise CertificateError(f"the certificate of {name} says something else than the roster in `{parts}`")
    return named[0]


def common_name(certificate: x509.Certificate) -> str:
    """The common name in ``certificate`` as words that a terminal can show; a stranger may have chosen it."""
    found = [str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if len(found) != 1:
        return f"somebody with {len(found)} common names"
    text = found[0] if found[0].isprintable() else ascii(found[0])[1:-1]
    return f"`{text[:_SHOWN_CHARACTERS]}`"
