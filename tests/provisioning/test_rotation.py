# SPDX-License-Identifier: Apache-2.0
"""The authority hands over to its next generation: three steps, each taken again where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from cloister.certificates import identities, pem, startup_folder
from cloister.certificates.anchors import read_roots
from cloister.errors import ProvisioningError
from cloister.provisioning import Authority, hand_out, inspect, provision, rotation
from cloister.provisioning.authority import Generations
from cloister.provisioning.publication import latest_version, publish_if_needed
from cloister.provisioning.rotation import announce, finish, not_renewed, switch
from cloister.roster import Federation
from cloister.trust import judge, read_roster, trust_in_force
from tests.provisioning.world import PERSON, SERVER, SITE, drafts, private_keys

pytestmark = pytest.mark.usefixtures("pooled_keys")

EVERYBODY = (SERVER, SITE, PERSON)
Step = Callable[[Authority, Federation, datetime], Authority]


def kits_are_right(state: Path, roster: Federation, now: datetime) -> bool:
    """Whether everybody's kit, and their certificate under everybody's roster in force, is right."""
    folders = [startup_folder(state, each) for each in identities(roster)]
    for folder in folders:
        trust = trust_in_force(folder.parent)
        for each in folders:
            judge(pem.read_certificate(next(each.glob("*.crt"))), trust, now)
    return [line.problems for line in inspect(state, roster, now)] == [()] * 4


def test_the_three_steps(authority: Authority, roster: Federation, now: datetime) -> None:
    state, old = authority.folder.parent, authority.certificate
    first_keys = private_keys(state)

    both = announce(authority, roster, now)
    new = next(each for each in both.roots if each != old)
    assert (both.roots, both.certificate, both.stating) == ((old, new), old, old)
    assert new.subject == old.subject and new.public_key() != old.public_key()
    hand_out(both, roster, state, now)
    assert kits_are_right(state, roster, now)
    assert [each.created for each in provision(roster, state, now)] == [False] * 3, "nobody needs a new one yet"

    switched = switch(both, roster, now)
    assert (switched.roots, switched.certificate, switched.stating) == ((new, old), new, old)
    assert not_renewed(switched, roster, now) == EVERYBODY
    hand_out(switched, roster, state, now)
    assert kits_are_right(state, roster, now)
    with pytest.raises(ProvisioningError, match=f"{SERVER}, {SITE}, {PERSON} would be locked out"):
        finish(switched, roster, now)
    assert Authority.open(authority.folder).generations == Generations((1, 2), 2)

    for each in identities(roster):  # everybody renews, as a lost certificate does
        next(startup_folder(state, each).glob("*.crt")).unlink()
    assert [each.created for each in provision(roster, state, now)] == [True] * 3
    assert not_renewed(Authority.open(authority.folder), roster, now) == ()
    assert kits_are_right(state, roster, now)

    last = finish(Authority.open(authority.folder), roster, now)
    assert (last.roots, last.certificate, last.stating) == ((new,), new, new)
    hand_out(last, roster, state, now)
    assert kits_are_right(state, roster, now)
    for each in identities(roster):
        assert read_roots(startup_folder(state, each) / "rootCA.pem") == (new,)
    assert first_keys.items() <= private_keys(state).items(), "nobody's key was touched"
    assert drafts(state) == []


def test_a_second_handover_follows_the_first(authority: Authority, roster: Federation, now: datetime) -> None:
    for number in (2, 3):
        both = announce(Authority.open(authority.folder), roster, now)
        assert both.generations == Generations((number - 1, number), number - 1)
        finish(switch(both, roster, now), roster, now, anyway=True)
    assert Authority.open(authority.folder).generations == Generations((3,), 3)
    assert sorted(path.name for path in (authority.folder / "generations").iterdir()) == ["2", "3"]


def test_steps_out_of_their_order_are_refused(authority: Authority, roster: Federation, now: datetime) -> None:
    with pytest.raises(ProvisioningError, match="the authority is not handing over"):
        switch(authority, roster, now)
    with pytest.raises(ProvisioningError, match="the next authority does not sign yet"):
        finish(authority, roster, now, anyway=True)
    both = announce(authority, roster, now)
    with pytest.raises(ProvisioningError, match="the next authority does not sign yet"):
        finish(both, roster, now, anyway=True)
    switched = switch(both, roster, now)
    with pytest.raises(ProvisioningError, match="the authority is handing over already"):
        announce(switched, roster, now)
    assert Authority.open(authority.folder).generations == Generations((1, 2), 2)


def test_a_step_taken_twice_changes_nothing_but_the_rosters_version(
    authority: Authority, roster: Federation, now: datetime
) -> None:
    both = announce(authority, roster, now)
    keys = private_keys(authority.folder)
    again = announce(both, roster, now)
    assert (again.roots, again.generations) == (both.roots, both.generations)
    switched = switch(again, roster, now)
    assert switch(switched, roster, now).generations == switched.generations == Generations((1, 2), 2)
    assert private_keys(authority.folder) == keys


STEPS: list[Step] = [announce, switch, lambda *given: finish(*given, anyway=True)]


@pytest.mark.parametrize("interrupted", [0, 1, 2])
@pytest.mark.parametrize("before", ["make_generation", "write_generations", "publish"])
def test_an_interrupted_step_is_taken_again(
    authority: Authority,
    roster: Federation,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    interrupted: int,
    before: str,
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    standing = authority
    for step in STEPS[:interrupted]:
        standing = step(standing, roster, now)
    generations, version = standing.generations, latest_version(authority.folder)
    reached = before != "make_generation" or interrupted == 0
    if reached:
        with monkeypatch.context() as patch, pytest.raises((ProvisioningError, OSError)):
            patch.setattr(rotation, before, full)
            STEPS[interrupted](standing, roster, now)
    after = Authority.open(authority.folder)
    assert latest_version(authority.folder) == version
    if before == "publish":
        # What counts has changed, and the next roster that anybody asks for says so.
        trust = read_roster(publish_if_needed(after, roster, now), after.roots)
        assert set(trust.anchors.roots) == set(after.roots)
        assert trust.version == version + 1
        assert after.generations != generations
    else:
        assert after.generations == generations
        after = STEPS[interrupted](after, roster, now)
    for step in STEPS[interrupted + 1 :]:
        after = step(after, roster, now)
    assert Authority.open(authority.folder).generations == Generations((2,), 2)
    assert drafts(authority.folder) == []


def test_without_a_key_nothing_is_handed_over(authority: Authority, roster: Federation, now: datetime) -> None:
    key = authority.folder / "authority.key"
    key.rename(authority.folder.parent / "vault.key")
    with pytest.raises(ProvisioningError, match=r"the authority's key .* is not here"):
        announce(Authority.open(authority.folder), roster, now)
    (authority.folder.parent / "vault.key").rename(key)
    assert switch(Authority.open(authority.folder), roster, now).generations == Generations((1, 2), 2)


def test_another_federations_authority_is_not_handed_over(
    authority: Authority, roster: Federation, now: datetime
) -> None:
    elsewhere = roster.model_copy(update={"federation": "elsewhere"})
    for step in STEPS:
        with pytest.raises(ProvisioningError, match="is not that of the federation `elsewhere`"):
            step(authority, elsewhere, now)
    assert Authority.open(authority.folder).generations == Generations()
    assert not (authority.folder / "generations").exists()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{}", b"\xff", b'{"trusted": [1, 1]}', b'{"trusted": [], "signing": 1}'),
        *(b'{"trusted": [1], "signing": 2}', b'{"trusted": [1, 2, 3], "signing": 1}'),
        *(b'{"trusted": [1, 1], "signing": 1}', b'{"trusted": 1, "signing": 1}'),
    ],
)
def test_a_damaged_word_on_who_counts_is_refused(authority: Authority, content: bytes) -> None:
    (authority.folder / "generations.json").write_bytes(content)
    with pytest.raises(ProvisioningError, match=r"generations\.json`"):
        Authority.open(authority.folder)


def test_a_revoked_or_ended_certificate_is_no_reason_to_wait(
    authority: Authority, roster: Federation, now: datetime
) -> None:
    switched = switch(announce(authority, roster, now), roster, now)
    assert not_renewed(switched, roster, now) == EVERYBODY
    assert not_renewed(switched, roster, now + timedelta(days=181)) == (SERVER, SITE)
    assert not_renewed(switched, roster, now + timedelta(days=366)) == ()


@pytest.mark.parametrize("step", [announce, switch, finish])
def test_a_step_that_another_command_overtook_trusts_nobody_again(
    authority: Authority, roster: Federation, now: datetime, step: Step
) -> None:
    """Two terminals: what the slower one read is no longer so, and it may not write it back."""
    slower = announce(authority, roster, now)
    switched = switch(slower, roster, now)
    faster = finish(switched, roster, now, anyway=True)
    late = partial(finish, switched, anyway=True) if step is finish else partial(step, slower)
    with pytest.raises(ProvisioningError, match="another command has changed which authority counts"):
        late(federation=roster, now=now)
    assert Authority.open(authority.folder).roots == faster.roots
