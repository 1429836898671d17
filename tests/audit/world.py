# SPDX-License-Identifier: Apache-2.0
"""A participant with a key, and a log that it wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from cloister.audit import Kind, Log, Notary
from cloister.envelope import sign_with

SITE = "alpha"
JOB = "0b5e1d6e-9f43-4a5e-8f5c-2f3f8a4d9c11"
NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
DIGEST = "ab" * 32


class Key:
    """A private key that signs; 2048 bits are made fast."""

    def __init__(self) -> None:
        self.private = rsa.generate_private_key(65537, 2048)

    def sign(self, message: bytes) -> bytes:
        return sign_with(self.private, message)


def certificate(
    key: Key, name: str = SITE, issuer: Key | None = None, begin: datetime = NOW - timedelta(days=1)
) -> x509.Certificate:
    """A certificate of ``name``, by itself or by ``issuer``."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]) if issuer else subject
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key.private.public_key())
    builder = builder.serial_number(1).not_valid_before(begin).not_valid_after(begin + timedelta(days=30))
    return builder.sign((issuer or key).private, hashes.SHA256())


KEY, OTHER_KEY = Key(), Key()
CERTIFICATE = certificate(KEY)
NOTARY = Notary(KEY, CERTIFICATE)


def log_in(folder: Path, participant: str = SITE, notary: Notary | None = NOTARY) -> Log:
    """A log whose clock stands still."""
    return Log(folder, participant, (lambda: notary) if notary else None, lambda: NOW)


def write_some(log: Log, count: int = 3) -> None:
    """``count`` releases."""
    for number in range(1, count + 1):
        facts = {"reply": "update", "digest": DIGEST, "bytes": 1000 + number, "metrics": ("loss", "accuracy")}
        log.append(Kind.RELEASE, facts, job=JOB, number=number)
