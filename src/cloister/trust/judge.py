# SPDX-License-Identifier: Apache-2.0
"""What a certificate is worth now: whose it is by the roster in force, or why it is nobody's, in words (pure).

`cloister.certificates.objections` says what counts, and in which order.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from cloister.certificates import pem, profile
from cloister.certificates.identity import Identity, identity_of
from cloister.certificates.objections import Ground, Objection, objections
from cloister.certificates.shown import shown
from cloister.errors import CertificateError, CloisterError
from cloister.trust.signed_roster import Trust


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
    except Exception as error:  # a gate, as in `judge`
        raise CertificateError("the certificate cannot be judged") from error
    return judge(certificate, trust, now)


def _judge(certificate: x509.Certificate, trust: Trust, now: datetime) -> Identity:
    if fault := pem.damage(certificate):
        raise CertificateError(f"the certificate {fault}")
    names = _common_names(certificate)
    identity = identity_of(trust.federation, names[0]) if len(names) == 1 else None
    issued = trust.pins.get(identity.name, frozenset()) if identity else frozenset()
    for objection in objections(certificate, identity, trust.anchors, now, issued):
        if objection.ground is Ground.NOT_ISSUED and may_be_in_a_newer(certificate, identity, trust):
            continue
        raise _refusal(objection, certificate, trust)
    if identity is None:  # the objections say so already
        raise CertificateError("the certificate is nobody's")
    return identity


def may_be_in_a_newer(certificate: x509.Certificate, identity: Identity | None, trust: Trust) -> bool:
    """Whether this is a certificate of the server's that was issued after the roster, which therefore cannot list it.

    Whoever was away while the server renewed would otherwise refuse the one machine that has the newer roster. Once
    they have that one, it says.
    """
    signed = certificate.not_valid_before_utc + profile.CLOCK_SKEW
    return identity is not None and identity.kind == "server" and signed > trust.issued_at


def _refusal(objection: Objection, certificate: x509.Certificate, trust: Trust) -> CertificateError:
    words, hint = objection.words, objection.hint
    if objection.ground is Ground.REVOKED and (found := trust.revocation_of(certificate)):
        words += f" on {found.revoked_at:%Y-%m-%d %H:%M} UTC: {found.reason}"
    if objection.ground in (Ground.NOT_IN_ROSTER, Ground.NOT_ISSUED):
        hint = f"see version {trust.version} of the roster"
    return CertificateError(f"the certificate of {common_name(certificate)} {words}", hint=hint)


def common_name(certificate: x509.Certificate) -> str:
    """The common name in ``certificate`` as words that a terminal can show; a stranger may have chosen it."""
    found = _common_names(certificate)
    if len(found) != 1:
        return f"somebody with {len(found) or 'no'} common names"
    return f"`{shown(found[0])}`"


def _common_names(certificate: x509.Certificate) -> list[str]:
    return [str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
