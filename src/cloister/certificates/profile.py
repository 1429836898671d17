# SPDX-License-Identifier: Apache-2.0
"""What each certificate says, bit by bit (RFC 5280), as a function of the roster alone.

| | authority | server | site | person |
|---|---|---|---|---|
| basicConstraints, critical (4.2.1.9) | CA, pathlen 0 | no CA | no CA | no CA |
| keyUsage, critical (4.2.1.3) | keyCertSign, cRLSign, digitalSignature | as person | as person | digitalSignature |
| extendedKeyUsage (4.2.1.12) | none | serverAuth, clientAuth | clientAuth | clientAuth |
| subjectAltName (4.2.1.6) | none | its hosts | DNS: its name | mail: its name |

The authority's digitalSignature signs the roster; one that was made before rosters were signed lacks it and stays an
authority. A leaf's digitalSignature signs TLS handshakes, NVFlare's identity challenges and jobs. keyEncipherment is
left out: it would allow TLS key exchange without forward secrecy, and NVFlare's own message encryption, which would
need it, has room for RSA-2048 only. The server also dials itself (job processes to their parent), hence its clientAuth.
NVFlare reads the common name as name, `O` as organisation and `unstructuredName` (PKCS #9, RFC 2985 5.4.1) as role.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from cloister.certificates.identity import Identity
from cloister.errors import ProvisioningError

# Holds a space, which no organisation in a roster may, so that no leaf can bear the authority's name and so count as
# self-issued (RFC 5280, 3.2).
_AUTHORITY_ORGANISATION = "certificate authority"
CLOCK_SKEW = timedelta(minutes=5)
"""How long before it is signed a certificate begins."""

_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
KEY_IDENTIFIERS = frozenset({ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER})
"""What follows from the keys, and so is none of the roster's business."""

Extension = tuple[x509.ExtensionType, bool]


def subject(identity: Identity) -> x509.Name:
    """The name of ``identity`` as NVFlare reads it."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, identity.name)]
    if identity.organisation:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.organisation))
    if identity.role is not None:
        attributes.append(x509.NameAttribute(NameOID.UNSTRUCTURED_NAME, identity.role.value))
    return x509.Name(attributes)


def authority_subject(federation: str) -> x509.Name:
    """The name of the authority of the federation called ``federation``."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, federation),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _AUTHORITY_ORGANISATION),
        ]
    )


def leaf_extensions(identity: Identity) -> tuple[Extension, ...]:
    """Everything that the roster decides in the certificate of ``identity``; each with whether it is critical.

    Raises:
        ProvisioningError: if a host of the server is neither a DNS name nor an IP address.
    """
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.kind == "server":
        purposes.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage(purposes), False),
        # Not critical, because the subject is not empty (RFC 5280, 4.2.1.6).
        (x509.SubjectAlternativeName(alternative_names(identity)), False),
    )


def root_extensions() -> tuple[Extension, ...]:
    """What makes the authority an authority, and one that can make no further ones."""
    return (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True), True),
    )


def _earlier_root_extensions() -> tuple[Extension, ...]:
    return (root_extensions()[0], (_key_usage(key_cert_sign=True, crl_sign=True), True))


def alternative_names(identity: Identity) -> list[x509.GeneralName]:
    """The names that TLS checks: hosts for the server, the name itself for a site (DNS) or a person (mail address)."""
    if identity.kind == "server":
        return [_host(host) for host in identity.hosts]
    if identity.kind == "site":
        return [x509.DNSName(identity.name)]
    return [x509.RFC822Name(identity.name)]


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    name = host.lower()
    # A last label of digits alone is a mistyped address (WHATWG URL, host parsing: "ends in a number").
    if not _DNS_NAME.fullmatch(name) or name.rpartition(".")[2].isdigit():
        hint = "give the name or address alone, without port or scheme"
        raise ProvisioningError(f"server host `{host}` is neither a DNS name nor an IP address", hint=hint)
    return x509.DNSName(name)


def _key_usage(**allowed: bool) -> x509.KeyUsage:
    denied = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**denied, **allowed})


def root_builder(federation: str, key: rsa.RSAPublicKey, days: int, now: datetime) -> x509.CertificateBuilder:
    """The authority's own certificate, to be signed with the key that belongs to ``key``."""
    begin = now.replace(microsecond=0)
    name = authority_subject(federation)
    builder = _builder(name, name, key).not_valid_before(begin - CLOCK_SKEW)
    return _extended(builder.not_valid_after(begin + timedelta(days=days)), root_extensions(), key, key)


