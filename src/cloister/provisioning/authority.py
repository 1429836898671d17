# SPDX-License-Identifier: Apache-2.0
"""The certificate authority: one folder that signs for those whom the roster names.

1. The key is made in the folder and never leaves it. It may be kept offline between signings: everything but signing
   works without it.
2. Every certificate is recorded under its serial number before it is handed out, so that none exists unrecorded.
3. An authority is never made anew where one has signed before. It hands over to a next generation of itself instead
   (`cloister.provisioning.rotation`): the first lies in the folder, each later one in `generations/N`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from cloister.certificates import Identity, PrivateKey, pem, profile
from cloister.certificates.anchors import Anchors
from cloister.certificates.lock import exclusively
from cloister.certificates.request import verified_key
from cloister.errors import ProvisioningError, RefusedRequestError
from cloister.files import private_folder, write_atomically
from cloister.provisioning.revoking import revoked
from cloister.roster import Federation

AUTHORITY_FOLDER = "authority"
KEY_FILE = "authority.key"
CERTIFICATE_FILE = "authority.crt"
ISSUED_FOLDER = "issued"
_GENERATIONS_FOLDER = "generations"
_STANDING_FILE = "generations.json"


@dataclass(frozen=True)
class Generations:
    """Which generations of the authority count; each is a number from 1 on.

    Attributes:
        trusted: one, or the outgoing and the incoming one.
        signing: which of them signs certificates.
    """

    trusted: tuple[int, ...] = (1,)
    signing: int = 1


class Authority:
    """An authority whose certificates have been read, and whose keys are read when they first sign.

    Attributes:
        folder: where keys, certificates and the records lie.
        generations: which of its generations count.
    """

    def __init__(self, folder: Path, generations: Generations, certificates: dict[int, x509.Certificate]) -> None:
        self.folder = folder
        self.generations = generations
        self._certificates = certificates
        self._keys: dict[int, PrivateKey] = {}

    @classmethod
    def create(cls, folder: Path, federation: Federation, now: datetime) -> Authority:
        """Make the authority of ``federation`` in ``folder``.

        A key left there by an interrupted call is used.

        Raises:
            ProvisioningError: if ``folder`` has an authority, or had one that signed.
        """
        certificate_path = folder / CERTIFICATE_FILE
        if certificate_path.exists():
            raise ProvisioningError(f"there is an authority in `{folder}` already")
        if any((folder / ISSUED_FOLDER).glob("*.pem")):
            hint = f"restore `{CERTIFICATE_FILE}` from your backup; a new authority would lock everybody out"
            message = f"the authority in `{folder}` has signed, but its certificate is missing"
            raise ProvisioningError(message, hint=hint)
        with exclusively(folder):
            private_folder(folder / ISSUED_FOLDER)
            make_generation(folder, federation, now)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Authority:
        """Read the authority in ``folder``; its keys are not touched yet.

        Raises:
            ProvisioningError: if its certificate is missing or is no authority's.
        """
        generations = read_generations(folder)
        certificates: dict[int, x509.Certificate] = {}
        for number in generations.trusted:
            path = generation_folder(folder, number) / CERTIFICATE_FILE
            certificates[number] = pem.read_certificate(path)
            if not profile.is_root(certificates[number]):
                raise ProvisioningError(f"`{path}` is not the certificate of an authority")
        return cls(folder, generations, certificates)

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the generation that signs."""
        return self._certificates[self.generations.signing]

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The certificates of every generation that is trusted, the signing one first."""
        others = (self._certificates[number] for number in self.generations.trusted)
        return tuple(dict.fromkeys((self.certificate, *others)))

    @property
    def anchors(self) -> Anchors:
        """Its roots as trust anchors, without what it has revoked."""
        return Anchors(self.roots)

    @property
    def stating(self) -> x509.Certificate:
        """The certificate of the generation that signs rosters.

        It is the outgoing one as long as it is trusted, because somebody may not know the incoming one yet.
        """
        return self._certificates[min(self.generations.trusted)]

    @property
    def certificate_pem(self) -> bytes:
        """The signing generation's certificate as PEM."""
        return pem.certificate_pem(self.certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `stating`, hexadecimal: what participants compare before they trust it."""
        return pem.fingerprint(self.stating)

    def serves(self, federation: Federation) -> bool:
        """Whether this is the authority of ``federation``."""
        return self.certificate.subject == profile.authority_subject(federation.federation)

    def check_serves(self, federation: Federation) -> None:
        """See that this is the authority of ``federation``.

        Raises:
            ProvisioningError: if it is another's.
        """
        if not self.serves(federation):
            hint = "every federation has a state folder of its own"
            message = f"the authority in `{self.folder}` is not that of the federation `{federation.federation}`"
            raise ProvisioningError(message, hint=hint)

    def sign(
        self, csr_pem: bytes, identity: Identity, lifetime: timedelta, now: datetime, *, asked_with: int | None = None
    ) -> bytes:
        """Certify the key in a request; every name, usage and role comes from ``identity``.

        Args:
            csr_pem: the request in PEM form (RFC 2986); see `cloister.certificates.request` for what is refused.
            identity: the roster's entry.
            lifetime: how long the certificate lasts, cut at the authority's own end.
            now: aware time of signing.
            asked_with: serial number of the certificate that a renewal was asked for with.

        Returns:
            The certificate in PEM form; it is recorded under `issued/` already.

        Raises:
            RefusedRequestError: if the key, or the certificate that it was asked for with, was revoked.
            ProvisioningError: if the request is refused, or the authority cannot sign now.
        """
        public_key = verified_key(csr_pem, identity)
        certificate = self.key_of(self.certificate).certify(
            profile.leaf_builder(identity, public_key, self.certificate, lifetime, now)
        )
        content = pem.certificate_pem(certificate)
        with exclusively(self.folder):  # a revocation is recorded under the same lock: before this, or after
            if self.has_taken_back(public_key):
                hint = f"only a new key may be certified: cloister {identity.kind} init {identity.name} --replace"
                message = f"the key of `{identity.name}` was revoked, and is never certified again"
                raise RefusedRequestError(message, hint=hint)
            if asked_with is not None and any(each.serial == asked_with for each in revoked(self.folder)):
                raise RefusedRequestError(f"the certificate with which `{identity.name}` asks was revoked")
            issued = private_folder(self.folder / ISSUED_FOLDER)
            pem.remove_drafts(issued / "*.pem")
            pem.write_once(issued / f"{certificate.serial_number:040x}.pem", content)
        return content

    def has_taken_back(self, key: object) -> bool:
        """Whether a certificate for ``key`` was revoked, and not because its holder had another one.

        Whoever came by a key has its request, approvals and proof from an old kit as well, and could send them again.

        Raises:
            ProvisioningError: where a record cannot be read.
        """
        taken_back = [each for each in revoked(self.folder) if not each.superseded]
        paths = [self.folder / ISSUED_FOLDER / f"{each.serial:040x}.pem" for each in taken_back]
        return any(pem.read_certificate(path).public_key() == key for path in paths)

    def issued(self) -> tuple[x509.Certificate, ...]:
        """Every certificate that it has recorded, in the order of their serial numbers."""
        return tuple(pem.read_certificate(path) for path in sorted((self.folder / ISSUED_FOLDER).glob("*.pem")))

    def key_of(self, root: x509.Certificate) -> PrivateKey:
        """The key of one of its generations.

        Raises:
            ProvisioningError: if it is not here, or cannot be used.
        """
        number = next(number for number, each in self._certificates.items() if each == root)
        if number not in self._keys:
            path = generation_folder(self.folder, number) / KEY_FILE
            if not path.exists():
                hint = "bring the key back from where it is kept offline, sign, and take it away again"
                raise ProvisioningError(f"the authority's key `{path}` is not here", hint=hint)
            key = PrivateKey.load(path)
            if key.public_key != root.public_key():
                raise ProvisioningError(f"the key `{path}` does not belong to `{CERTIFICATE_FILE}` beside it")
            self._keys[number] = key
        return self._keys[number]

    @property
    def has_keys(self) -> bool:
        """Whether the keys of all its trusted generations are here."""
        return all((generation_folder(self.folder, each) / KEY_FILE).exists() for each in self.generations.trusted)


def generation_folder(folder: Path, number: int) -> Path:
    """Where key and certificate of a generation lie."""
    return folder if number == 1 else folder / _GENERATIONS_FOLDER / str(number)


def make_generation(folder: Path, federation: Federation, now: datetime, number: int = 1) -> x509.Certificate:
    """Make key and certificate of a generation, where they are not there; the caller holds the lock of ``folder``."""
    place = private_folder(generation_folder(folder, number))
    certificate_path, key_path = place / CERTIFICATE_FILE, place / KEY_FILE
    pem.remove_drafts(key_path)
    pem.remove_drafts(certificate_path)
    if certificate_path.exists():
        return pem.read_certificate(certificate_path)
    if key_path.exists():
        key = PrivateKey.load(key_path)
    else:
        key = PrivateKey.generate(federation.authority.key_bits)
        key.write(key_path)
    days = federation.authority.valid_days
    certificate = key.certify(profile.root_builder(federation.federation, key.public_key, days, now))
    write_atomically(certificate_path, pem.certificate_pem(certificate))
    return certificate


def read_generations(folder: Path) -> Generations:
    """Which generations count in ``folder``; the first alone where nothing has been written.

    Raises:
        ProvisioningError: where what has been written cannot be read.
    """
    path = folder / _STANDING_FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        found = Generations(tuple(int(each) for each in value["trusted"]), int(value["signing"]))
    except FileNotFoundError:
        return Generations()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProvisioningError(f"`{path}` cannot be read", hint="restore it from your backup") from error
    if not 1 <= len(set(found.trusted)) == len(found.trusted) <= 2 or found.signing not in found.trusted:
        raise ProvisioningError(f"`{path}` does not say which authority counts", hint="restore it from your backup")
    return found


def write_generations(folder: Path, generations: Generations) -> None:
    """Say which generations count, in one write."""
    value = {"trusted": list(generations.trusted), "signing": generations.signing}
    write_atomically(folder / _STANDING_FILE, json.dumps(value).encode())
