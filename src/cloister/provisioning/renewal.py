# SPDX-License-Identifier: Apache-2.0
"""Renewal: a participant asks for its next certificate in time, and puts it in place without anybody's hands.

1. From half of its certificate's lifetime on, a participant asks: the request is an envelope around a certificate
   signing request, signed with the key and certificate that count now, which proves that the same holder goes on.
2. The authority answers with a certificate, and with a roster that lists it.
3. The participant judges it by that roster and replaces certificate, or key and certificate, together
   (`cloister.provisioning.replacement`). Policies, silo documents, audit log and budget are never touched.

A renewal that is not done by two thirds of the lifetime is overdue, which `status` and `doctor` say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from cloister.certificates import Identity, PrivateKey, pem
from cloister.certificates.lock import exclusively
from cloister.certificates.request import verified_key
from cloister.envelope import seal, unseal
from cloister.errors import CertificateError, CloisterError, ProvisioningError, SignatureError
from cloister.files import canonical_json, read_regular, write_atomically
from cloister.provisioning.kit import KitPaths
from cloister.provisioning.pending_key import make_under_lock, pending_key_file
from cloister.provisioning.replacement import FOLDER, replace_files, settle, settle_under_lock
from cloister.roster import Federation
from cloister.trust import Trust, judge, trust_in_force

KIND = "application/vnd.cloister.renewal+json"
_KEYS = {"csr", "federation", "name", "requested_at"}
_PENDING_REQUEST, _KEY_AGE = "pending.json", "key.json"
_MAXIMUM_BYTES = 256 * 1024


@dataclass(frozen=True)
class Renewal:
    """A request for renewal whose signer counts.

    Attributes:
        identity: who asks: the roster's entry of whoever signed it.
        csr_pem: the certificate signing request in PEM form.
        requested_at: aware time by the clock of whoever asks.
        asked_with: serial number of the certificate that signed it.
    """

    identity: Identity
    csr_pem: bytes
    requested_at: datetime
    asked_with: int


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether half of the lifetime of ``certificate`` is over, so that its holder asks for the next one."""
    return now >= _at(certificate, 1, 2)


