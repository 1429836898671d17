# SPDX-License-Identifier: Apache-2.0
"""What a signing request may ask for: exactly what the roster grants, or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from cloister.certificates import PrivateKey, pem, profile
from cloister.errors import ProvisioningError
from cloister.provisioning import Authority
from cloister.provisioning.granting import grant
from cloister.roster import Federation
from tests.provisioning.world import PERSON, SITE, federation, identity

YEAR = timedelta(days=365)
Builder = x509.CertificateSigningRequestBuilder


@pytest.fixture(scope="module")
def authority(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for all of these tests; it only ever gains records."""
    folder = tmp_path_factory.mktemp("requests") / "authority"
    return Authority.open(Path(shutil.copytree(pristine / "authority", folder)))


@pytest.fixture
def rsa_key(rsa_keys: tuple[rsa.RSAPrivateKey, ...]) -> rsa.RSAPrivateKey:
    return rsa_keys[0]


def name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def request(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, builder: Builder) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def refuse(authority: Authority, roster: Federation, csr: bytes, now: datetime, words: str, who: str = SITE) -> None:
    before = sorted((authority.folder / "issued").iterdir())
    with pytest.raises(ProvisioningError, match=words):
        authority.sign(csr, identity(roster, who), YEAR, now)
    assert sorted((authority.folder / "issued").iterdir()) == before


def test_a_signed_request_gets_the_rosters_words(
    authority: Authority, roster: Federation, keys: tuple[PrivateKey, ...], now: datetime
) -> None:
    person = identity(roster, PERSON)
    signed = pem.parse_certificate(authority.sign(keys[0].request(person), person, YEAR, now), "it")
    assert profile.departures(signed, person) == ()
    assert signed.public_key() == keys[0].public_key
    record = authority.folder / "issued" / f"{signed.serial_number:040x}.pem"
    assert pem.read_certificate(record) == signed
    assert record.stat().st_mode & 0o777 == 0o600


def test_a_request_with_the_name_alone_gets_the_rosters_words(
    authority: Authority, roster: Federation, rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    person = identity(roster, PERSON)
    csr = request(rsa_key, Builder(name((NameOID.COMMON_NAME, PERSON))))
    signed = pem.parse_certificate(authority.sign(csr, person, YEAR, now), "it")
    assert signed.subject == profile.subject(person)


def test_a_request_that_asks_for_what_it_is_granted_is_signed(
    authority: Authority, roster: Federation, rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    site = identity(roster, SITE)
    builder = Builder(profile.subject(site))
    for value, critical in profile.leaf_extensions(site):
        builder = builder.add_extension(value, critical)
    signed = pem.parse_certificate(authority.sign(request(rsa_key, builder), site, YEAR, now), "it")
    assert profile.departures(signed, site) == ()


SITE_NAME = (NameOID.COMMON_NAME, SITE)
REFUSED_SUBJECTS = {
    "is for `bank-oak`": [(NameOID.COMMON_NAME, "bank-oak")],
    "gives 2 common names": [SITE_NAME, (NameOID.COMMON_NAME, "bank-oak")],
    "gives 0 common names": [(NameOID.ORGANIZATION_NAME, "northfield")],
    "asks for `O=institute`": [SITE_NAME, (NameOID.ORGANIZATION_NAME, "institute")],
    "asks for `.*=it-admin`": [SITE_NAME, (NameOID.UNSTRUCTURED_NAME, "it-admin")],
    "asks for `OU=root`": [SITE_NAME, (NameOID.ORGANIZATIONAL_UNIT_NAME, "root")],
    r"is for `hospital-north\\x1b\[2J`": [(NameOID.COMMON_NAME, f"{SITE}\x1b[2J")],
}


@pytest.mark.parametrize("words", REFUSED_SUBJECTS)
def test_other_names_are_refused(
    authority: Authority, roster: Federation, rsa_key: rsa.RSAPrivateKey, now: datetime, words: str
) -> None:
    refuse(authority, roster, request(rsa_key, Builder(name(*REFUSED_SUBJECTS[words]))), now, words)


def test_a_person_does_not_choose_the_role(
    authority: Authority, roster: Federation, rsa_key: rsa.RSAPrivateKey, now: datetime
) -> None:
    csr = request(rsa_key, Builder(name((NameOID.COMMON_NAME, PERSON), (NameOID.UNSTRUCTURED_NAME, "it-admin"))))
    refuse(authority, roster, csr, now, "it-admin.*which the roster does not say", PERSON)


REFUSED_EXTENSIONS: dict[str, x509.ExtensionType] = {
    "asks to be an authority": x509.BasicConstraints(ca=True, path_length=None),
    "`keyUsage`": x509.KeyUsage(True, False, True, False, False, True, True, False, False),
    "`extendedKeyUsage`": x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]),
    "`subjectAltName`": x509.SubjectAlternativeName([x509.DNSName("bank-oak")]),
    "`1.3.6.1.5.5.7.1.24`": x509.TLSFeature([x509.TLSFeatureType.status_request]),
}


