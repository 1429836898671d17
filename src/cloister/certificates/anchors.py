# SPDX-License-Identifier: Apache-2.0
"""Trust anchors (RFC 5280, 6.1.1 d): the authorities whose signatures count, and what they have taken back.

There is one authority, or two while one takes over from the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from cloister.certificates import keys, pem, profile

MAXIMUM_ROOTS = 2
ROOT_FILE = "rootCA.pem"


@dataclass(frozen=True)
class Anchors:
    """The roots that are trusted, and the certificates of theirs that are revoked.

    Attributes:
        roots: certificates of the authorities, the one that signs now first.
        revoked: SHA-256 fingerprint of the issuer and serial number of each revoked certificate.
    """

    roots: tuple[x509.Certificate, ...]
    revoked: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def of(cls, *roots: x509.Certificate) -> Anchors:
        """Anchors that have revoked nothing."""
        return cls(roots)

    def issuer_of(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """The root whose key signed ``certificate``; None where none did, or its key is too weak to count."""
        for root in self.roots:
            if not keys.weakness(root.public_key()) and profile.is_issued_by(certificate, root):
                return root
        return None

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        """Whether the root that signed ``certificate`` has revoked it; yes, where none signed it."""
        issuer = self.issuer_of(certificate)
        return issuer is None or self.has_revoked(certificate, issuer)

    def has_revoked(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Whether ``issuer``, which is the root that signed ``certificate``, has revoked it."""
        return (pem.fingerprint(issuer), certificate.serial_number) in self.revoked


def read_roots(path: Path) -> tuple[x509.Certificate, ...]:
    """The one or two authorities' certificates in the file at ``path``.

    Raises:
        ProvisioningError: if the file cannot be read or holds something else.
    """
    return pem.parse_certificates(pem.read(path)[0], str(path), most=MAXIMUM_ROOTS)


def roots_pem(roots: tuple[x509.Certificate, ...]) -> bytes:
    """``roots`` as the content of `rootCA.pem`."""
    return b"".join(pem.certificate_pem(root) for root in roots)
