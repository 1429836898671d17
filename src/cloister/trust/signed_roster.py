# SPDX-License-Identifier: Apache-2.0
"""The signed roster: who takes part, with which certificates, under which authorities, as the authority states it.

It is an envelope (`cloister.envelope`) signed with the authority's own key, whose statement has a version that only
rises, the document provisioning/federation.yaml as a value, the authorities that are trusted, one revocation list of
each (RFC 5280, 5), the fingerprint of every certificate that was issued for an entry, and why some were revoked. Like
the metadata of The Update Framework (https://theupdateframework.github.io/specification/v1.0.33/, 5.3) it also says
until when it counts as fresh, so that whoever withholds a newer one is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from cloister.certificates import keys, pem, profile
from cloister.certificates.anchors import MAXIMUM_ROOTS, Anchors
from cloister.certificates.crl import revoked_serials
from cloister.envelope import Signer, seal, unseal
from cloister.errors import CloisterError, SignatureError
from cloister.files import canonical_json
from cloister.roster import Federation

KIND = "application/vnd.cloister.roster+json"
_KEYS = {"crls", "document", "federation", "issued_at", "next_update", "pins", "revocations", "roots", "version"}
_REVOCATION_KEYS = {"fingerprint", "name", "reason", "revoked_at"}
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Revocation:
    """A certificate that was taken back.

    Attributes:
        name: whose it was.
        fingerprint: SHA-256 of the certificate, 64 lower-case hexadecimal digits.
        reason: why, in one line.
        revoked_at: aware time, to the second.
    """

    name: str
    fingerprint: str
    reason: str
    revoked_at: datetime


@dataclass(frozen=True)
class Trust:
    """A roster whose signature counts.

    Attributes:
        federation: the document, as the authority signed it.
        version: rises with every roster.
        issued_at: aware time of signing, to the second.
        next_update: aware time after which it is stale.
        anchors: the authorities that are trusted, and what they have revoked.
        crls: revocation list of each of them, PEM, in the order of ``anchors.roots``.
        pins: SHA-256 fingerprints of the certificates issued for each entry, by the entry's name.
        revocations: what was revoked of those that have not ended, and why.
    """

    federation: Federation
    version: int
    issued_at: datetime
    next_update: datetime
    anchors: Anchors
    crls: tuple[bytes, ...]
    pins: Mapping[str, frozenset[str]]
    revocations: tuple[Revocation, ...] = ()

    def is_stale(self, now: datetime) -> bool:
        """Whether a newer one should have come by ``now``."""
        return now > self.next_update

    def revocation_of(self, certificate: x509.Certificate) -> Revocation | None:
        """What the roster says of why ``certificate`` was revoked, if it says anything."""
        fingerprint = pem.fingerprint(certificate)
        return next((each for each in self.revocations if each.fingerprint == fingerprint), None)


def sign_roster(trust: Trust, signer: Signer, root: x509.Certificate) -> bytes:
    """``trust`` as the envelope that states it.

    Args:
        trust: what is stated; of ``anchors`` the roots alone, since the lists say what is revoked.
        signer: the authority's key.
        root: its certificate, one of ``trust.anchors.roots``.
    """
    statement = {
        "federation": trust.federation.federation,
        "document": trust.federation.model_dump(mode="json"),
        "version": trust.version,
        "issued_at": trust.issued_at.astimezone(UTC).strftime(_TIME),
        "next_update": trust.next_update.astimezone(UTC).strftime(_TIME),
        "roots": [pem.certificate_pem(each).decode() for each in trust.anchors.roots],
        "crls": [each.decode() for each in trust.crls],
        "pins": {name: sorted(pins) for name, pins in trust.pins.items()},
        "revocations": [
            {
                "name": each.name,
                "fingerprint": each.fingerprint,
                "reason": each.reason,
                "revoked_at": each.revoked_at.astimezone(UTC).strftime(_TIME),
            }
            for each in trust.revocations
        ],
    }
    return seal(KIND, canonical_json(statement), signer, root)


def read_roster(content: bytes, trusted: tuple[x509.Certificate, ...]) -> Trust:
    """The roster in an envelope, if one of ``trusted`` signed it.

    Args:
        content: the envelope.
        trusted: the authorities that count up to now.

    Raises:
        SignatureError: where none of them did, or it does not say what a roster says.
    """
    envelope = unseal(KIND, content)
    signer = envelope.certificate
    if signer not in trusted:
        raise SignatureError("the roster is signed by an authority that is not trusted here")
    if not profile.is_root(signer) or keys.weakness(signer.public_key()):
        raise SignatureError("the roster is signed with a certificate that is no authority's")
    stated = envelope.value()
    try:
        trust = _trust(stated)
    except CloisterError as error:
        raise SignatureError(f"the roster does not say what a roster says: {error.message}") from error
    except Exception as error:  # a gate: what cannot be read as a roster is none
        raise SignatureError("the roster does not say what a roster says") from error
    _check(trust, signer)
    return trust


def _trust(stated: dict[str, Any]) -> Trust:
    if stated.keys() != _KEYS:
        raise SignatureError("it has other parts")
    roots = tuple(pem.parse_certificate(each.encode(), "authority's certificate") for each in stated["roots"])
    crls = tuple(each.encode() for each in stated["crls"])
    if len(crls) != len(roots):
        raise SignatureError("it has not one revocation list for each authority")
    revoked = frozenset(
        (pem.fingerprint(root), serial)
        for root, crl in zip(roots, crls, strict=True)
        for serial in revoked_serials(crl, root)
    )
    version = stated["version"]
    federation = Federation.model_validate_json(json.dumps(stated["document"]))
    if type(version) is not int or version < 1 or stated["federation"] != federation.federation:
        raise SignatureError("its version or its name is wrong")
    return Trust(
        federation,
        version,
        _moment(stated["issued_at"]),
        _moment(stated["next_update"]),
        Anchors(roots, revoked),
        crls,
        {str(name): frozenset(map(str, pins)) for name, pins in stated["pins"].items()},
        tuple(_revocation(each) for each in stated["revocations"]),
    )


def _revocation(stated: dict[str, Any]) -> Revocation:
    if stated.keys() != _REVOCATION_KEYS:
        raise SignatureError("a revocation has other parts")
    name, fingerprint, reason = (str(stated[key]) for key in ("name", "fingerprint", "reason"))
    return Revocation(name, fingerprint, reason, _moment(stated["revoked_at"]))


def _moment(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)


def _check(trust: Trust, signer: x509.Certificate) -> None:
    roots = trust.anchors.roots
    if not 1 <= len(roots) <= MAXIMUM_ROOTS or signer not in roots:
        raise SignatureError(f"the roster names {len(roots)} authorities, or not the one that signed it")
    subject = profile.authority_subject(trust.federation.federation)
    for root in roots:
        if not profile.is_root(root) or keys.weakness(root.public_key()) or root.subject != subject:
            raise SignatureError("the roster names an authority that is not this federation's")
    if trust.next_update <= trust.issued_at:
        raise SignatureError("the roster is stale before it is issued")
