# SPDX-License-Identifier: Apache-2.0
"""The status table: every line as the files are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey
from cloister.provisioning import Authority, Fault, hand_out, inspect
from cloister.provisioning.revoking import revoke
from cloister.roster import Federation
from tests.provisioning.world import PERSON, SERVER, SITE, federation


def problems(state: Path, roster: Federation, now: datetime) -> dict[str, tuple[str, ...]]:
    return {each.name: each.problems for each in inspect(state, roster, now) if each.problems}


def test_every_word_of_the_status_table_is_explained_to_people() -> None:
    page = (Path(__file__).parents[2] / "docs" / "provisioning.md").read_text()
    assert [fault for fault in Fault if f"| `{fault}` |" not in page] == []


def test_a_sound_federation(pristine: Path, roster: Federation, now: datetime) -> None:
    lines = inspect(pristine, roster, now)
    assert [(line.name, line.kind, line.days_left, line.problems) for line in lines] == [
        ("trial", "authority", 3649, ()),
        (SERVER, "server", 364, ()),
        (SITE, "site", 364, ()),
        (PERSON, "person", 179, ()),
    ]


def test_time_passes(pristine: Path, roster: Federation, now: datetime) -> None:
    later = inspect(pristine, roster, now + timedelta(days=200))
    assert [line.days_left for line in later] == [3449, 164, 164, -21]
    stale = "roster stale"
    assert [line.problems for line in later] == [(), (stale,), (stale,), ("expired", stale)]
    soon = inspect(pristine, roster, now + timedelta(days=80))
    assert [line.problems for line in soon] == [(), (), (), ()]
    early = problems(pristine, roster, now - timedelta(days=1))
    assert early == dict.fromkeys(("trial", SERVER, SITE, PERSON), ("not yet valid",))
    late = problems(pristine, roster, now + timedelta(days=3651))
    assert late == {"trial": ("expired",)} | dict.fromkeys((SERVER, SITE, PERSON), ("expired", stale))


def test_a_renewal_that_is_overdue_is_told(pristine: Path, roster: Federation, now: datetime) -> None:
    later = problems(pristine, roster, now + timedelta(days=121))
    assert later[PERSON] == ("renewal overdue", "roster stale")
    assert later[SITE] == ("roster stale",)


def test_what_the_roster_in_force_has_revoked_is_told_where_there_is_no_authority(
    state: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    revoke(authority, SITE, "a laptop was stolen", now)
    hand_out(authority, roster, state, now)
    shutil.rmtree(state / "authority")
    assert problems(state, roster, now) == {SITE: ("revoked",)}


def test_a_roster_that_cannot_be_read_is_told(state: Path, roster: Federation, now: datetime) -> None:
    (state / "sites" / SITE / "trust" / "roster.json").write_bytes(b"{}")
    assert problems(state, roster, now) == {SITE: ("unreadable",)}


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda startup: (startup / "client.crt").unlink(),
    "key readable by others": lambda startup: (startup / "client.key").chmod(0o644),
    "unreadable": lambda startup: (startup / "client.crt").write_bytes(b"x"),
    "folder open to others": lambda startup: startup.chmod(0o755),
    "differs from the roster": lambda startup: shutil.copy(
        startup.parents[2] / "people" / PERSON / "startup" / "client.crt", startup / "client.crt"
    ),
}


@pytest.mark.parametrize("word", DAMAGES)
def test_each_damage_has_its_word(state: Path, roster: Federation, now: datetime, word: str) -> None:
    DAMAGES[word](state / "sites" / SITE / "startup")
    found = problems(state, roster, now)
    assert set(found) == {SITE}
    assert word in found[SITE]


def test_other_keys_and_authorities_have_their_words(
    state: Path, roster: Federation, keys: tuple[PrivateKey, ...], other_authority: Authority, now: datetime
) -> None:
    (state / "sites" / SITE / "startup" / "client.key").unlink()
    keys[0].write(state / "sites" / SITE / "startup" / "client.key")
    assert problems(state, roster, now) == {SITE: ("certificate does not belong to key",)}
    shutil.rmtree(state / "authority")
    shutil.copytree(other_authority.folder, state / "authority")
    found = problems(state, roster, now)
    assert set(found) == {SERVER, SITE, PERSON}
    assert all("signed by another authority" in words for words in found.values())


def test_who_has_nothing_has_a_line(state: Path, now: datetime) -> None:
    bigger = federation(sites=({"name": SITE, "organisation": "northfield"}, {"name": "bank-oak", "organisation": "o"}))
    line = next(line for line in inspect(state, bigger, now) if line.name == "bank-oak")
    assert (line.days_left, line.problems) == (None, (Fault.MISSING,))
    assert len(line.findings) == 3


def test_a_site_of_its_own_has_no_line_for_the_authority(state: Path, roster: Federation, now: datetime) -> None:
    for name in ("authority", "server", "people"):
        shutil.rmtree(state / name)
    lines = {line.name: line.problems for line in inspect(state, roster, now)}
    assert lines == {SERVER: (Fault.MISSING,), SITE: (), PERSON: (Fault.MISSING,)}


def test_an_offline_key_is_as_it_should_be_and_a_loose_one_is_not(
    state: Path, roster: Federation, now: datetime
) -> None:
    key = state / "authority" / "authority.key"
    key.chmod(0o644)
    assert problems(state, roster, now) == {"trial": ("key readable by others",)}
    key.unlink()
    assert problems(state, roster, now) == {}


def test_the_authoritys_own_troubles(
    state: Path, roster: Federation, other_authority: Authority, now: datetime
) -> None:
    elsewhere = problems(state, federation(federation="elsewhere"), now)
    assert elsewhere == {"elsewhere": ("differs from the roster",)}
    shutil.copy(other_authority.folder / "authority.key", state / "authority" / "authority.key")
    assert problems(state, roster, now) == {"trial": ("certificate does not belong to key",)}
    (state / "authority" / "authority.crt").write_bytes(b"x")
    assert problems(state, roster, now) == {"trial": ("unreadable",)}
    (state / "authority" / "authority.crt").unlink()
    assert problems(state, roster, now) == {"trial": ("missing",)}
