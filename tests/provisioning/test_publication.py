# SPDX-License-Identifier: Apache-2.0
"""Rosters as the authority signs them: when a new one is needed, what it says, and that no two share a version."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from cloister.certificates import PrivateKey, pem
from cloister.certificates.crl import revoked_serials
from cloister.errors import ProvisioningError
from cloister.provisioning import Authority, publication
from cloister.provisioning.publication import latest_roster, latest_version, publish, publish_if_needed
from cloister.provisioning.revoking import revoke
from cloister.roster import Federation
from cloister.trust import Trust, read_roster
from tests.provisioning.world import PERSON, SERVER, SITE, drafts, federation, identity, modes

DAY = timedelta(days=1)


def said(authority: Authority, content: bytes) -> Trust:
    return read_roster(content, authority.roots)


def signed_anew(authority: Authority, roster: Federation, name: str, now: datetime, days: int = 100) -> str:
    """Another certificate for the key that ``name`` has; returns its fingerprint."""
    who = identity(roster, name)
    key = PrivateKey.generate()
    return pem.fingerprint(pem.parse_certificate(authority.sign(key.request(who), who, days * DAY, now), "it"))


def test_nothing_is_signed_for_nothing(authority: Authority, roster: Federation, now: datetime) -> None:
    first = publish_if_needed(authority, roster, now)
    assert said(authority, first).version == latest_version(authority.folder) == 1
    # Neither at another time of its first half, nor where its key is not here.
    (authority.folder / "authority.key").unlink()
    again = Authority.open(authority.folder)
    assert publish_if_needed(again, roster, now + 44 * DAY) == first
    assert publish_if_needed(again, roster, now - timedelta(minutes=4)) == first
    assert latest_roster(again) == (first, said(authority, first))
    with pytest.raises(ProvisioningError, match=r"the authority's key .* is not here"):
        publish_if_needed(again, roster, now + 46 * DAY)


CHANGES: dict[str, Callable[[Authority, Federation, datetime], object]] = {
    "another certificate": lambda authority, roster, now: signed_anew(authority, roster, SITE, now),
    "one revoked": lambda authority, _roster, now: revoke(authority, SITE, "a stolen disk", now),
    "the record of one is gone": lambda authority, _roster, _now: min((authority.folder / "issued").iterdir()).unlink(),
    "the latest is damaged": lambda authority, _roster, _now: max((authority.folder / "rosters").iterdir()).write_bytes(
        b"{}"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("pooled_keys")
def test_what_is_no_longer_true_is_said_anew_and_once(
    authority: Authority, roster: Federation, now: datetime, change: str
) -> None:
    CHANGES[change](authority, roster, now)
    second = publish_if_needed(authority, roster, now)
    assert said(authority, second).version == 2
    assert publish_if_needed(authority, roster, now) == second
    assert latest_version(authority.folder) == 2


def test_another_document_is_said_anew(authority: Authority, roster: Federation, now: datetime) -> None:
    people = (
        {"name": PERSON, "organisation": "institute", "role": "data-scientist"},
        {"name": "bob@research.example", "organisation": "institute", "role": "it-admin"},
    )
    changed = federation(people=people)
    trust = said(authority, publish_if_needed(authority, changed, now))
    assert (trust.version, trust.federation) == (2, changed)
    assert "bob@research.example" not in trust.pins
    assert said(authority, publish_if_needed(authority, roster, now)).version == 3


@pytest.mark.parametrize(("moved", "version"), [(44, 1), (46, 2), (91, 2), (-1, 2)])
def test_in_its_second_half_or_after_a_clock_was_set_back_it_is_signed_anew(
    authority: Authority, roster: Federation, now: datetime, moved: int, version: int
) -> None:
    later = now + moved * DAY if moved > 0 else now - timedelta(minutes=6)
    assert said(authority, publish_if_needed(authority, roster, later)).version == version


@pytest.mark.usefixtures("pooled_keys")
def test_a_superseded_certificate_stays_pinned_until_it_ends_or_is_revoked(
    authority: Authority, roster: Federation, now: datetime
) -> None:
    (first,) = said(authority, publish(authority, roster, now)).pins[SITE]
    second = signed_anew(authority, roster, SITE, now, days=400)
    assert said(authority, publish(authority, roster, now)).pins[SITE] == {first, second}
    assert said(authority, publish(authority, roster, now + 366 * DAY)).pins[SITE] == {second}
    revoke(authority, SITE, "renewed", now, superseded=True, keep=second)
    assert said(authority, publish(authority, roster, now)).pins[SITE] == {second}
    assert SITE not in said(authority, publish(authority, roster, now + 500 * DAY)).pins


@pytest.mark.usefixtures("pooled_keys")
def test_only_what_the_roster_grants_is_pinned(authority: Authority, roster: Federation, now: datetime) -> None:
    """A certificate that says more than the entry, such as an earlier role, is nobody's."""
    moved = federation(sites=({"name": SITE, "organisation": "southfield"},))
    trust = said(authority, publish(authority, moved, now))
    assert set(trust.pins) == {SERVER, PERSON}
    there = signed_anew(authority, moved, SITE, now)
    assert said(authority, publish(authority, moved, now)).pins[SITE] == {there}
    assert there not in said(authority, publish(authority, roster, now)).pins[SITE]


