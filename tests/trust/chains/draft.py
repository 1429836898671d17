# SPDX-License-Identifier: Apache-2.0
"""Certificates that no library makes: the fields of one in DER, each of which can be replaced before it is signed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, PRINTABLE_STRING, TELETEX_STRING, BMP_STRING = 0x0C, 0x13, 0x14, 0x1E
UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x17, 0x18, 0x30, 0x31

SHA256, SHA384, SHA512 = "1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13"
SHA1, MD5, SHA224 = "1.2.840.113549.1.1.5", "1.2.840.113549.1.1.4", "1.2.840.113549.1.1.14"
_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    SHA1: hashes.SHA1(),
    MD5: hashes.MD5(),
    SHA224: hashes.SHA224(),
    SHA256: hashes.SHA256(),
    SHA384: hashes.SHA384(),
    SHA512: hashes.SHA512(),
}


def element(tag: int, *contents: bytes) -> bytes:
    """One element in DER (X.690, 8.1 and 10.1)."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def split(content: bytes) -> list[bytes]:
    """The elements that follow each other in ``content``, each with its tag and length."""
    found = []
    while content:
        size, head = content[1], 2
        if size >= 0x80:
            head = 2 + (size & 0x7F)
            size = int.from_bytes(content[2:head])
        found.append(content[: head + size])
        content = content[head + size :]
    return found


def inside(whole: bytes) -> bytes:
    """The content of one element."""
    head = 2 + (whole[1] & 0x7F if whole[1] >= 0x80 else 0)
    return whole[head:]


def oid(dotted: str) -> bytes:
    """An object identifier (X.690, 8.19)."""
    first, second, *others = (int(each) for each in dotted.split("."))
    content = bytearray()
    for number in (40 * first + second, *others):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        content += bytes(reversed(digits))
    return element(OID, bytes(content))


def integer(number: int) -> bytes:
    """A whole number, of any sign and length."""
    return element(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, signed=True))


def text(value: str, tag: int = UTF8_STRING) -> bytes:
    """A string, in the encoding that its tag says."""
    codes = {BMP_STRING: "utf-16-be", TELETEX_STRING: "latin-1"}
    return element(tag, value.encode(codes.get(tag, "utf-8")))


def name(*attributes: tuple[str, str] | tuple[str, str, int]) -> bytes:
    """A distinguished name of (type, value, tag of the string)."""
    return element(SEQUENCE, *(element(SET, element(SEQUENCE, oid(kind), text(*value))) for kind, *value in attributes))


def moment(value: datetime, tag: int | None = None) -> bytes:
    """A date as RFC 5280, 4.1.2.5 has it, or in the form of ``tag``."""
    value = value.astimezone(UTC)
    tag = tag or (UTC_TIME if value.year < 2050 else GENERALIZED_TIME)
    form = "%y%m%d%H%M%SZ" if tag == UTC_TIME else "%Y%m%d%H%M%SZ"
    return element(tag, value.strftime(form).encode())


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """An extension (RFC 5280, 4.2)."""
    return element(
        SEQUENCE, oid(dotted), *([element(BOOLEAN, b"\xff")] if critical else []), element(OCTET_STRING, value)
    )


def encoded(value: x509.ExtensionType, *, critical: bool = False) -> bytes:
    """An extension that the library knows."""
    return extension(value.oid.dotted_string, value.public_bytes(), critical=critical)


def key_info(key: CertificatePublicKeyTypes) -> bytes:
    """A public key."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class Draft:
    """The fields of a certificate in DER, before it is signed.

    Attributes:
        version: 0 for the first, 2 for the third; left out where it is 0.
        serial: number.
        algorithm: of the signature.
        issuer: name.
        begin: date.
        end: date.
        subject: name.
        key: public.
        extensions: each of them; none of all where there are none.
    """

    version: int
    serial: int
    algorithm: str
    issuer: bytes
    begin: bytes
    end: bytes
    subject: bytes
    key: bytes
    extensions: tuple[bytes, ...]

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """What a certificate says."""
        version, _, _, issuer, dates, subject, key, tail = split(inside(certificate.tbs_certificate_bytes))
        begin, end = split(inside(dates))
        return cls(
            inside(inside(version))[0],
            certificate.serial_number,
            certificate.signature_algorithm_oid.dotted_string,
            issuer,
            begin,
            end,
            subject,
            key,
            tuple(split(inside(inside(tail)))),
        )

    def without(self, *types: type[x509.ExtensionType]) -> Self:
        """Without the extensions of these types."""
        unwanted = {oid(each.oid.dotted_string) for each in types}
        kept = tuple(each for each in self.extensions if split(inside(each))[0] not in unwanted)
        return replace(self, extensions=kept)

    def also(self, *values: x509.ExtensionType, critical: bool = False) -> Self:
        """With these extensions in the place of those of their types."""
        kept = self.without(*map(type, values)).extensions
        return replace(self, extensions=(*kept, *(encoded(each, critical=critical) for each in values)))

    def signed(self, key: rsa.RSAPrivateKey) -> bytes:
        """The certificate in DER, its signature true."""
        algorithm = element(SEQUENCE, oid(self.algorithm), element(NULL))
        statement = element(SEQUENCE, *self._fields(algorithm))
        signature = key.sign(statement, padding.PKCS1v15(), _DIGESTS[self.algorithm])
        return element(SEQUENCE, statement, algorithm, element(BIT_STRING, b"\0", signature))

    def _fields(self, algorithm: bytes) -> Iterable[bytes]:
        if self.version:
            yield element(0xA0, integer(self.version))
        yield integer(self.serial)
        yield algorithm
        yield self.issuer
        yield element(SEQUENCE, self.begin, self.end)
        yield self.subject
        yield self.key
        if self.extensions:
            yield element(0xA3, element(SEQUENCE, *self.extensions))
