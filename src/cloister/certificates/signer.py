# SPDX-License-Identifier: Apache-2.0
"""Whose signature it is: the roster's entry that a statement's certificate belongs to."""

from __future__ import annotations

from datetime import datetime

from cloister.certificates import keys, pem, profile
from cloister.certificates.anchors import Anchors
from cloister.certificates.identity import Identity, identities
from cloister.certificates.objections import objections
from cloister.envelope import Envelope
from cloister.errors import SignatureError
from cloister.roster import Federation


def signer_of(envelope: Envelope, federation: Federation, anchors: Anchors, now: datetime) -> Identity:
    """The roster's entry whose certificate signed ``envelope``.

    Args:
        envelope: a statement whose signature fits its certificate.
        federation: the roster, as it is now.
        anchors: the authorities whose word counts here.
        now: aware time at which the certificate must be valid.

    Raises:
        SignatureError: where the authority did not issue the certificate or has revoked it, it is not valid now, or the
            roster has no such entry (another organisation or role is another entry).
    """
    certificate = envelope.certificate
    if fault := pem.damage(certificate):
        raise SignatureError(f"the signature is by a certificate that {fault}")
    if keys.weakness(certificate.public_key()):
        raise SignatureError("the signature was made with a key that is too weak")
    if anchors.issuer_of(certificate) is None:
        raise SignatureError("the signature is by somebody whom this federation's authority did not certify")
    if anchors.is_revoked(certificate):
        raise SignatureError("the signature is by a certificate that the authority has revoked")
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= now <= end:
        when = f"valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
        hint = "check this machine's clock, or sign again with a renewed certificate"
        raise SignatureError(f"the signature is by a certificate that is not valid now ({when})", hint=hint)
    for identity in identities(federation):
        if certificate.subject == profile.subject(identity) and not profile.departures(certificate, identity):
            if (objection := next(objections(certificate, identity, anchors, now), None)) is not None:
                raise SignatureError(f"the signature is by a certificate that {objection.words}", hint=objection.hint)
            return identity
    raise SignatureError("the signature is by somebody who is not in the roster with that organisation and role")
