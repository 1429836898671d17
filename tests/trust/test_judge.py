# SPDX-License-Identifier: Apache-2.0
"""Whose a certificate is under a signed roster; `test_chains` has the certificates that are wrong."""

from __future__ import annotations

import importlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from cloister.certificates import PrivateKey, identities, pem, startup_folder
from cloister.errors import CertificateError, DeniedError, ProvisioningError
from cloister.provisioning import Authority, publication
from cloister.provisioning.publication import publish
from cloister.provisioning.revoking import revoke
from cloister.roster import Federation
from cloister.trust import Trust, judge, read_roster
from cloister.trust.judge import judge_pem
from tests.provisioning.world import PERSON, SERVER, SITE, federation, identity

EVERYBODY = (SERVER, SITE, PERSON)


def trust_of(authority: Authority, roster: Federation, now: datetime) -> Trust:
    return read_roster(publish(authority, roster, now), authority.roots)


def certificate_of(state: Path, roster: Federation, name: str) -> x509.Certificate:
    return pem.read_certificate(next(startup_folder(state, identity(roster, name)).glob("*.crt")))


def another(authority: Authority, roster: Federation, name: str, key: PrivateKey, now: datetime) -> x509.Certificate:
    """A certificate that the authority signs for the same entry."""
    who = identity(roster, name)
    return pem.parse_certificate(authority.sign(key.request(who), who, timedelta(days=30), now), "it")


def refusal(certificate: x509.Certificate, trust: Trust, now: datetime) -> str:
    with pytest.raises(CertificateError) as caught:
        judge(certificate, trust, now)
    assert isinstance(caught.value, DeniedError)
    assert caught.value.message.isprintable()
    return str(caught.value)


def test_everybody_is_who_the_roster_says(state: Path, authority: Authority, roster: Federation, now: datetime) -> None:
    trust = trust_of(authority, roster, now)
    for each in identities(roster):
        assert judge(certificate_of(state, roster, each.name), trust, now) == each
        assert judge_pem(pem.certificate_pem(certificate_of(state, roster, each.name)), trust, now) == each


