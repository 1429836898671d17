# SPDX-License-Identifier: Apache-2.0
"""Every bit of every kind of certificate."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from cloister.certificates import Identity, PrivateKey, pem, profile, startup_folder
from cloister.errors import ProvisioningError
from cloister.names import PersonName, SiteName
from cloister.provisioning import Authority
from cloister.roster import Federation, HostName, Role
from tests.provisioning.world import PERSON, SERVER, SITE, federation, identity

USAGES = {
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
}


def certificate(state: Path, roster: Federation, name: str) -> x509.Certificate:
    folder = startup_folder(state, identity(roster, name))
    return pem.read_certificate(folder / ("server.crt" if name == SERVER else "client.crt"))


def assert_usages(found: x509.Certificate, *allowed: str) -> None:
    extension = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert extension.critical
    assert {usage for usage in USAGES if getattr(extension.value, usage)} == set(allowed)


def assert_common(found: x509.Certificate, issuer: x509.Certificate) -> None:
    assert found.version is x509.Version.v3
    assert 0 < found.serial_number < 1 << 159
    assert isinstance(found.signature_hash_algorithm, hashes.SHA256)
    key = found.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert (key.key_size, key.public_numbers().e) == (3072, 65537)
    mine = found.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    theirs = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert not mine.critical
    assert not theirs.critical
    assert mine.value == x509.SubjectKeyIdentifier.from_public_key(key)
    issuer_identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert theirs.value.key_identifier == issuer_identifier.digest
    found.verify_directly_issued_by(issuer)


def assert_is_authority(found: x509.Certificate) -> None:
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert_usages(found, "key_cert_sign", "crl_sign", "digital_signature")
    assert len(found.extensions) == 4
    assert found.subject == found.issuer
    assert_common(found, found)


def assert_is_leaf(found: x509.Certificate, issuer: x509.Certificate, *purposes: x509.ObjectIdentifier) -> None:
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (False, None)
    assert_usages(found, "digital_signature")
    extended = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert not extended.critical
    assert set(extended.value) == set(purposes)
    assert len(found.extensions) == 6
    assert found.subject != found.issuer == issuer.subject
    assert_common(found, issuer)


def names(found: x509.Certificate) -> list[object]:
    extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not extension.critical
    return [(type(name), name.value) for name in extension.value]


def subject(found: x509.Certificate) -> list[tuple[x509.ObjectIdentifier, object]]:
    return [(attribute.oid, attribute.value) for attribute in found.subject]


def test_the_authority_is_an_authority_that_can_make_no_other(pristine: Path) -> None:
    authority = Authority.open(pristine / "authority").certificate
    assert_is_authority(authority)
    assert subject(authority) == [
        (NameOID.COMMON_NAME, "trial"),
        (NameOID.ORGANIZATION_NAME, "certificate authority"),
    ]
    assert not pem.read_certificate(pristine / "authority" / "authority.crt").issuer.get_attributes_for_oid(
        NameOID.UNSTRUCTURED_NAME
    )


def test_the_servers_certificate_serves_and_dials(pristine: Path, roster: Federation) -> None:
    found = certificate(pristine, roster, SERVER)
    authority = Authority.open(pristine / "authority").certificate
    assert_is_leaf(found, authority, ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    assert subject(found) == [(NameOID.COMMON_NAME, SERVER), (NameOID.ORGANIZATION_NAME, "institute")]
    assert names(found) == [
        (x509.DNSName, "localhost"),
        (x509.IPAddress, ipaddress.ip_address("127.0.0.1")),
        (x509.DNSName, "fl.research.example"),
    ]


def test_a_sites_certificate_only_dials(pristine: Path, roster: Federation) -> None:
    found = certificate(pristine, roster, SITE)
    assert_is_leaf(found, Authority.open(pristine / "authority").certificate, ExtendedKeyUsageOID.CLIENT_AUTH)
    assert subject(found) == [(NameOID.COMMON_NAME, SITE), (NameOID.ORGANIZATION_NAME, "northfield")]
    assert names(found) == [(x509.DNSName, SITE)]


def test_a_persons_certificate_only_dials_and_says_the_role(pristine: Path, roster: Federation) -> None:
    found = certificate(pristine, roster, PERSON)
    assert_is_leaf(found, Authority.open(pristine / "authority").certificate, ExtendedKeyUsageOID.CLIENT_AUTH)
    assert subject(found) == [
        (NameOID.COMMON_NAME, PERSON),
        (NameOID.ORGANIZATION_NAME, "institute"),
        (NameOID.UNSTRUCTURED_NAME, "data-scientist"),
    ]
    assert names(found) == [(x509.RFC822Name, PERSON)]


def test_lifetimes_come_from_the_document(pristine: Path, roster: Federation, now: datetime) -> None:
    begin, whole = timedelta(minutes=5), now.replace(microsecond=0)
    days = {SERVER: 365, SITE: 365, PERSON: 180}
    for name, count in days.items():
        found = certificate(pristine, roster, name)
        assert found.not_valid_before_utc == whole - begin
        assert found.not_valid_after_utc == whole + timedelta(days=count)
    root = Authority.open(pristine / "authority").certificate
    assert (root.not_valid_before_utc, root.not_valid_after_utc) == (whole - begin, whole + timedelta(days=3650))


def test_no_certificate_outlives_its_authority(state: Path, keys: tuple[PrivateKey, ...], now: datetime) -> None:
    authority = Authority.open(state / "authority")
    end = authority.certificate.not_valid_after_utc
    site = Identity(SITE, "northfield", "site")
    late = end - timedelta(days=3)
    signed = pem.parse_certificate(authority.sign(keys[0].request(site), site, timedelta(days=365), late), "it")
    assert signed.not_valid_after_utc == end
    # A clock set back must not make a certificate that begins before its authority.
    early = authority.certificate.not_valid_before_utc + timedelta(seconds=1)
    signed = pem.parse_certificate(authority.sign(keys[0].request(site), site, timedelta(days=365), early), "it")
    assert signed.not_valid_before_utc == authority.certificate.not_valid_before_utc
    for moment in (end, end + timedelta(days=1), now - timedelta(days=1)):
        with pytest.raises(ProvisioningError, match="cannot sign now"):
            authority.sign(keys[0].request(site), site, timedelta(days=365), moment)


@pytest.mark.parametrize("host", ["fl.example:8002", "10.0.0", "10.0.0.256", "a..b", "a-.example", "1::2::3"])
def test_a_host_that_cannot_be_certified_is_refused(host: str) -> None:
    roster = federation(server={"name": SERVER, "organisation": "institute", "host": host})
    with pytest.raises(ProvisioningError, match="neither a DNS name nor an IP address"):
        profile.leaf_extensions(identity(roster, SERVER))


@pytest.mark.parametrize("host", ["2001:db8::1", "192.0.2.7"])
def test_addresses_are_addresses_in_the_certificate(host: str) -> None:
    roster = federation(server={"name": SERVER, "organisation": "institute", "host": host})
    assert profile.alternative_names(identity(roster, SERVER)) == [x509.IPAddress(ipaddress.ip_address(host))]


_PERSON = st.from_regex(r"\A[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?@[a-z0-9][a-z0-9.-]{0,30}\Z")
_SITE = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_HOST = st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?\Z")


@given(person=_PERSON, site=_SITE, host=_HOST)
def test_every_name_that_a_roster_may_hold_can_be_certified_or_is_refused(person: str, site: str, host: str) -> None:
    for kind, value in ((PersonName, person), (HostName, host)):
        TypeAdapter(kind).validate_python(value)
    if site not in {"server", "client", "admin", "simulator", "all", "baseline"}:
        TypeAdapter(SiteName).validate_python(site)
    for each in (
        Identity(person, "o", "person", Role.IT_ADMIN),
        Identity(site, "o", "site"),
        Identity("s", "o", "server", hosts=(host,)),
    ):
        profile.subject(each)
        try:
            x509.SubjectAlternativeName(profile.alternative_names(each)).public_bytes()
        except ProvisioningError:
            assert each.kind == "server"


def test_no_roster_entry_can_bear_the_authoritys_name() -> None:
    adapter = TypeAdapter(Federation)
    with pytest.raises(ValueError, match="pattern"):
        adapter.validate_python(
            federation().model_dump() | {"sites": ({"name": "trial", "organisation": "certificate authority"},)}
        )