def test_what_is_revoked_is_listed_until_a_day_after_its_end(
    authority: Authority, roster: Federation, now: datetime
) -> None:
    (revoked,) = revoke(authority, PERSON, "left", now)
    end = next(each for each in authority.issued() if each.serial_number == revoked.serial).not_valid_after_utc
    for moment, listed in ((now, True), (end, True), (end + DAY, True), (end + DAY + timedelta(seconds=1), False)):
        trust = said(authority, publish(authority, roster, moment))
        assert (revoked.serial in revoked_serials(trust.crls[0], authority.certificate)) is listed
        assert [each.name for each in trust.revocations] == ([PERSON] if listed else [])
        assert PERSON not in trust.pins


def test_the_lists_number_is_the_rosters_version(authority: Authority, roster: Federation, now: datetime) -> None:
    trust = said(authority, publish(authority, roster, now))
    (crl,) = (x509.load_pem_x509_crl(each) for each in trust.crls)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == trust.version == 2
    assert (crl.last_update_utc, crl.next_update_utc) == (trust.issued_at, trust.next_update)


def test_the_document_says_how_long_it_is_fresh(authority: Authority, now: datetime) -> None:
    trust = said(authority, publish(authority, federation(authority={"roster_days": 3}), now))
    assert trust.next_update - trust.issued_at == 3 * DAY


def test_another_federations_roster_is_not_signed(authority: Authority, now: datetime) -> None:
    with pytest.raises(ProvisioningError, match="is not that of the federation `elsewhere`"):
        publish(authority, federation(federation="elsewhere"), now)
    assert latest_version(authority.folder) == 1


def test_one_that_nobody_could_read_does_not_leave(
    authority: Authority, roster: Federation, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "MAXIMUM_BYTES", 1000)
    with pytest.raises(ProvisioningError, match="which nobody would read"):
        publish(authority, roster, now)
    assert latest_version(authority.folder) == 1


def test_a_damaged_record_of_a_revocation_stops_it(authority: Authority, roster: Federation, now: datetime) -> None:
    revoke(authority, SITE, "a stolen disk", now)
    (record,) = (authority.folder / "revoked").iterdir()
    record.write_bytes(record.read_bytes()[:-9])
    with pytest.raises(ProvisioningError, match="cannot be read"):
        publish_if_needed(authority, roster, now)
    assert latest_version(authority.folder) == 1, "what was revoked may not be forgotten"


def test_a_full_disk_leaves_no_half_of_one(
    authority: Authority, roster: Federation, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch, pytest.raises(ProvisioningError, match="no space left on device"):
        patch.setattr(pem, "write_once", full)
        publish(authority, roster, now)
    assert said(authority, publish(authority, roster, now)).version == 2
    assert drafts(authority.folder) == []
    assert modes(authority.folder / "rosters") == {".": 0o700, "00000001.json": 0o600, "00000002.json": 0o600}


def _publish_often(folder: Path, roster: Federation, now: datetime, times: int) -> None:
    for _ in range(times):
        publish(Authority.open(folder), roster, now)


@pytest.mark.slow
def test_two_processes_never_share_a_version(authority: Authority, roster: Federation, now: datetime) -> None:
    context = multiprocessing.get_context("fork")
    arguments = (authority.folder, roster, now, 4)
    processes = [context.Process(target=_publish_often, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    paths = sorted((authority.folder / "rosters").iterdir())
    assert [path.name for path in paths] == [f"{number:08d}.json" for number in range(1, 14)]
    assert [said(authority, path.read_bytes()).version for path in paths] == list(range(1, 14))
