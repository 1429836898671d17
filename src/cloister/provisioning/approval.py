# SPDX-License-Identifier: Apache-2.0
"""What the authority demands before it signs a first request: that people of the roster have approved it.

Where the document names `authority.approvers`, as many of them as `authority.approvals` says put their own signature to
the request, each after having compared the fingerprint of its key with whoever made it. The approvers' own first
certificates are excepted until as many of them have one, since nobody could begin otherwise. A renewal needs no
approval: it is signed with the key that the last certificate vouches for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cloister.certificates import signer_of
from cloister.certificates.request import parse_request, requested_name
from cloister.envelope import Signer, seal, unseal
from cloister.errors import CloisterError, DeniedError, SignatureError
from cloister.files import canonical_json, sha256_of
from cloister.trust import Trust

KIND = "application/vnd.cloister.approval+json"
_KEYS = {"approved_at", "key_sha256", "name"}


def key_fingerprint(csr_pem: bytes) -> str:
    """SHA-256 of the public key in a request, 64 lower-case hexadecimal digits: what is read over the telephone.

    Raises:
        ProvisioningError: where it is no request.
    """
    key = parse_request(csr_pem).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return sha256_of(key.public_bytes(serialization.Encoding.DER, form))


def approve(csr_pem: bytes, signer: Signer, certificate: x509.Certificate, now: datetime) -> bytes:
    """An approver's word for a request, as the file that states it.

    Args:
        csr_pem: the request.
        signer: the approver's key.
        certificate: the approver's certificate.
        now: aware time.
    """
    statement = {
        "name": requested_name(csr_pem),
        "key_sha256": key_fingerprint(csr_pem),
        "approved_at": int(now.astimezone(UTC).timestamp()),
    }
    return seal(KIND, canonical_json(statement), signer, certificate)


def approver_of(content: bytes, csr_pem: bytes, trust: Trust, now: datetime) -> str:
    """Who approved the request, if their approval counts.

    Args:
        content: an approval.
        csr_pem: the request that it must be for.
        trust: the roster in force at the authority.
        now: aware time.

    Raises:
        SignatureError: where it is another request's, or not by an approver.
    """
    envelope = unseal(KIND, content)
    stated = envelope.value()
    if stated.keys() != _KEYS:
        raise SignatureError("the approval does not say what an approval says")
    if (stated["name"], stated["key_sha256"]) != (requested_name(csr_pem), key_fingerprint(csr_pem)):
        raise SignatureError("the approval is for another request")
    signer = signer_of(envelope, trust.federation, trust.anchors, now)
    if signer.kind != "person" or signer.name not in trust.federation.authority.approvers:
        raise SignatureError(f"`{signer.name}` approved the request and is not among the approvers")
    return signer.name


def check_approved(csr_pem: bytes, approvals: Iterable[bytes], trust: Trust, now: datetime) -> tuple[str, ...]:
    """See that enough approvers have approved a first request; returns who, sorted.

    Args:
        csr_pem: the request.
        approvals: what lies beside it.
        trust: the roster in force at the authority.
        now: aware time.

    Raises:
        DeniedError: where they have not; names those who may.
    """
    rules = trust.federation.authority
    if not rules.approvers:
        return ()
    name = requested_name(csr_pem)
    certified = [each for each in rules.approvers if trust.pins.get(each)]
    if name in rules.approvers and len(certified) < rules.approvals:
        return ()
    who: set[str] = set()
    refused = ""
    for content in approvals:
        try:
            who.add(approver_of(content, csr_pem, trust, now))
        except CloisterError as error:
            refused = refused or f"; one does not count: {error.message}"
    who.discard(name)  # nobody vouches for themselves
    if len(who) < rules.approvals:
        hint = f"{' or '.join(each for each in rules.approvers[:5] if each not in who)}: cloister authority endorse"
        message = f"the request of `{name}` has {len(who)} of {rules.approvals} approvals{refused}"
        raise DeniedError(message, hint=hint)
    return tuple(sorted(who))