def test_a_stale_roster_still_says_who_is_who(
    state: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    trust, later = trust_of(authority, roster, now), now + timedelta(days=100)
    assert trust.is_stale(later)
    assert judge(certificate_of(state, roster, SITE), trust, later) == identity(roster, SITE)


@pytest.mark.parametrize("name", EVERYBODY)
def test_time_is_told(state: Path, authority: Authority, roster: Federation, now: datetime, name: str) -> None:
    trust, certificate = trust_of(authority, roster, now), certificate_of(state, roster, name)
    late = certificate.not_valid_after_utc + timedelta(seconds=1)
    assert f"the certificate of `{name}` expired on {certificate.not_valid_after_utc:%Y-%m-%d}" in refusal(
        certificate, trust, late
    )
    assert f"the certificate of `{name}` is not valid before" in refusal(certificate, trust, now - timedelta(days=1))


@pytest.mark.parametrize("name", EVERYBODY)
def test_why_somebody_was_revoked_is_told(
    state: Path, authority: Authority, roster: Federation, now: datetime, name: str
) -> None:
    certificate = certificate_of(state, roster, name)
    revoke(authority, name, "a stolen disk", now)
    said = refusal(certificate, trust_of(authority, roster, now), now)
    assert f"the certificate of `{name}` was revoked on {now:%Y-%m-%d}" in said
    assert "a stolen disk" in said
    # Everybody else goes on.
    trust = trust_of(authority, roster, now)
    assert [judge(certificate_of(state, roster, each), trust, now).name for each in EVERYBODY if each != name]


def test_somebody_off_the_roster_is_nobody(
    state: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    """The certificate is the authority's, in order and in time."""
    smaller = federation(sites=({"name": "bank-oak", "organisation": "oak"},))
    trust = trust_of(authority, smaller, now)
    said = refusal(certificate_of(state, roster, SITE), trust, now)
    assert said == f"the certificate of `{SITE}` names somebody who is not in the roster (see version 2 of the roster)"


@pytest.mark.parametrize("name", [SITE, PERSON])
def test_another_serial_than_was_issued_for_the_entry_is_refused(
    authority: Authority, roster: Federation, keys: tuple[PrivateKey, ...], now: datetime, name: str
) -> None:
    trust = trust_of(authority, roster, now)
    unlisted = another(authority, roster, name, keys[0], now)
    assert f"has the serial number {unlisted.serial_number:x}, which was not issued for that entry" in refusal(
        unlisted, trust, now
    )
    assert judge(unlisted, trust_of(authority, roster, now), now).name == name, "listed, it counts"


def test_the_servers_alone_may_be_newer_than_the_roster_and_not_older(
    authority: Authority, roster: Federation, keys: tuple[PrivateKey, ...], now: datetime
) -> None:
    trust = trust_of(authority, roster, now)
    later = now + timedelta(hours=1)
    assert judge(another(authority, roster, SERVER, keys[0], later), trust, later).name == SERVER
    for name in (SITE, PERSON):
        assert "not issued for that entry" in refusal(another(authority, roster, name, keys[0], later), trust, later)
    earlier = another(authority, roster, SERVER, keys[1], now - timedelta(minutes=4))
    assert "not issued for that entry" in refusal(earlier, trust, now)


def test_another_entrys_pin_does_not_count(
    state: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    trust = trust_of(authority, roster, now)
    swapped = Trust(**{**vars(trust), "pins": {SITE: trust.pins[PERSON], PERSON: trust.pins[SITE]}})
    for name in (SITE, PERSON):
        assert "not issued for that entry" in refusal(certificate_of(state, roster, name), swapped, now)
    without = Trust(**{**vars(trust), "pins": {}})
    assert "not issued for that entry" in refusal(certificate_of(state, roster, SITE), without, now)


def test_an_authority_of_the_same_name_is_another(
    other_authority: Authority, authority: Authority, roster: Federation, keys: tuple[PrivateKey, ...], now: datetime
) -> None:
    trust = trust_of(authority, roster, now)
    assert "was signed by" in refusal(another(other_authority, roster, SITE, keys[1], now), trust, now)
    assert "was signed by itself" in refusal(other_authority.certificate, trust, now)
    assert refusal(authority.certificate, trust, now), "the authority itself is nobody who may connect"


@pytest.mark.parametrize("what", [b"", b"nonsense", b"\xff" * 99, b" " * (1 << 17)])
def test_what_is_no_certificate_is_refused(
    state: Path, authority: Authority, roster: Federation, now: datetime, what: bytes
) -> None:
    trust = trust_of(authority, roster, now)
    with pytest.raises(CertificateError):
        judge_pem(what, trust, now)
    good = pem.certificate_pem(certificate_of(state, roster, SITE))
    with pytest.raises(CertificateError):
        judge_pem(good + good, trust, now)


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (RuntimeError("Ada Lovelace"), "the certificate cannot be judged"),
        (ProvisioningError("no names"), "the certificate cannot be judged: no names"),
    ],
)
def test_a_gate_that_stumbles_refuses(
    state: Path,
    authority: Authority,
    roster: Federation,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    words: str,
) -> None:
    def stumble(*_arguments: object) -> None:
        raise raised

    trust, certificate = trust_of(authority, roster, now), certificate_of(state, roster, SITE)
    for module, name in ((importlib.import_module("cloister.trust.judge"), "objections"), (pem, "damage")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, stumble)
            assert refusal(certificate, trust, now) == words


def test_the_record_of_what_was_issued_is_what_counts(authority: Authority, roster: Federation, now: datetime) -> None:
    """A signature that got out of the authority by a side door is in no record, and so in no roster."""
    trust = trust_of(authority, roster, now)
    recorded = {pem.fingerprint(each) for each in authority.issued()}
    assert set().union(*trust.pins.values()) <= recorded
    assert publication.latest_version(authority.folder) == trust.version
