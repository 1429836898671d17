# SPDX-License-Identifier: Apache-2.0
"""PEM files (RFC 7468) that others may have written: bounded, regular, parsed to the end before they are relied on."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from cloister import files
from cloister.errors import ProvisioningError

MAXIMUM_BYTES = 64 * 1024

_NO_VERSION = "is of a version that does not exist"
_DAMAGED = "is damaged, cut off or goes on behind its end"
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
# Certificates and white space alone: what else stands in such a file was put there by mistake, or to be overlooked.
_BLOCKS = re.compile(rb"(\s*" + _BEGIN + rb"[A-Za-z0-9+/=\s]*" + _END + rb")+\s*")


def read(path: Path) -> tuple[bytes, int]:
    """The content and permission bits of the regular file at ``path``, looked at through one descriptor.

    Raises:
        ProvisioningError: if it is missing, a symbolic link, no regular file, larger than 64 KiB or unreadable.
    """
    try:
        # Non-blocking, so that a named pipe put in a file's place cannot hold the process up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ProvisioningError(f"`{path}` is missing") from error
    except OSError as error:
        raise ProvisioningError(f"`{path}` cannot be read: {reason(error)}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ProvisioningError(f"`{path}` is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise ProvisioningError(f"`{path}` cannot be read: {reason(error)}") from error
    finally:
        os.close(descriptor)
    if len(content) > MAXIMUM_BYTES:
        raise ProvisioningError(f"`{path}` is larger than {MAXIMUM_BYTES // 1024} KiB")
    return content, stat.S_IMODE(status.st_mode)


def write_once(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 that must not exist yet; see `cloister.files.write_once`.

    Raises:
        ProvisioningError: if there is something at ``path`` already.
    """
    try:
        files.write_once(path, content)
    except FileExistsError as error:
        raise ProvisioningError(f"`{path}` exists already and is never overwritten") from error


def remove_drafts(path: Path) -> None:
    """Remove what a killed process left of a file it was writing at ``path``, whose last part may be a pattern."""
    for draft in path.parent.glob(f".{path.name}.*"):
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft)
        else:
            draft.unlink()


def read_certificate(path: Path) -> x509.Certificate:
    """The one certificate in the file at ``path``.

    Raises:
        ProvisioningError: if the file cannot be read or holds something else.
    """
    return parse_certificate(read(path)[0], str(path))


def parse_certificate(content: bytes, shown: str) -> x509.Certificate:
    """The one certificate in ``content``; ``shown`` is what messages call it.

    Raises:
        ProvisioningError: if it holds none, several, or one that does not parse to the end.
    """
    return parse_certificates(content, shown, most=1)[0]


def parse_certificates(content: bytes, shown: str, *, most: int) -> tuple[x509.Certificate, ...]:
    """The certificates in ``content``, one at least; ``shown`` is what messages call it.

    Raises:
        ProvisioningError: if it holds none, more than ``most``, something besides, or one that does not parse.
    """
    if len(content) > MAXIMUM_BYTES:
        raise ProvisioningError(f"`{shown}` is larger than {MAXIMUM_BYTES // 1024} KiB")
    if not _BLOCKS.fullmatch(content):
        raise ProvisioningError(f"`{shown}` {_instead(content)}")
    try:
        found = x509.load_pem_x509_certificates(content)
    except x509.InvalidVersion as error:
        raise ProvisioningError(f"`{shown}` holds a certificate that {_NO_VERSION}") from error
    except Exception as error:
        raise ProvisioningError(f"`{shown}` holds a certificate that {_DAMAGED}") from error
    for certificate in found:
        if fault := damage(certificate):
            raise ProvisioningError(f"`{shown}` holds a certificate that {fault}")
    if len(found) > most:
        number = "one" if most == 1 else f"at most {most}"
        raise ProvisioningError(f"`{shown}` holds {len(found)} certificates instead of {number}")
    return tuple(found)


def damage(certificate: x509.Certificate) -> str:
    """What is wrong with the form of ``certificate``, as the end of a sentence; empty where it parses to the end.

    cryptography parses most of it late; a fault must show here and not in the middle of a decision.
    """
    try:
        _ = certificate.subject, certificate.issuer, certificate.public_key(), certificate.extensions
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.version
    except x509.DuplicateExtension:
        return "has an extension twice"
    except x509.InvalidVersion:
        return _NO_VERSION
    except Exception:  # noqa: BLE001 - a gate: what cannot be parsed, for whatever reason, is damaged
        return _DAMAGED
    return ""


def _instead(content: bytes) -> str:
    """What ``content``, which is not certificates alone, is instead; the end of a sentence."""
    if b"PRIVATE KEY-----" in content:
        return "holds a private key, which belongs to nobody but its owner and in no other file"
    if b"CERTIFICATE REQUEST-----" in content:
        return "holds a request for a certificate and not the certificate"
    if content.count(_BEGIN) > content.count(_END):
        return "holds a certificate that is cut off"
    if _BEGIN in content and _END in content:
        return "holds something besides a certificate in PEM form"
    return "does not hold a certificate in PEM form"


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """``certificate`` as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's DER form, 64 lower-case hexadecimal digits; what people compare by voice."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def reason(error: OSError) -> str:
    """The operating system's words for ``error``, as the end of a sentence."""
    return (error.strerror or type(error).__name__).lower()