def leaf_builder(
    identity: Identity, key: rsa.RSAPublicKey, issuer: x509.Certificate, lifetime: timedelta, now: datetime
) -> x509.CertificateBuilder:
    """The certificate of ``identity``, within the validity of ``issuer``.

    It begins five minutes back, so that a holder whose clock is a little slow can use it at once.

    Raises:
        ProvisioningError: if the issuer is not valid now.
    """
    begin = now.replace(microsecond=0)
    issuer_key = issuer.public_key()
    if not issuer.not_valid_before_utc <= begin < issuer.not_valid_after_utc:
        hint = "check this machine's clock; an expired authority must be replaced, with new certificates for everybody"
        days = f"{issuer.not_valid_before_utc:%Y-%m-%d} to {issuer.not_valid_after_utc:%Y-%m-%d}"
        raise ProvisioningError(f"the authority is valid from {days} and cannot sign now", hint=hint)
    if not isinstance(issuer_key, rsa.RSAPublicKey):
        raise ProvisioningError("the authority's key is not an RSA key")
    builder = _builder(subject(identity), issuer.subject, key)
    builder = builder.not_valid_before(max(begin - CLOCK_SKEW, issuer.not_valid_before_utc))
    builder = builder.not_valid_after(min(begin + lifetime, issuer.not_valid_after_utc))
    return _extended(builder, leaf_extensions(identity), key, issuer_key)


def _builder(name: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key)
    # Positive, at most 20 octets, 159 random bits (RFC 5280, 4.1.2.2).
    return builder.serial_number(x509.random_serial_number())


def _extended(
    builder: x509.CertificateBuilder, extensions: tuple[Extension, ...], key: rsa.RSAPublicKey, issuer: rsa.RSAPublicKey
) -> x509.CertificateBuilder:
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    # Never critical (RFC 5280, 4.2.1.1 and 4.2.1.2).
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)


def departures(certificate: x509.Certificate, identity: Identity) -> tuple[str, ...]:
    """Which parts of ``certificate`` say something else than the roster says of ``identity``; empty where none does."""
    # Compared as bytes, because two names in different encodings are equal as values.
    found = [] if certificate.subject.public_bytes() == subject(identity).public_bytes() else ["subject"]
    if certificate.version is not x509.Version.v3:
        found.insert(0, "version")
    granted = {value.oid: (value, critical) for value, critical in leaf_extensions(identity)}
    said = {each.oid: (each.value, each.critical) for each in certificate.extensions if each.oid not in KEY_IDENTIFIERS}
    different = [oid for oid in (granted | said) if granted.get(oid) != said.get(oid)]
    return tuple(found + [word(oid) for oid in different])


def key_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    """What ``certificate`` must call its own key."""
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())


def issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """What a certificate must call the key of ``issuer``.

    Raises:
        ProvisioningError: where that is not an RSA key.
    """
    key = issuer.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ProvisioningError("the authority's key is not an RSA key")
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def is_root(certificate: x509.Certificate) -> bool:
    """Whether ``certificate`` is an authority's: it says so, and its own key signed it."""
    said = {each.oid: (each.value, each.critical) for each in certificate.extensions}
    forms = (root_extensions(), _earlier_root_extensions())
    if not any(all(said.get(value.oid) == (value, critical) for value, critical in form) for form in forms):
        return False
    return is_issued_by(certificate, certificate)


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the key of ``issuer`` signed ``certificate`` and the names chain (RFC 5280, 6.1.3 a)."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - a gate: a signature that cannot be verified, for whatever reason, is none
        return False
    return True


def word(oid: x509.ObjectIdentifier) -> str:
    """What RFC 5280 calls the extension ``oid``, or its number."""
    return _WORDS.get(oid, oid.dotted_string)


_WORDS = {
    ExtensionOID.BASIC_CONSTRAINTS: "basicConstraints",
    ExtensionOID.KEY_USAGE: "keyUsage",
    ExtensionOID.EXTENDED_KEY_USAGE: "extendedKeyUsage",
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: "subjectAltName",
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: "subjectKeyIdentifier",
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: "authorityKeyIdentifier",
    ExtensionOID.NAME_CONSTRAINTS: "nameConstraints",
    ExtensionOID.CERTIFICATE_POLICIES: "certificatePolicies",
    ExtensionOID.CRL_DISTRIBUTION_POINTS: "cRLDistributionPoints",
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: "authorityInfoAccess",
}
