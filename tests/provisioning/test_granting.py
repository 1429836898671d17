# SPDX-License-Identifier: Apache-2.0
"""What the authority answers to requests for renewal that come again and again."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey, pem
from cloister.envelope import seal
from cloister.errors import ProvisioningError, RefusedRequestError, SignatureError
from cloister.files import canonical_json
from cloister.provisioning import Authority
from cloister.provisioning.granting import MOST_LIVING, grant_renewals
from cloister.provisioning.publication import publish
from cloister.provisioning.renewal import KIND, read_renewal, request_renewal
from cloister.provisioning.revoking import live_certificates, revoke
from cloister.provisioning.rotation import announce, switch
from cloister.roster import Federation
from cloister.trust import trust_in_force
from tests.provisioning.world import SITE, identity


def asked(state: Path, at: object, roster: Federation) -> bytes:
    """A site's request for renewal that says it was made ``at``."""
    startup = state / "sites" / SITE / "startup"
    key = PrivateKey.load(startup / "client.key")
    csr = key.request(identity(roster, SITE)).decode()
    statement = {"federation": "trial", "name": SITE, "csr": csr, "requested_at": at}
    return seal(KIND, canonical_json(statement), key, pem.read_certificate(startup / "client.crt"))


def answer(authority: Authority, roster: Federation, request: bytes, now: datetime) -> str:
    """The certificate's fingerprint, or why there is none."""
    granted, refused = grant_renewals(authority, roster, {SITE: request}, now)
    publish(authority, roster, now)
    return str(refused[SITE]) if refused else pem.fingerprint(pem.parse_certificate(granted[SITE], "it"))


def test_a_request_that_is_sent_again_gets_the_same_certificate(
    authority: Authority, roster: Federation, state: Path, now: datetime
) -> None:
    """A server, or whoever carries letters, can send an old request at any time; so can who never got the answer."""
    request = request_renewal(state / "sites" / SITE, identity(roster, SITE), now)
    later = now + timedelta(hours=1)
    first = answer(authority, roster, request, later)
    assert {answer(authority, roster, request, later + timedelta(days=day)) for day in range(60)} == {first}
    assert len(live_certificates(authority, SITE, later)) == 2


def test_who_asks_again_later_gets_another_one(
    authority: Authority, roster: Federation, state: Path, now: datetime
) -> None:
    found = set()
    for day in range(3):
        at = now + timedelta(days=day)
        found.add(answer(authority, roster, asked(state, int(at.timestamp()), roster), at + timedelta(seconds=2)))
    assert len(found) == 3


def test_an_answer_whose_half_is_over_or_by_the_outgoing_authority_is_none(
    authority: Authority, roster: Federation, state: Path, now: datetime
) -> None:
    request = asked(state, int(now.timestamp()), roster)
    first = answer(authority, roster, request, now + timedelta(hours=1))
    due = now + timedelta(days=183)
    assert (second := answer(authority, roster, request, due)) != first
    following = switch(announce(authority, roster, due), roster, due)
    assert answer(following, roster, request, due) not in (first, second)


def test_nobody_fills_the_roster_with_certificates(
    authority: Authority, roster: Federation, state: Path, now: datetime
) -> None:
    """A roster of more than a megabyte could not be published, and then nobody could be revoked."""
    said = [answer(authority, roster, asked(state, int(now.timestamp()) + 10**6 + n, roster), now) for n in range(20)]
    assert len({each for each in said if "gets no more" not in each}) == MOST_LIVING - 1
    assert said[-1].startswith(f"`{SITE}` has {MOST_LIVING} certificates that have not ended, and gets no more")
    newest = pem.fingerprint(live_certificates(authority, SITE, now)[-1])
    assert len(revoke(authority, SITE, "too many", now, superseded=True, keep=newest)) == MOST_LIVING - 1


@pytest.mark.parametrize("at", [10**30, -(10**30), 1.5, "now", None, True])
def test_a_request_made_at_no_time_is_refused(roster: Federation, state: Path, now: datetime, at: object) -> None:
    trust = trust_in_force(state / "sites" / SITE)
    with pytest.raises(SignatureError, match=r"no time that there is|does not say what one says"):
        read_renewal(asked(state, at, roster), trust, now)


def test_what_was_revoked_counts_before_the_roster_says_it(
    authority: Authority, roster: Federation, state: Path, now: datetime
) -> None:
    """`revoke` may be killed between its record and its roster; whoever has the key then asks for the next one."""
    request = request_renewal(state / "sites" / SITE, identity(roster, SITE), now, new_key=True)
    revoke(authority, SITE, "a stolen disk", now)
    granted, refused = grant_renewals(authority, roster, {SITE: request}, now)
    assert granted == {} and "was revoked" in str(refused[SITE])


def test_without_the_authoritys_key_no_request_is_refused(
    authority: Authority, roster: Federation, state: Path, now: datetime
) -> None:
    request = request_renewal(state / "sites" / SITE, identity(roster, SITE), now)
    key = authority.folder / "authority.key"
    key.rename(key.with_suffix(".away"))
    with pytest.raises(ProvisioningError, match="is not here"):
        grant_renewals(Authority.open(authority.folder), roster, {SITE: request}, now)


def test_a_disk_that_is_full_refuses_nobody(
    authority: Authority, roster: Federation, state: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_renewal(state / "sites" / SITE, identity(roster, SITE), now, new_key=True)

    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch, pytest.raises(ProvisioningError, match="cannot write"):
        patch.setattr("cloister.certificates.pem.write_once", full)
        grant_renewals(authority, roster, {SITE: request}, now)


def test_a_revocation_that_comes_between_judging_and_signing_counts(
    authority: Authority, roster: Federation, state: Path, now: datetime
) -> None:
    site = identity(roster, SITE)
    request = request_renewal(state / "sites" / SITE, site, now, new_key=True)
    renewal = read_renewal(request, trust_in_force(state / "sites" / SITE), now)
    revoke(authority, SITE, "a stolen disk", now)
    with pytest.raises(RefusedRequestError, match="asks was revoked"):
        authority.sign(renewal.csr_pem, site, timedelta(days=1), now, asked_with=renewal.asked_with)
