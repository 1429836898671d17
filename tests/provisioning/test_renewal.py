# SPDX-License-Identifier: Apache-2.0
"""Renewal: asked with the key that counts, judged by the roster that lists the answer, put in place once."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from cloister.certificates import PrivateKey, pem, read_certificate
from cloister.envelope import seal, unseal
from cloister.errors import CertificateError, CloisterError, ProvisioningError
from cloister.file_lock import locked
from cloister.files import canonical_json
from cloister.provisioning import renewal
from cloister.provisioning.granting import grant_renewals, trust_of
from cloister.provisioning.publication import publish
from cloister.provisioning.renewal import (
    KIND,
    install_certificate,
    is_due,
    is_overdue,
    is_renewal,
    read_renewal,
    request_renewal,
)
from cloister.provisioning.revoking import revoke
from cloister.roster import Federation
from cloister.trust import take_up
from tests.provisioning.remote import Machine, authority_at, begin, machines
from tests.provisioning.world import PERSON, SITE

pytestmark = pytest.mark.usefixtures("pooled_keys")
HALF = timedelta(days=183)


@pytest.fixture
def place(tmp_path: Path, roster: Federation, now: datetime) -> Path:
    begin(tmp_path, roster, now)
    return tmp_path


@pytest.fixture
def site(place: Path, roster: Federation) -> Machine:
    return machines(place, roster)[SITE]


@pytest.fixture
def later(now: datetime) -> datetime:
    return now + timedelta(days=60)


def granted(place: Path, roster: Federation, request: bytes, now: datetime, name: str = SITE) -> bytes:
    """The certificate that the authority grants; the roster that lists it is taken up at the site."""
    authority = authority_at(place / "authority")
    found, refused = grant_renewals(authority, roster, {name: request}, now)
    if refused:
        raise refused[name]
    take_up(machines(place, roster)[SITE].workspace, publish(authority, roster, now))
    return found[name]


def test_when_it_is_due_and_overdue(site: Machine) -> None:
    certificate = read_certificate(site.paths.certificate)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    half, two_thirds = begin + (end - begin) / 2, begin + (end - begin) * 2 / 3
    second = timedelta(seconds=1)
    assert (is_due(certificate, half - second), is_due(certificate, half)) == (False, True)
    assert (is_overdue(certificate, two_thirds - second), is_overdue(certificate, two_thirds)) == (False, True)


@pytest.mark.parametrize("new_key", [True, False])
def test_a_renewal(place: Path, site: Machine, roster: Federation, later: datetime, new_key: bool) -> None:
    key, serial = site.paths.key.read_bytes(), site.works(later)
    request = request_renewal(site.workspace, site.identity, later, new_key=new_key)
    assert is_renewal(request)
    assert site.works(later) == serial
    certificate = granted(place, roster, request, later)
    assert install_certificate(site.workspace, site.identity, certificate, later)
    assert site.works(later) != serial
    assert (site.paths.key.read_bytes() != key) is new_key
    assert not install_certificate(site.workspace, site.identity, certificate, later)


def test_asking_again_gives_the_same_request(site: Machine, later: datetime) -> None:
    first = request_renewal(site.workspace, site.identity, later, new_key=True)
    assert request_renewal(site.workspace, site.identity, later + timedelta(days=1)) == first


def test_whoever_wants_a_new_key_after_all_asks_anew(site: Machine, later: datetime) -> None:
    first = request_renewal(site.workspace, site.identity, later, new_key=False)
    assert request_renewal(site.workspace, site.identity, later, new_key=True) != first


def test_a_key_that_is_old_changes_by_itself(
    place: Path, site: Machine, roster: Federation, now: datetime, later: datetime
) -> None:
    key = site.paths.key.read_bytes()
    install_certificate(
        site.workspace,
        site.identity,
        granted(place, roster, request_renewal(site.workspace, site.identity, later), later),
        later,
    )
    assert site.paths.key.read_bytes() == key
    much_later = now + timedelta(days=370)
    publishing = authority_at(place / "authority")
    take_up(site.workspace, publish(publishing, roster, much_later))
    request = request_renewal(site.workspace, site.identity, much_later)
    install_certificate(site.workspace, site.identity, granted(place, roster, request, much_later), much_later)
    assert site.paths.key.read_bytes() != key


def test_a_certificate_that_no_roster_lists_yet_is_not_put_in_place(
    place: Path, site: Machine, roster: Federation, later: datetime
) -> None:
    authority = authority_at(place / "authority")
    request = request_renewal(site.workspace, site.identity, later)
    found, _ = grant_renewals(authority, roster, {SITE: request}, later)
    with pytest.raises(CertificateError, match="issued"):
        install_certificate(site.workspace, site.identity, found[SITE], later)


def test_somebody_elses_certificate_is_not_put_in_place(
    place: Path, site: Machine, roster: Federation, later: datetime
) -> None:
    other = machines(place, roster)[PERSON]
    take_up(site.workspace, publish(authority_at(place / "authority"), roster, later))
    with pytest.raises(CertificateError, match="is not that of"):
        install_certificate(site.workspace, site.identity, other.paths.certificate.read_bytes(), later)


def test_a_certificate_for_a_key_that_is_not_here_is_refused(
    place: Path, site: Machine, roster: Federation, later: datetime, keys: tuple[PrivateKey, ...]
) -> None:
    request = request_renewal(site.workspace, site.identity, later, new_key=True)
    certificate = granted(place, roster, request, later)
    (site.workspace / "renewal" / "pending.key").unlink()
    if PrivateKey.load(site.paths.key).public_key != pem.parse_certificate(certificate, "new").public_key():
        with pytest.raises(ProvisioningError, match="no key that is here"):
            install_certificate(site.workspace, site.identity, certificate, later)
    site.works(later)


def test_an_older_certificate_does_not_come_back(
    place: Path, site: Machine, roster: Federation, later: datetime
) -> None:
    old = site.paths.certificate.read_bytes()
    certificate = granted(place, roster, request_renewal(site.workspace, site.identity, later), later)
    install_certificate(site.workspace, site.identity, certificate, later)
    assert not install_certificate(site.workspace, site.identity, old, later)
    assert site.paths.certificate.read_bytes() == certificate


def forged(site: Machine, roster: Federation, signer: Machine, **changes: object) -> bytes:
    """A request in the name of ``site`` that ``signer`` signs."""
    key = PrivateKey.load(site.paths.key)
    statement = {
        "federation": roster.federation,
        "name": site.identity.name,
        "csr": key.request(site.identity).decode(),
        "requested_at": 0,
    }
    certificate = read_certificate(signer.paths.certificate)
    return seal(KIND, canonical_json({**statement, **changes}), PrivateKey.load(signer.paths.key), certificate)


def test_nobody_renews_for_another(place: Path, site: Machine, roster: Federation, later: datetime) -> None:
    everybody = machines(place, roster)
    trust = trust_of(authority_at(place / "authority"), roster, later)
    with pytest.raises(CloisterError, match="in another name or federation"):
        read_renewal(forged(site, roster, everybody[PERSON]), trust, later)
    as_themselves = forged(site, roster, everybody[PERSON], name=PERSON)
    with pytest.raises(ProvisioningError, match="request is for"):
        read_renewal(as_themselves, trust, later)
    with pytest.raises(CloisterError, match="in another name or federation"):
        read_renewal(forged(site, roster, site, federation="other"), trust, later)
    with pytest.raises(CloisterError, match="does not say what one says"):
        read_renewal(forged(site, roster, site, more=1), trust, later)


def test_a_request_left_under_another_name_is_refused(
    place: Path, site: Machine, roster: Federation, later: datetime
) -> None:
    request = request_renewal(site.workspace, site.identity, later)
    with pytest.raises(ProvisioningError, match="was left as that of"):
        granted(place, roster, request, later, PERSON)


def test_whoever_was_revoked_renews_nothing(place: Path, site: Machine, roster: Federation, later: datetime) -> None:
    request = request_renewal(site.workspace, site.identity, later)
    authority = authority_at(place / "authority")
    revoke(authority, SITE, "stolen", later)
    publish(authority, roster, later)
    with pytest.raises(CertificateError, match="was revoked"):
        granted(place, roster, request, later)


def test_whoever_has_ended_renews_nothing(place: Path, site: Machine, roster: Federation, later: datetime) -> None:
    request = request_renewal(site.workspace, site.identity, later)
    with pytest.raises(CertificateError, match="expired"):
        granted(place, roster, request, later + timedelta(days=400))


def test_a_changed_request_is_refused(place: Path, site: Machine, roster: Federation, later: datetime) -> None:
    request = request_renewal(site.workspace, site.identity, later)
    value = json.loads(request)
    value["payload"] = value["payload"][:-8] + value["payload"][:8]
    with pytest.raises(CloisterError):
        granted(place, roster, canonical_json(value), later)
    assert unseal(KIND, request)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"payloadType": 1}', b"[" * 5000])
def test_what_is_no_request_for_renewal(content: bytes) -> None:
    assert not is_renewal(content)


def test_one_process_at_a_time_decides_and_writes(
    place: Path, site: Machine, roster: Federation, later: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The running site and `cloister renew` at once: one answer beside the key of another is neither."""
    certificate = granted(place, roster, request_renewal(site.workspace, site.identity, later, new_key=True), later)
    decide, held = renewal._is_newer, []

    def watched(new: x509.Certificate, path: Path, workspace: Path, now: datetime) -> bool:
        with pytest.raises(TimeoutError), locked(workspace / "renewal" / ".lock", 0):
            pass
        held.append(True)
        return decide(new, path, workspace, now)

    monkeypatch.setattr(renewal, "_is_newer", watched)
    assert install_certificate(site.workspace, site.identity, certificate, later) and held == [True]
