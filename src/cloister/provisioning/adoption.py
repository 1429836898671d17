# SPDX-License-Identifier: Apache-2.0
"""An NVFlare kit as proof of who asks: its old key signs a new request, and its old root vouches for that key.

Whoever comes over from plain NVFlare has a key that its authority certified. It is used once: to sign the request
for the first certificate here, in place of a fingerprint that is read over the telephone. The request carries the new
key. The old one counts for nothing else, so it may be as NVFlare makes it, RSA with 2048 bits (112 bits of strength,
NIST SP 800-57 part 1 revision 5, table 2).

What that proves is what it proved before: whoever provisioned the old project had a copy of every key in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from cloister.certificates import pem, profile
from cloister.certificates.identity import Identity
from cloister.certificates.keys import MAXIMUM_BITS
from cloister.documents.source import quoted
from cloister.envelope import Envelope, seal, sign_with, unseal
from cloister.errors import CloisterError, ProvisioningError, SignatureError
from cloister.files import canonical_json, sha256_of
from cloister.nvflare_project import names
from cloister.nvflare_project.names import UnfitNameError

ADOPTION = "application/vnd.cloister.adoption+json"
MINIMUM_BITS = 2048
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_OTHERS = 0o077
_NAMES = {"server": names.server, "site": names.site, "person": names.person}


@dataclass(frozen=True)
class Adoption:
    """What an old kit proved of a request, for whoever approves it to look at.

    Attributes:
        old_name: the common name in the old certificate.
        old_organisation: the organisation there; empty where it names none.
        fingerprint: SHA-256 of the old certificate, 64 lower-case hexadecimal digits.
        not_after: aware time of its end.
        key_bits: of its key.
    """

    old_name: str
    old_organisation: str
    fingerprint: str
    not_after: datetime
    key_bits: int


def adopt(request: bytes, old_startup: Path, identity: Identity, now: datetime) -> bytes:
    """Sign ``request`` with the key of an old NVFlare kit.

    Args:
        request: the new request, byte for byte as it is sent.
        old_startup: the old kit's `startup` folder, with `client.key` and `client.crt`, or `server.*`.
        identity: who asks, as the roster names them.
        now: aware time.

    Returns:
        The proof that travels beside the request; it holds no secret.

    Raises:
        ProvisioningError: if the old key cannot be read, or is readable by others.
        SignatureError: if the old certificate is not one that would be accepted for ``identity``.
    """
    stem = "server" if identity.kind == "server" else "client"
    certificate = pem.read_certificate(old_startup / f"{stem}.crt")
    key = _OldKey.load(old_startup / f"{stem}.key")
    if certificate.public_key() != key.public_key:
        raise ProvisioningError(f"the certificate `{old_startup / f'{stem}.crt'}` does not belong to the key beside it")
    _refuse_other_holder(certificate, identity, now)
    return seal(ADOPTION, canonical_json(_statement(request, identity)), key, certificate)


def verify_adoption(
    proof: bytes,
    request: bytes,
    identity: Identity,
    old_root: x509.Certificate,
    now: datetime,
    *,
    issued: Iterable[x509.Certificate],
) -> Adoption:
    """See that the holder of an old NVFlare kit for ``identity`` signed ``request``, and that it is their first.

    Args:
        proof: what `adopt` returned.
        request: the new request, byte for byte as it came.
        identity: whom the roster names and the request asks for.
        old_root: the old project's `rootCA.pem`, which the authority's people have from their own records and not
            from whoever asks.
        now: aware time to judge validity at.
        issued: what the authority here has signed so far. Whoever has a certificate here is no longer known by an old
            kit, which others may have come by in the meantime.

    Returns:
        Whose old certificate it was.

    Raises:
        SignatureError: in every other case.
    """
    try:
        _refuse_root(old_root, now)
        envelope = unseal(ADOPTION, proof)
        if envelope.value() != _statement(request, identity):
            raise SignatureError("the proof from an old kit is for another request or another name")
        _refuse_second(issued, identity, request)
        return _judged(envelope, identity, old_root, now)
    except CloisterError:
        raise
    except Exception as error:  # a gate: what cannot be judged, for whatever reason, proves nothing
        raise SignatureError("the proof from an old kit cannot be read") from error


def _statement(request: bytes, identity: Identity) -> dict[str, str]:
    return {"name": identity.name, "kind": identity.kind, "request": sha256_of(request)}


def _refuse_second(issued: Iterable[x509.Certificate], identity: Identity, request: bytes) -> None:
    before = [each for each in issued if _attribute(each, NameOID.COMMON_NAME) == identity.name]
    # The same request once more, where its kit was lost on the way, is still the first.
    if before and any(each.public_key() != x509.load_pem_x509_csr(request).public_key() for each in before):
        hint = "compare the request's fingerprint by telephone instead"
        message = f"`{identity.name}` has had a certificate here, and an old kit counts for the first one alone"
        raise SignatureError(message, hint=hint)


def _judged(envelope: Envelope, identity: Identity, old_root: x509.Certificate, now: datetime) -> Adoption:
    certificate = envelope.certificate
    if not profile.is_issued_by(certificate, old_root):
        raise SignatureError("the old kit's certificate was not signed by the old root that was given")
    key = _refuse_other_holder(certificate, identity, now)
    return Adoption(
        _common_name(certificate),
        _attribute(certificate, NameOID.ORGANIZATION_NAME),
        pem.fingerprint(certificate),
        certificate.not_valid_after_utc,
        key.key_size,
    )


def _refuse_root(root: x509.Certificate, now: datetime) -> None:
    _sufficient(root, "old root", now)
    if not _is_authority(root) or not profile.is_issued_by(root, root):
        hint = "name the old project's `rootCA.pem`, from your own records"
        raise SignatureError("what was given as the old root is not the certificate of an authority", hint=hint)


def _refuse_other_holder(certificate: x509.Certificate, identity: Identity, now: datetime) -> rsa.RSAPublicKey:
    """The key of ``certificate``, if that is an old one of ``identity``."""
    key = _sufficient(certificate, "old kit's certificate", now)
    if _is_authority(certificate):
        raise SignatureError("the old kit's certificate is that of an authority, and not of a participant")
    role = _attribute(certificate, NameOID.UNSTRUCTURED_NAME)
    if bool(role) is not (identity.kind == "person"):
        had = "an admin's" if role else "no admin's"
        raise SignatureError(f"the old kit's certificate is {had}, and `{identity.name}` is a {identity.kind}")
    old = _common_name(certificate)
    if _called_here(old, identity) != identity.name:
        hint = "compare the request's fingerprint by telephone instead"
        raise SignatureError(f"the old kit is that of {quoted(old)}, and not of `{identity.name}`", hint=hint)
    return key


def _called_here(old: str, identity: Identity) -> str:
    """What a participant called ``old`` is called after an import, unless somebody chose otherwise."""
    if old == identity.name:
        return old
    try:
        return _NAMES[identity.kind](old)
    except UnfitNameError:
        return ""


def _sufficient(certificate: x509.Certificate, what: str, now: datetime) -> rsa.RSAPublicKey:
    """The key of ``certificate``, if it is of a sufficient kind and the certificate counts now."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise SignatureError(f"the key of the {what} is not an RSA key")
    if not MINIMUM_BITS <= key.key_size <= MAXIMUM_BITS:
        raise SignatureError(f"the key of the {what} is RSA-{key.key_size}, and {MINIMUM_BITS} bits are the least")
    if not isinstance(certificate.signature_hash_algorithm, _HASHES):
        raise SignatureError(f"the {what} was signed over a digest that is too weak")
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= now <= end:
        hint = "compare the request's fingerprint by telephone instead"
        raise SignatureError(f"the {what} counts from {begin:%Y-%m-%d} to {end:%Y-%m-%d} only", hint=hint)
    return key


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _common_name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(found) != 1:
        raise SignatureError(f"the old kit's certificate has {len(found)} common names instead of one")
    return str(found[0].value)


def _attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


class _OldKey:
    """The key of an old kit, which can sign this one proof and nothing else."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    @classmethod
    def load(cls, path: Path) -> _OldKey:
        content, mode = pem.read(path)
        if mode & _OTHERS:
            hint = f"if nobody else can have read it, chmod 600 {path}; else have your request approved by telephone"
            raise ProvisioningError(f"the old key `{path}` can be read by others (mode {mode:04o})", hint=hint)
        try:
            key = serialization.load_pem_private_key(content, None)
        except Exception as error:
            raise ProvisioningError(f"`{path}` does not hold a private key that can be opened") from error
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ProvisioningError(f"the old key `{path}` is not an RSA key")
        return cls(key)

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        return self._key.public_key()

    def sign(self, message: bytes) -> bytes:
        return sign_with(self._key, message)
