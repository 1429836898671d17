# SPDX-License-Identifier: Apache-2.0
"""Signed statements: a payload, what kind of statement it is, one signature, and the certificate of whoever signed.

The form is DSSE 1.0.2 (https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md): the signature covers the
payload's bytes together with its type, so that a statement of one kind never passes for another. The signature is
RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes (RFC 8017, 8.1). The certificate travels beside the
signature, as in sigstore's `cert`; it proves nothing by itself: `cloister.certificates.signer` says whose it is.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.errors import SignatureError
from cloister.files import canonical_json

MAXIMUM_BYTES = 1 << 20

_PADDING = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
_KEYS = {"payload", "payloadType", "signatures"}
_SIGNATURE_KEYS = {"cert", "keyid", "sig"}


class Signer(Protocol):
    """A private key that signs without being shown."""

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``, as `sign_with` makes it."""


@dataclass(frozen=True)
class Envelope:
    """A statement whose signature fits its certificate.

    Attributes:
        payload: what is stated.
        certificate: of whoever signed; not yet held against any authority or roster.
    """

    payload: bytes
    certificate: x509.Certificate

    def value(self) -> dict[str, Any]:
        """The payload as a JSON object in canonical form.

        Raises:
            SignatureError: where it is anything else.
        """
        try:
            value = json.loads(self.payload)
            canonical = canonical_json(value)
        except (ValueError, RecursionError) as error:
            raise SignatureError("the signed statement is not JSON") from error
        # One spelling only: a second one, such as a repeated key, could be read otherwise elsewhere.
        if not isinstance(value, dict) or canonical != self.payload:
            raise SignatureError("the signed statement is not a JSON object in canonical form")
        return value


def seal(kind: str, payload: bytes, signer: Signer, certificate: x509.Certificate) -> bytes:
    """Sign ``payload`` as a statement of ``kind``.

    Args:
        kind: a media type, such as `application/vnd.cloister.policy+json`.
        payload: what is stated; `canonical_json` of an object, where `Envelope.value` is to read it.
        signer: the key that belongs to ``certificate``.
        certificate: whose statement it is.

    Returns:
        The envelope as canonical JSON.
    """
    return _written(kind, payload, certificate, signer.sign(_message(kind, payload)))


def unseal(kind: str, content: bytes) -> Envelope:
    """Read an envelope and check its signature against the certificate that it carries.

    Raises:
        SignatureError: where it is not one statement of ``kind`` with one signature that fits.
    """
    if len(content) > MAXIMUM_BYTES:
        raise SignatureError("the signed statement is larger than one may be")
    try:
        parts = _parts(content)
    except Exception:  # noqa: BLE001 - a gate: what cannot be taken apart, for whatever reason, is not signed
        parts = None
    if parts is None:
        raise SignatureError("the signed statement has other parts than it should, or cannot be read")
    payload, said, keyid, signature, certificate = parts
    key = certificate.public_key()
    if said != kind:
        raise SignatureError("the signed statement is of another kind than it should be")
    if keyid != certificate.fingerprint(hashes.SHA256()).hex():
        raise SignatureError("the signed statement names another certificate than it carries")
    # Base64, PEM and JSON have spellings to spare; one statement is one sequence of bytes.
    if content != _written(kind, payload, certificate, signature):
        raise SignatureError("the signed statement is not in canonical form")
    if not isinstance(key, rsa.RSAPublicKey):
        raise SignatureError("the signed statement carries a certificate without an RSA key")
    if not verifies(key, signature, _message(kind, payload)):
        raise SignatureError("the signature does not fit: what was signed has been changed")
    return Envelope(payload, certificate)


def sign_with(key: rsa.RSAPrivateKey, message: bytes) -> bytes:
    """The signature of ``message``, bytes as many as the modulus has."""
    return key.sign(message, _PADDING, hashes.SHA256())


def verifies(key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` is one of ``message`` by the holder of ``key``'s private half."""
    try:
        key.verify(signature, message, _PADDING, hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _parts(content: bytes) -> tuple[bytes, str, str, bytes, x509.Certificate]:
    """Payload, its type, the certificate's fingerprint, signature and certificate; raises whatever it stumbles over."""
    value = json.loads(content)
    (entry,) = value["signatures"]
    if value.keys() != _KEYS or entry.keys() != _SIGNATURE_KEYS:
        raise ValueError("other parts")
    certificate = x509.load_pem_x509_certificate(entry["cert"].encode())
    certificate.public_key()  # of a kind that can be read
    payload, signature = _bytes(value["payload"]), _bytes(entry["sig"])
    return payload, str(value["payloadType"]), str(entry["keyid"]), signature, certificate


def _message(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: lengths are in front, so that no two statements have one encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _written(kind: str, payload: bytes, certificate: x509.Certificate, signature: bytes) -> bytes:
    entry = {
        "cert": certificate.public_bytes(Encoding.PEM).decode(),
        "keyid": certificate.fingerprint(hashes.SHA256()).hex(),
        "sig": _text(signature),
    }
    return canonical_json({"payload": _text(payload), "payloadType": kind, "signatures": [entry]})


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
