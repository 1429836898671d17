# SPDX-License-Identifier: Apache-2.0
"""The authority answers requests: first ones with a kit, renewals with a certificate.

In either case the certificate is recorded, then a roster that lists it is published, and only then is the certificate
handed out: nobody ever holds one that is not in a roster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cloister.certificates import Identity, identities, lifetime, pem, profile
from cloister.certificates.request import parse_request, requested_name
from cloister.errors import CloisterError, ProvisioningError, RefusedRequestError
from cloister.provisioning.approval import check_approved
from cloister.provisioning.authority import Authority
from cloister.provisioning.kit_archive import CERTIFICATE, ROSTER_IN_KIT, make_archive
from cloister.provisioning.publication import publish, publish_if_needed
from cloister.provisioning.renewal import Renewal, is_due, read_renewal
from cloister.provisioning.revoking import live_certificates
from cloister.roster import Federation
from cloister.trust import Trust, read_roster

MOST_LIVING = 12
"""How many certificates of a name may not have ended for a renewal to be signed; two or three are usual."""


@dataclass(frozen=True)
class Granted:
    """A first certificate and what goes with it.

    Attributes:
        identity: whose it is.
        certificate_pem: the certificate.
        roster: the signed roster that lists it.
        kit: the archive with which its holder joins.
        approvers: who approved the request; empty where the document names nobody.
    """

    identity: Identity
    certificate_pem: bytes
    roster: bytes
    kit: bytes
    approvers: tuple[str, ...]


def entry_of(federation: Federation, csr_pem: bytes) -> Identity:
    """The roster's entry whose certificate a request asks for.

    Raises:
        ProvisioningError: where there is none, or it is no request.
    """
    name = requested_name(csr_pem)
    identity = next((each for each in identities(federation) if each.name == name), None)
    if identity is None:
        hint = "whoever may join must first be written into provisioning/federation.yaml"
        raise ProvisioningError("the request names somebody who is not in the roster", hint=hint)
    return identity


def grant(
    authority: Authority,
    federation: Federation,
    csr_pem: bytes,
    approvals: Iterable[bytes],
    now: datetime,
    *,
    documents: Mapping[str, bytes] | None = None,
) -> Granted:
    """Sign a first request, publish the roster and make the kit.

    Args:
        authority: with its keys.
        federation: the document.
        csr_pem: the request.
        approvals: what approvers have signed.
        now: aware time.
        documents: what the kit is to bring, of `cloister.provisioning.kit_archive.DOCUMENTS`.

    Raises:
        CloisterError: where the request is refused, or not approved.
    """
    authority.check_serves(federation)
    identity = entry_of(federation, csr_pem)
    approvers = check_approved(csr_pem, approvals, trust_of(authority, federation, now), now)
    certificate = authority.sign(csr_pem, identity, lifetime(federation, identity), now)
    roster = publish(authority, federation, now)
    files = {**(documents or {}), CERTIFICATE: certificate, ROSTER_IN_KIT: roster}
    kit = make_archive(authority, identity, files, federation.federation, now)
    return Granted(identity, certificate, roster, kit, approvers)


def grant_renewals(
    authority: Authority, federation: Federation, requests: Mapping[str, bytes], now: datetime
) -> tuple[dict[str, bytes], dict[str, CloisterError]]:
    """Sign those of the requests for renewal that count; the caller publishes and distributes.

    Args:
        authority: with its keys.
        federation: the document.
        requests: by the name under which they were left.
        now: aware time.

    Returns:
        Certificates in PEM form by name, and why the others were refused.

    Raises:
        ProvisioningError: where the authority cannot sign at all, such as without its key: no request is refused then.
    """
    authority.key_of(authority.certificate)
    trust = trust_of(authority, federation, now)
    granted: dict[str, bytes] = {}
    refused: dict[str, CloisterError] = {}
    for name, content in requests.items():
        try:
            renewal = read_renewal(content, trust, now)
            if renewal.identity.name != name:
                raise ProvisioningError(f"the request of `{renewal.identity.name}` was left as that of `{name}`")
        except CloisterError as error:
            refused[name] = error
            continue
        try:
            granted[name] = _renewed(authority, federation, renewal, now)
        except RefusedRequestError as error:
            refused[name] = error
    return granted, refused


def _renewed(authority: Authority, federation: Federation, renewal: Renewal, now: datetime) -> bytes:
    """The certificate that answers ``renewal``: a request that was answered already gets the same answer again.

    Each certificate stands in the roster until it ends, and a roster that is too large could not be published any more,
    not even to revoke somebody.
    """
    key = parse_request(renewal.csr_pem).public_key()
    living = live_certificates(authority, renewal.identity.name, now)
    for each in reversed(living):
        signed_at = each.not_valid_before_utc + profile.CLOCK_SKEW
        answers = each.public_key() == key and signed_at > renewal.requested_at and not is_due(each, now)
        by_it = profile.is_issued_by(each, authority.certificate)
        if answers and by_it and not profile.departures(each, renewal.identity):
            return pem.certificate_pem(each)
    if len(living) >= MOST_LIVING:
        hint = f"take back what is not used: cloister authority revoke {renewal.identity.name} --keep-newest --reason …"
        message = f"`{renewal.identity.name}` has {len(living)} certificates that have not ended, and gets no more"
        raise RefusedRequestError(message, hint=hint)
    lasting = lifetime(federation, renewal.identity)
    return authority.sign(renewal.csr_pem, renewal.identity, lasting, now, asked_with=renewal.asked_with)


def trust_of(authority: Authority, federation: Federation, now: datetime) -> Trust:
    """The roster as the authority states it, published anew where it no longer says what is true."""
    return read_roster(publish_if_needed(authority, federation, now), authority.roots)
