# SPDX-License-Identifier: Apache-2.0
"""Certificate revocation lists, version 2 (RFC 5280, 5): one for each authority, complete, signed with its own key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import keys, pem
from cloister.certificates.keys import PrivateKey
from cloister.errors import ProvisioningError

MAXIMUM_BYTES = 512 * 1024


@dataclass(frozen=True)
class RevokedCertificate:
    """One line of a list.

    Attributes:
        serial: of the certificate.
        revoked_at: aware time, to the second.
        superseded: whether its holder has another one now; otherwise no reason is given in the list, because RFC 5280's
            ten reasons say less than the words in the roster.
    """

    serial: int
    revoked_at: datetime
    superseded: bool = False


def make_crl(
    issuer: x509.Certificate,
    key: PrivateKey,
    number: int,
    revoked: Iterable[RevokedCertificate],
    dates: tuple[datetime, datetime],
) -> bytes:
    """The list of ``issuer`` in PEM form.

    Args:
        issuer: the authority's certificate.
        key: its key.
        number: CRL number (5.2.3), which rises with every list.
        revoked: what has been revoked of this authority's.
        dates: thisUpdate and nextUpdate (5.1.2.4, 5.1.2.5), aware.
    """
    issuer_key = issuer.public_key()
    if not isinstance(issuer_key, rsa.RSAPublicKey):
        raise ProvisioningError("the authority's key is not an RSA key")
    begin, end = (moment.replace(microsecond=0) for moment in dates)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(begin).next_update(end)
    # Never critical (RFC 5280, 5.2.1 and 5.2.3).
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for entry in sorted(revoked, key=lambda each: each.serial):
        line = x509.RevokedCertificateBuilder().serial_number(entry.serial)
        line = line.revocation_date(entry.revoked_at.replace(microsecond=0))
        if entry.superseded:
            line = line.add_extension(x509.CRLReason(x509.ReasonFlags.superseded), critical=False)
        builder = builder.add_revoked_certificate(line.build())
    return key.sign_crl(builder).public_bytes(serialization.Encoding.PEM)


def revoked_serials(content: bytes, issuer: x509.Certificate) -> frozenset[int]:
    """The serial numbers in the list of ``issuer``.

    Args:
        content: the list in PEM form.
        issuer: the authority whose list it must be.

    Raises:
        ProvisioningError: where it is not one, its signature does not fit, or it says what this reader does not know.
    """
    shown = pem.fingerprint(issuer)[:16]
    if len(content) > MAXIMUM_BYTES:
        raise ProvisioningError(f"the revocation list of the authority `{shown}…` is too large")
    try:
        found = x509.load_pem_x509_crl(content)
        issuer_key = issuer.public_key()
        signed = isinstance(issuer_key, rsa.RSAPublicKey) and found.is_signature_valid(issuer_key)
        strong = isinstance(found.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512)
        # A critical extension that is not known, such as a scope, would change what the list means (RFC 5280, 5.2).
        plain = not any(each.critical for each in found.extensions)
        serials = frozenset(entry.serial_number for entry in found)
        plain = plain and not any(each.critical for entry in found for each in entry.extensions)
    except Exception as error:
        raise ProvisioningError(f"the revocation list of the authority `{shown}…` cannot be read") from error
    if not signed or not strong or keys.weakness(issuer_key) or found.issuer != issuer.subject:
        raise ProvisioningError(f"the revocation list is not signed by the authority `{shown}…`")
    if not plain:
        raise ProvisioningError(f"the revocation list of the authority `{shown}…` has a critical extension")
    return serials
