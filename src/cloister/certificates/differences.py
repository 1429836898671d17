# SPDX-License-Identifier: Apache-2.0
"""What a certificate says otherwise than the roster, in words; `cloister.certificates.profile` decides whether."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloister.certificates import profile
from cloister.certificates.identity import Identity
from cloister.certificates.shown import shown

_MOST_SHOWN = 3
_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}
_PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}


def difference(certificate: x509.Certificate, identity: Identity) -> str:
    """The gravest difference between ``certificate`` and the roster's entry ``identity``, as the end of a sentence.

    Such as ``it is for the organisation `southfield```. Empty where there is none that has words of its own.
    """
    return next(_differences(certificate, identity), "")


def _differences(certificate: x509.Certificate, identity: Identity) -> Iterator[str]:
    if certificate.version is not x509.Version.v3:
        yield "it is of an old version of X.509, which says nothing of what it is for"
    if certificate.subject.public_bytes() != profile.subject(identity).public_bytes():
        yield _of_subject(certificate.subject, identity)
    granted = {value.oid: (value, critical) for value, critical in profile.leaf_extensions(identity)}
    said = {each.oid: each for each in certificate.extensions}
    for oid, (value, critical) in granted.items():
        if (found := said.get(oid)) is None:
            yield f"it has no {profile.word(oid)}"
        elif found.value != value:
            yield _of_extension(found.value, profile.word(oid))
        elif found.critical != critical:
            yield f"its {profile.word(oid)} is marked {'critical' if found.critical else 'not critical'}"
    for oid, other in said.items():
        if oid not in granted and oid not in profile.KEY_IDENTIFIERS:
            yield f"it has the {'critical ' if other.critical else ''}extension `{profile.word(oid)}`"


def _of_subject(name: x509.Name, identity: Identity) -> str:
    wanted = {each.oid: str(each.value) for each in profile.subject(identity)}
    words = {
        NameOID.COMMON_NAME: ("is of", "nobody"),
        NameOID.ORGANIZATION_NAME: ("is for the organisation", "no organisation"),
        NameOID.UNSTRUCTURED_NAME: ("grants the role", "no role"),
    }
    for oid, (verb, nothing) in words.items():
        found = [str(each.value) for each in name.get_attributes_for_oid(oid)]
        if found != ([wanted[oid]] if oid in wanted else []):
            return f"it {verb} {_listed(found)}" if found else f"it names {nothing}"
    for each in name:
        if each.oid not in wanted:
            return f"its subject also has {_listed([each.rfc4514_string()])}"
    return "its subject is spelt otherwise than the authority spells names"


def _of_extension(value: x509.ExtensionType, word: str) -> str:
    if isinstance(value, x509.BasicConstraints) and value.ca:
        return "it is an authority's"
    if isinstance(value, x509.KeyUsage):
        return f"it is for {_listed(each for key, each in _USAGES.items() if getattr(value, key))}"
    if isinstance(value, x509.ExtendedKeyUsage):
        return f"it is for {_listed(_PURPOSES.get(each, each.dotted_string) for each in value)}"
    if isinstance(value, x509.SubjectAlternativeName):
        return f"it is for {_listed(_general(each) for each in value)}"
    return f"its {word} says something else"


def _general(name: x509.GeneralName) -> str:
    kinds = {
        x509.DNSName: "DNS",
        x509.IPAddress: "IP",
        x509.RFC822Name: "mail",
        x509.UniformResourceIdentifier: "URI",
        x509.DirectoryName: "directory",
    }
    return f"{kinds.get(type(name), 'other')}:{name.value if type(name) in kinds else ''}"


def _listed(found: Iterable[str]) -> str:
    each = list(found)
    more = f" and {len(each) - _MOST_SHOWN} more" if len(each) > _MOST_SHOWN else ""
    return (", ".join(f"`{shown(one, 48)}`" for one in each[:_MOST_SHOWN]) or "nothing") + more
