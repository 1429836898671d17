# SPDX-License-Identifier: Apache-2.0
"""The certificate authority: one key in one folder that signs for those whom the roster names.

1. The key is made in the folder and never leaves it. It may be kept offline between signings: everything but signing
   works without it.
2. Every certificate is recorded under its serial number before it is handed out, so that none exists unrecorded.
3. An authority is never made anew where one has signed before.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from cloister.errors import ProvisioningError
from cloister.files import private_folder, write_atomically
from cloister.provisioning import pem, profile
from cloister.provisioning.identity import Identity
from cloister.provisioning.keys import PrivateKey
from cloister.provisioning.lock import exclusively
from cloister.provisioning.request import verified_key
from cloister.roster import Federation

AUTHORITY_FOLDER = "authority"
KEY_FILE = "authority.key"
CERTIFICATE_FILE = "authority.crt"
ISSUED_FOLDER = "issued"


class Authority:
    """An authority whose certificate has been read, and whose key is read when it first signs.

    Attributes:
        folder: where key, certificate and the record of issued certificates lie.
        certificate: its own certificate, the federation's root of trust.
    """

    def __init__(self, folder: Path, certificate: x509.Certificate, key: PrivateKey | None = None) -> None:
        self.folder = folder
        self.certificate = certificate
        self._key = key

    @classmethod
    def create(cls, folder: Path, federation: Federation, now: datetime) -> Authority:
        """Make the authority of ``federation`` in ``folder``.

        A key left there by an interrupted call is used.

        Raises:
            ProvisioningError: if ``folder`` has an authority, or had one that signed.
        """
        certificate_path, key_path = folder / CERTIFICATE_FILE, folder / KEY_FILE
        if certificate_path.exists():
            raise ProvisioningError(f"there is an authority in `{folder}` already")
        if any((folder / ISSUED_FOLDER).glob("*.pem")):
            hint = f"restore `{CERTIFICATE_FILE}` from your backup; a new authority would lock everybody out"
            message = f"the authority in `{folder}` has signed, but its certificate is missing"
            raise ProvisioningError(message, hint=hint)
        with exclusively(folder):
            pem.remove_drafts(key_path)
            pem.remove_drafts(certificate_path)
            private_folder(folder / ISSUED_FOLDER)
            if key_path.exists():
                key = PrivateKey.load(key_path)
            else:
                key = PrivateKey.generate(federation.authority.key_bits)
                key.write(key_path)
            days = federation.authority.valid_days
            certificate = key.certify(profile.root_builder(federation.federation, key.public_key, days, now))
            write_atomically(certificate_path, pem.certificate_pem(certificate))
        return cls(folder, certificate, key)

    @classmethod
    def open(cls, folder: Path) -> Authority:
        """Read the authority in ``folder``; its key is not touched yet.

        Raises:
            ProvisioningError: if its certificate is missing or is no authority's.
        """
        path = folder / CERTIFICATE_FILE
        certificate = pem.read_certificate(path)
        if not profile.is_root(certificate):
            raise ProvisioningError(f"`{path}` is not the certificate of an authority")
        return cls(folder, certificate)

    @property
    def certificate_pem(self) -> bytes:
        """What every participant gets as `rootCA.pem`."""
        return pem.certificate_pem(self.certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate, hexadecimal: what participants compare before they trust it."""
        return pem.fingerprint(self.certificate)

    def serves(self, federation: Federation) -> bool:
        """Whether this is the authority of ``federation``."""
        return self.certificate.subject == profile.authority_subject(federation.federation)

    def sign(self, csr_pem: bytes, identity: Identity, lifetime: timedelta, now: datetime) -> bytes:
        """Certify the key in a request; every name, usage and role comes from ``identity``.

        Args:
            csr_pem: the request in PEM form (RFC 2986); see `request` for what is refused.
            identity: the roster's entry.
            lifetime: how long the certificate lasts, cut at the authority's own end.
            now: aware time of signing.

        Returns:
            The certificate in PEM form; it is recorded under `issued/` already.

        Raises:
            ProvisioningError: if the request is refused, or the authority cannot sign now.
        """
        public_key = verified_key(csr_pem, identity)
        certificate = self._signing_key().certify(
            profile.leaf_builder(identity, public_key, self.certificate, lifetime, now)
        )
        content = pem.certificate_pem(certificate)
        with exclusively(self.folder):
            issued = private_folder(self.folder / ISSUED_FOLDER)
            pem.remove_drafts(issued / "*.pem")
            pem.write_once(issued / f"{certificate.serial_number:040x}.pem", content)
        return content

    def _signing_key(self) -> PrivateKey:
        if self._key is None:
            path = self.folder / KEY_FILE
            if not path.exists():
                hint = "bring the key back from where it is kept offline, sign, and take it away again"
                raise ProvisioningError(f"the authority's key `{path}` is not here", hint=hint)
            key = PrivateKey.load(path)
            if key.public_key != self.certificate.public_key():
                raise ProvisioningError(f"the key `{path}` does not belong to `{CERTIFICATE_FILE}` beside it")
            self._key = key
        return self._key
