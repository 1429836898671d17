# SPDX-License-Identifier: Apache-2.0
"""What the authority takes back, and that it is never forgotten."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from cloister.certificates import PrivateKey, pem
from cloister.errors import ProvisioningError, UsageError
from cloister.provisioning import Authority, inspect, provision
from cloister.provisioning.granting import grant
from cloister.provisioning.kit import Fault
from cloister.provisioning.revoking import live_certificates, revoke, revoked
from cloister.roster import Federation
from tests.provisioning.world import PERSON, SERVER, SITE, contents, identity, modes


def test_every_living_certificate_of_a_name_is_revoked_once(
    authority: Authority, roster: Federation, keys: tuple[PrivateKey, ...], now: datetime
) -> None:
    site = identity(roster, SITE)
    authority.sign(keys[0].request(site), site, timedelta(days=9), now)
    living = live_certificates(authority, SITE, now)
    assert len(living) == 2
    made = revoke(authority, SITE, "a stolen disk", now)
    assert {each.serial for each in made} == {each.serial_number for each in living}
    assert {(each.name, each.reason, each.superseded) for each in made} == {(SITE, "a stolen disk", False)}
    assert {each.fingerprint for each in made} == {pem.fingerprint(each) for each in living}
    assert set(revoked(authority.folder)) == set(made)
    assert live_certificates(authority, SITE, now) == ()
    before = contents(authority.folder)
    assert revoke(authority, SITE, "another reason", now + timedelta(days=1)) == ()
    assert contents(authority.folder) == before, "when and why it was revoked is not rewritten"
    assert [len(live_certificates(authority, name, now)) for name in (SERVER, PERSON)] == [1, 1]
    assert set(modes(authority.folder / "revoked").values()) == {0o700, 0o600}


def test_the_one_to_keep_is_kept(
    authority: Authority, roster: Federation, keys: tuple[PrivateKey, ...], now: datetime
) -> None:
    site = identity(roster, SITE)
    kept = pem.fingerprint(
        pem.parse_certificate(authority.sign(keys[0].request(site), site, timedelta(days=9), now), "it")
    )
    (made,) = revoke(authority, SITE, "renewed", now, superseded=True, keep=kept)
    assert made.superseded
    assert [pem.fingerprint(each) for each in live_certificates(authority, SITE, now)] == [kept]


def test_what_has_ended_and_who_is_unknown_is_not_revoked(authority: Authority, now: datetime) -> None:
    assert revoke(authority, "nobody", "why not", now) == ()
    assert revoke(authority, PERSON, "late", now + timedelta(days=181)) == ()
    assert revoked(authority.folder) == ()


def test_the_key_may_be_away(authority: Authority, now: datetime) -> None:
    (authority.folder / "authority.key").unlink()
    assert len(revoke(Authority.open(authority.folder), SITE, "a stolen disk", now)) == 1


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "a\x1b[31mcolour", "x" * 201])
def test_a_reason_is_one_line(authority: Authority, now: datetime, reason: str) -> None:
    with pytest.raises(UsageError, match="the reason is not one line"):
        revoke(authority, SITE, reason, now)
    assert revoked(authority.folder) == ()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"\xff", b'{"name": "x"}'])
def test_a_damaged_record_is_not_passed_over(authority: Authority, now: datetime, damage: bytes) -> None:
    revoke(authority, SITE, "a stolen disk", now)
    (path,) = (authority.folder / "revoked").iterdir()
    path.write_bytes(damage)
    for act in (lambda: revoked(authority.folder), lambda: revoke(authority, PERSON, "left", now)):
        with pytest.raises(ProvisioningError, match="cannot be read"):
            act()


def test_the_record_is_json_that_people_can_read(authority: Authority, now: datetime) -> None:
    (made,) = revoke(authority, SITE, "a stolen disk, 3 June", now)
    value = json.loads((authority.folder / "revoked" / f"{made.serial:040x}.json").read_bytes())
    assert value == {
        "name": SITE,
        "fingerprint": made.fingerprint,
        "reason": "a stolen disk, 3 June",
        "revoked_at": int(now.timestamp()),
        "superseded": False,
    }


def test_whoever_was_revoked_is_shown_so_and_stays_out_until_there_is_another_key(
    authority: Authority, roster: Federation, now: datetime
) -> None:
    """`cloister run` provisions before every job, and must not undo what somebody decided."""
    state = authority.folder.parent
    revoke(authority, SITE, "a stolen disk", now)
    for _ in range(2):
        made = provision(roster, state, now)
        assert [each.identity.name for each in made if each.revoked] == [SITE]
        assert [each.identity.name for each in made if each.created] == []
        assert {each.name: each.problems for each in inspect(state, roster, now) if each.problems} == {
            SITE: (Fault.REVOKED,)
        }
    (state / "sites" / SITE / "startup" / "client.key").unlink()
    assert [each.identity.name for each in provision(roster, state, now) if each.created] == [SITE]
    assert [each.problems for each in inspect(state, roster, now)] == [()] * 4


def test_a_revoked_key_is_certified_for_nobody(authority: Authority, roster: Federation, now: datetime) -> None:
    site = identity(roster, SITE)
    key = PrivateKey.load(authority.folder.parent / "sites" / SITE / "startup" / "client.key")
    csr = key.request(site)
    revoke(authority, SITE, "a stolen disk", now)
    for later in (now, now + timedelta(days=800)):
        with pytest.raises(ProvisioningError, match=f"the key of `{SITE}` was revoked") as refused:
            grant(authority, roster, csr, (), later)
        assert "init hospital-north --replace" in refused.value.hint
    person = identity(roster, PERSON)
    with pytest.raises(ProvisioningError, match="was revoked"):
        authority.sign(key.request(person), person, timedelta(days=9), now)


def test_a_key_whose_earlier_certificates_alone_were_taken_back_goes_on(
    authority: Authority, roster: Federation, now: datetime
) -> None:
    site = identity(roster, SITE)
    csr = PrivateKey.load(authority.folder.parent / "sites" / SITE / "startup" / "client.key").request(site)
    kept = pem.fingerprint(pem.parse_certificate(authority.sign(csr, site, timedelta(days=9), now), "it"))
    assert len(revoke(authority, SITE, "moved", now, superseded=True, keep=kept)) == 1
    assert authority.sign(csr, site, timedelta(days=9), now)
