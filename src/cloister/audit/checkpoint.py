# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: a participant signs how long its log is and what its last entry's hash is.

The chain alone finds an edit by somebody who does not recompute it. Whoever does recompute it would also have to sign
anew every checkpoint that comes after, and that takes the participant's private key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509

from cloister.audit.event import Entry, Fact, time_text
from cloister.envelope import Signer, seal, unseal
from cloister.errors import AuditError, SignatureError
from cloister.files import canonical_json

KIND = "application/vnd.cloister.audit-checkpoint+json"


@dataclass(frozen=True)
class Notary:
    """Who signs a log's checkpoints: a participant's key and the certificate that belongs to it."""

    signer: Signer
    certificate: x509.Certificate


def facts_of_checkpoint(notary: Notary, participant: str, covers: int, head: str, time: datetime) -> dict[str, Fact]:
    """Facts of the checkpoint that follows the entry number ``covers`` with the hash ``head``."""
    payload = canonical_json(_payload(participant, covers, head, time))
    envelope = seal(KIND, payload, notary.signer, notary.certificate)
    return {"covers": covers, "head": head, "envelope": envelope.decode()}


def check_checkpoint(entry: Entry, certificate: x509.Certificate, roots: Sequence[x509.Certificate] = ()) -> None:
    """See that a checkpoint says of its own place what its participant signed.

    Args:
        entry: an entry of kind checkpoint.
        certificate: the participant's. A renewed one has the same key.
        roots: a checkpoint by another key of the same name counts if one of these authorities certified it.

    Raises:
        AuditError: where it does not.
    """
    event, facts = entry.event, dict(entry.event.facts)
    if (facts.get("covers"), facts.get("head")) != (event.sequence - 1, entry.previous):
        raise AuditError("the checkpoint speaks of another place in the log")
    try:
        opened = unseal(KIND, str(facts.get("envelope")).encode())
        said = opened.value()
    except SignatureError as error:
        raise AuditError(f"the checkpoint is not signed: {error.message}") from error
    if said != _payload(event.participant, event.sequence - 1, entry.previous, event.time):
        raise AuditError("what the checkpoint's signature covers is not what the checkpoint says")
    if not _is_by(opened.certificate, certificate, roots):
        raise AuditError("the checkpoint is signed with another key than the certificate's")
    if not opened.certificate.not_valid_before_utc <= event.time <= opened.certificate.not_valid_after_utc:
        raise AuditError("the checkpoint is signed with a certificate that was not valid then")


def _payload(participant: str, covers: int, head: str, time: datetime) -> Mapping[str, Any]:
    return {"participant": participant, "sequence": covers, "head": head, "time": time_text(time)}


def _is_by(signed_by: x509.Certificate, expected: x509.Certificate, roots: Sequence[x509.Certificate]) -> bool:
    if signed_by.subject != expected.subject:
        return False
    if signed_by.public_key() == expected.public_key():
        return True
    return any(_is_certified_by(signed_by, root) for root in roots)


def _is_certified_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except Exception:  # noqa: BLE001 - a gate: a signature that cannot be verified, for whatever reason, is none
        return False
    return True