def is_overdue(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether two thirds of the lifetime of ``certificate`` are over."""
    return now >= _at(certificate, 2, 3)


def _at(certificate: x509.Certificate, part: int, of: int) -> datetime:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) * part / of


def is_requested(workspace: Path) -> bool:
    """Whether a request was made in ``workspace`` that has not been answered."""
    return (workspace / FOLDER / _PENDING_REQUEST).exists()


def key_is_old(workspace: Path, certificate: x509.Certificate, federation: Federation, now: datetime) -> bool:
    """Whether the roster wants the next renewal to make a new key; its age counts from the first certificate known."""
    try:
        since = datetime.fromtimestamp(json.loads((workspace / FOLDER / _KEY_AGE).read_bytes())["since"], UTC)
    except (OSError, ValueError, KeyError, TypeError):
        since = certificate.not_valid_before_utc
    return now - since >= timedelta(days=federation.lifetimes.key_days)


def request_renewal(workspace: Path, identity: Identity, now: datetime, *, new_key: bool | None = None) -> bytes:
    """The request with which ``identity`` asks for its next certificate; asking again gives the same one.

    Args:
        workspace: of ``identity``, with its key and certificate.
        identity: the roster's entry.
        now: aware time.
        new_key: whether the key changes as well; None: where the roster says that it is old.

    Raises:
        CloisterError: where its key, certificate or roster cannot be used.
    """
    settle(workspace)
    with exclusively(workspace / FOLDER):
        paths = KitPaths.of(workspace / "startup", identity)
        trust = trust_in_force(workspace)
        certificate, key = pem.read_certificate(paths.certificate), PrivateKey.load(paths.key)
        folder = workspace / FOLDER
        for name in (_PENDING_REQUEST, _KEY_AGE):
            pem.remove_drafts(folder / name)
        if _belongs(certificate, pending_key_file(workspace)):  # put in place already, by a process that ended then
            pending_key_file(workspace).unlink()
        _remember_key(workspace, certificate)
        if new_key is None:
            new_key = key_is_old(workspace, certificate, trust.federation, now)
        if (waiting := _waiting(folder, certificate, new_key=new_key)) is not None:
            return waiting
        following = make_under_lock(workspace) if new_key or pending_key_file(workspace).exists() else key
        statement = {
            "federation": trust.federation.federation,
            "name": identity.name,
            "csr": following.request(identity).decode(),
            "requested_at": int(now.timestamp()),
        }
        content = seal(KIND, canonical_json(statement), key, certificate)
        write_atomically(folder / _PENDING_REQUEST, content)
        return content


def _waiting(folder: Path, certificate: x509.Certificate, *, new_key: bool) -> bytes | None:
    """The request that was made already with ``certificate``, if it asks for what is wanted now."""
    try:
        content = read_regular(folder / _PENDING_REQUEST, _MAXIMUM_BYTES)
        signer = unseal(KIND, content).certificate
    except (OSError, SignatureError):
        return None
    if signer != certificate or (new_key and not pending_key_file(folder.parent).exists()):
        return None
    return content


def _remember_key(workspace: Path, certificate: x509.Certificate) -> None:
    path = workspace / FOLDER / _KEY_AGE
    if not path.exists():
        write_atomically(path, canonical_json({"since": int(certificate.not_valid_before_utc.timestamp())}))


def read_renewal(content: bytes, trust: Trust, now: datetime) -> Renewal:
    """The request in an envelope, if whoever signed it counts now and asks for themselves.

    Args:
        content: the envelope.
        trust: the roster in force at the authority.
        now: aware time.

    Raises:
        DeniedError: where it does not count.
        ProvisioningError: where the signing request in it is refused.
    """
    envelope = unseal(KIND, content)
    identity = judge(envelope.certificate, trust, now)
    stated = envelope.value()
    if stated.keys() != _KEYS or not isinstance(stated["csr"], str) or type(stated["requested_at"]) is not int:
        raise SignatureError("the request for renewal does not say what one says")
    if (stated["federation"], stated["name"]) != (trust.federation.federation, identity.name):
        raise SignatureError(f"`{identity.name}` asks for a renewal in another name or federation")
    csr = stated["csr"].encode()
    verified_key(csr, identity)
    try:
        moment = datetime.fromtimestamp(stated["requested_at"], UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise SignatureError("the request for renewal was made at no time that there is") from error
    return Renewal(identity, csr, moment, envelope.certificate.serial_number)


def is_renewal(content: bytes) -> bool:
    """Whether ``content`` looks like a request for renewal, as against a first one; says nothing of its worth."""
    try:
        return bool(json.loads(content)["payloadType"] == KIND)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def install_certificate(workspace: Path, identity: Identity, certificate_pem: bytes, now: datetime) -> bool:
    """Put the next certificate of ``identity`` in place, with the key that it was asked for.

    Args:
        workspace: of ``identity``; the roster in force there must list the certificate already.
        identity: the roster's entry.
        certificate_pem: the certificate.
        now: aware time.

    Returns:
        Whether it was put in place; not where it is the one that is there, or ends no later than that one.

    Raises:
        CertificateError: where it is not a certificate of ``identity`` that counts.
        ProvisioningError: where it belongs to no key that is here, or something cannot be written.
    """
    certificate = pem.parse_certificate(certificate_pem, "certificate")
    if judge(certificate, trust_in_force(workspace), now) != identity:
        raise CertificateError(f"the certificate is not that of `{identity.name}`")
    with exclusively(workspace / FOLDER):  # another process may be putting another one in place
        settle_under_lock(workspace)
        return _install(workspace, identity, certificate, now)


def _install(workspace: Path, identity: Identity, certificate: x509.Certificate, now: datetime) -> bool:
    paths, folder = KitPaths.of(workspace / "startup", identity), workspace / FOLDER
    if not _is_newer(certificate, paths.certificate, workspace, now):
        return False
    files = {paths.certificate.name: pem.certificate_pem(certificate)}
    pending = pending_key_file(workspace)
    if not _belongs(certificate, paths.key):
        if not _belongs(certificate, pending):
            hint = "ask for it again: cloister renew"
            raise ProvisioningError(f"the certificate of `{identity.name}` belongs to no key that is here", hint=hint)
        files[paths.key.name] = pem.read(pending)[0]
    replace_files(workspace, files)
    for name in (_PENDING_REQUEST, _KEY_AGE):
        pem.remove_drafts(folder / name)
    if paths.key.name in files:
        begin = int(certificate.not_valid_before_utc.timestamp())
        write_atomically(folder / _KEY_AGE, canonical_json({"since": begin}))
    for path in (folder / _PENDING_REQUEST, pending):
        path.unlink(missing_ok=True)
    return True


def key_is_here(workspace: Path, key: Path, certificate: x509.Certificate) -> bool:
    """Whether the private key of ``certificate`` is the one at ``key``, or the one that waits for a certificate."""
    return _belongs(certificate, key) or _belongs(certificate, pending_key_file(workspace))


def _is_newer(certificate: x509.Certificate, path: Path, workspace: Path, now: datetime) -> bool:
    """Whether ``certificate`` ends later than the one at ``path``, or that one is of no use."""
    try:
        present = pem.read_certificate(path)
        judge(present, trust_in_force(workspace), now)
    except CloisterError:
        return True
    if certificate == present or certificate.not_valid_before_utc < present.not_valid_before_utc:
        return False
    # After an authority has handed over, the next certificate may end earlier than the last one of the old authority.
    other_issuer = _issuer_key(certificate) != _issuer_key(present)
    return other_issuer or certificate.not_valid_after_utc > present.not_valid_after_utc


def _issuer_key(certificate: x509.Certificate) -> bytes | None:
    found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return found.key_identifier


def _belongs(certificate: x509.Certificate, key: Path) -> bool:
    try:
        return PrivateKey.load(key).public_key == certificate.public_key()
    except ProvisioningError:
        return False