@pytest.mark.parametrize("words", REFUSED_EXTENSIONS)
def test_other_extensions_are_refused(
    authority: Authority, roster: Federation, rsa_key: rsa.RSAPrivateKey, now: datetime, words: str
) -> None:
    builder = Builder(name(SITE_NAME)).add_extension(REFUSED_EXTENSIONS[words], critical=True)
    refuse(authority, roster, request(rsa_key, builder), now, words)


WEAK: dict[str, Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]] = {
    "is RSA-2048, and 3072 bits are the least": lambda: rsa.generate_private_key(65537, 2048),
    "is not an RSA key": lambda: ec.generate_private_key(ec.SECP384R1()),
}


@pytest.mark.parametrize("words", WEAK)
def test_weak_keys_are_refused(authority: Authority, roster: Federation, now: datetime, words: str) -> None:
    refuse(authority, roster, request(WEAK[words](), Builder(name(SITE_NAME))), now, words)


def test_a_request_signed_by_another_key_is_refused(
    authority: Authority, roster: Federation, keys: tuple[PrivateKey, ...], now: datetime
) -> None:
    site = identity(roster, SITE)
    honest = x509.load_pem_x509_csr(keys[0].request(site)).public_bytes(serialization.Encoding.DER)
    mine = x509.load_pem_x509_csr(keys[1].request(site)).public_bytes(serialization.Encoding.DER)
    # The same name, the victim's public key, the attacker's signature: all of one length, so DER stays DER.
    forged = x509.load_der_x509_csr(honest[:-384] + mine[-384:]).public_bytes(serialization.Encoding.PEM)
    refuse(authority, roster, forged, now, "not signed by the key that it carries")


@pytest.mark.parametrize("csr", [b"", b"hello", b"\xff" * 100, b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END"])
def test_what_is_no_request_is_refused(authority: Authority, roster: Federation, now: datetime, csr: bytes) -> None:
    refuse(authority, roster, csr, now, "not a certificate signing request")


def test_a_huge_request_is_refused_unread(authority: Authority, roster: Federation, now: datetime) -> None:
    refuse(authority, roster, b"x" * (1 << 20), now, "larger than 64 KiB")


def test_a_certificate_is_no_request(authority: Authority, roster: Federation, now: datetime) -> None:
    refuse(authority, roster, authority.certificate_pem, now, "not a certificate signing request")


def test_only_the_roster_opens_the_door(
    authority: Authority, roster: Federation, keys: tuple[PrivateKey, ...], now: datetime
) -> None:
    bigger = federation(sites=({"name": SITE, "organisation": "northfield"}, {"name": "rogue", "organisation": "x"}))
    csr = keys[0].request(identity(bigger, "rogue"))
    with pytest.raises(ProvisioningError, match="not in the roster"):
        grant(authority, roster, csr, (), now)
    signed = pem.parse_certificate(grant(authority, bigger, csr, (), now).certificate_pem, "it")
    assert profile.departures(signed, identity(bigger, "rogue")) == ()


def test_an_authority_signs_for_its_own_federation_only(
    authority: Authority, keys: tuple[PrivateKey, ...], now: datetime, tmp_path: Path
) -> None:
    other = federation(federation="elsewhere")
    with pytest.raises(ProvisioningError, match="is not that of the federation `elsewhere`"):
        grant(authority, other, keys[0].request(identity(other, SITE)), (), now)
