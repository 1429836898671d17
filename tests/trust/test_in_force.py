# SPDX-License-Identifier: Apache-2.0
"""Which roster is in force at a participant: only ever a newer one, by an authority that counted before."""

from __future__ import annotations

import errno
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from cloister.certificates import pem
from cloister.certificates.anchors import ROOT_FILE, read_roots, roots_pem
from cloister.errors import CloisterError, ProvisioningError, SignatureError
from cloister.files import write_atomically
from cloister.provisioning import Authority
from cloister.provisioning.publication import publish
from cloister.provisioning.rotation import announce, finish, switch
from cloister.roster import Federation
from cloister.trust import in_force, roster_file, take_up, trust_in_force
from cloister.trust.in_force import settle_roots, take_up_first
from tests.provisioning.world import SITE, contents, modes


@pytest.fixture
def workspace(state: Path) -> Path:
    """A site's, in which version 1 is in force."""
    return state / "sites" / SITE


def roots_at(workspace: Path) -> bytes:
    return (workspace / "startup" / ROOT_FILE).read_bytes()


def latest(authority: Authority) -> bytes:
    return max((authority.folder / "rosters").glob("*.json")).read_bytes()


def full_disk_at(patch: pytest.MonkeyPatch, *names: str) -> None:
    """Refuse to write files of these names, as a crash would that comes right before."""

    def write(path: Path, content: bytes) -> None:
        if path.name in names:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_atomically(path, content)

    patch.setattr(in_force, "write_atomically", write)


def test_a_newer_one_is_taken_up(workspace: Path, authority: Authority, roster: Federation, now: datetime) -> None:
    content = publish(authority, roster, now)
    found = take_up(workspace, content)
    assert found is not None
    assert found.version == 2
    assert roster_file(workspace).read_bytes() == content
    assert trust_in_force(workspace) == found
    assert modes(workspace / "trust") == {".": 0o700, ".lock": 0o600, "roster.json": 0o600}


def test_the_same_one_or_an_older_one_changes_nothing(
    workspace: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    first, second, third = roster_file(workspace).read_bytes(), publish(authority, roster, now), latest(authority)
    assert second == third
    assert take_up(workspace, second)
    before = contents(workspace)
    for content in (first, second):
        assert take_up(workspace, content) is None
        assert take_up_first(workspace, content, authority.certificate).version == 2
        assert contents(workspace) == before


def test_what_does_not_count_here_is_not_taken_up(
    workspace: Path, authority: Authority, other_authority: Authority, roster: Federation, now: datetime
) -> None:
    before = contents(workspace)
    good = publish(authority, roster, now)
    for content in (publish(other_authority, roster, now), good[:-20], b"", b"{}", b"\xff" * 100, b" " * (2 << 20)):
        with pytest.raises(SignatureError):
            take_up(workspace, content)
        assert contents(workspace) == before
    # A roster that counts under the newcomer's authority does not count under the one that is trusted here.
    with pytest.raises(SignatureError, match="another authority's roster is in force here"):
        take_up_first(workspace, publish(other_authority, roster, now), other_authority.certificate)
    with pytest.raises(SignatureError, match="not trusted here"):
        take_up_first(workspace, good, other_authority.certificate)
    assert contents(workspace) == before


def test_a_newcomer_takes_up_the_first_under_the_root_that_was_learnt(
    tmp_path: Path, authority: Authority, other_authority: Authority, roster: Federation, now: datetime
) -> None:
    workspace, content = tmp_path / "newcomer", publish(authority, roster, now)
    with pytest.raises(SignatureError, match="not trusted here"):
        take_up_first(workspace, content, other_authority.certificate)
    assert not roster_file(workspace).exists()
    assert not (workspace / "startup" / ROOT_FILE).exists()
    found = take_up_first(workspace, content, authority.certificate)
    assert (found, trust_in_force(workspace)) == (trust_in_force(workspace), found)
    assert roots_at(workspace) == authority.certificate_pem
    assert all(mode & 0o077 == 0 for mode in modes(workspace).values())


def test_missing_and_damaged_files_are_told_and_nothing_is_taken_up(
    workspace: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    path, good, newer = roster_file(workspace), roster_file(workspace).read_bytes(), publish(authority, roster, now)
    for damage in (b"", b"{}", good[:-1], good.replace(b"A", b"B", 1)):
        path.write_bytes(damage)
        with pytest.raises(SignatureError, match=r"trust/roster\.json`: the sign"):
            trust_in_force(workspace)
        # Which version was in force cannot be told, so that an old one could be put back.
        with pytest.raises(SignatureError, match=r"trust/roster\.json`"):
            take_up(workspace, newer)
        assert path.read_bytes() == damage
    path.unlink()
    with pytest.raises(ProvisioningError, match=r"the signed roster `.*` is missing"):
        trust_in_force(workspace)
    os.mkfifo(path)
    with pytest.raises(ProvisioningError, match=r"the signed roster `.*` cannot be read"):
        trust_in_force(workspace)
    path.unlink()
    (workspace / "startup" / ROOT_FILE).unlink()
    with pytest.raises(ProvisioningError, match=r"rootCA\.pem` is missing"):
        trust_in_force(workspace)
    with pytest.raises(ProvisioningError, match=r"rootCA\.pem` is missing"):
        take_up(workspace, newer)


def test_whoever_has_the_root_by_another_way_begins_again_after_damage(
    workspace: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    roster_file(workspace).write_bytes(b"{}")
    assert take_up_first(workspace, publish(authority, roster, now), authority.certificate).version == 2
    assert trust_in_force(workspace).version == 2


def test_the_roots_follow_the_roster_through_a_handover(
    workspace: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    old = authority.certificate
    both = announce(authority, roster, now)
    new = next(each for each in both.roots if each != old)
    assert take_up(workspace, latest(both))
    assert read_roots(workspace / "startup" / ROOT_FILE) == (old, new)
    assert take_up(workspace, latest(switch(both, roster, now)))
    assert set(read_roots(workspace / "startup" / ROOT_FILE)) == {old, new}
    last = finish(Authority.open(authority.folder), roster, now, anyway=True)
    assert take_up(workspace, latest(last))
    assert read_roots(workspace / "startup" / ROOT_FILE) == (new,)
    assert trust_in_force(workspace).anchors.roots == (new,)


def test_who_slept_through_the_handover_does_not_believe_the_new_authority(
    workspace: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    both = switch(announce(authority, roster, now), roster, now)
    last = finish(both, roster, now, anyway=True)
    with pytest.raises(SignatureError, match="not trusted here"):
        take_up(workspace, latest(last))
    # The rosters in between, in their order, are the way.
    for path in sorted((authority.folder / "rosters").glob("*.json"))[1:]:
        assert take_up(workspace, path.read_bytes())
    assert trust_in_force(workspace).anchors.roots == last.roots


@pytest.mark.parametrize("first", [False, True])
def test_a_crash_between_the_roster_and_its_roots_leaves_one_that_verifies(
    workspace: Path,
    authority: Authority,
    roster: Federation,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    first: bool,
) -> None:
    both = announce(authority, roster, now)
    rosters = [latest(both), latest(switch(both, roster, now))]
    last = finish(Authority.open(authority.folder), roster, now, anyway=True)
    rosters.append(latest(last))
    for number, content in enumerate(rosters, 2):
        with monkeypatch.context() as patch:
            full_disk_at(patch, ROOT_FILE)
            before = roots_at(workspace)
            for _ in range(2):  # and once more, before anybody has settled
                try:
                    take_up_first(workspace, content, both.stating) if first and number < 4 else take_up(
                        workspace, content
                    )
                except ProvisioningError as error:
                    assert "cannot write the roster in" in error.message
            assert roots_at(workspace) == before
        assert trust_in_force(workspace).version >= number - 1
        if number % 2:
            settle_roots(workspace, trust_in_force(workspace))
    take_up(workspace, rosters[-1])
    settle_roots(workspace, trust_in_force(workspace))
    assert trust_in_force(workspace).version == 4
    assert roots_at(workspace) == roots_pem(last.roots)


def test_a_roster_that_cannot_be_written_leaves_the_old_one(
    workspace: Path, authority: Authority, roster: Federation, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(workspace)
    full_disk_at(monkeypatch, "roster.json")
    with pytest.raises(ProvisioningError, match=r"cannot write the roster in .*: no space left on device"):
        take_up(workspace, publish(authority, roster, now))
    assert contents(workspace) == before


def test_of_many_at_once_the_highest_stays(
    workspace: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    rosters = [publish(authority, roster, now) for _ in range(8)]
    random.Random(7).shuffle(rosters)
    with ThreadPoolExecutor(4) as pool:
        taken = [found.version for found in pool.map(lambda each: take_up(workspace, each), rosters) if found]
    assert trust_in_force(workspace).version == 9 == max(taken)
    assert not list(workspace.rglob(".roster*"))


def test_half_written_drafts_are_swept(
    workspace: Path, authority: Authority, roster: Federation, now: datetime
) -> None:
    (workspace / "trust" / ".roster.json.abc").write_bytes(b"half")
    assert take_up(workspace, publish(authority, roster, now))
    assert sorted(path.name for path in (workspace / "trust").iterdir()) == [".lock", "roster.json"]


def test_a_gate_that_stumbles_lets_nothing_in(
    workspace: Path, authority: Authority, roster: Federation, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_arguments: object) -> None:
        raise RuntimeError("Ada Lovelace")

    content, before = publish(authority, roster, now), contents(workspace)
    monkeypatch.setattr(in_force, "read_roster", stumble)
    for act in (
        lambda: take_up(workspace, content),
        lambda: take_up_first(workspace, content, authority.certificate),
        lambda: trust_in_force(workspace),
    ):
        with pytest.raises((RuntimeError, CloisterError)):
            act()
        assert contents(workspace) == before


def test_a_workspace_of_another_federation_is_left_alone(
    workspace: Path, other_authority: Authority, roster: Federation, now: datetime, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    content = publish(other_authority, roster, now)
    take_up_first(theirs, content, other_authority.certificate)
    shutil.copy(roster_file(theirs), roster_file(workspace))
    with pytest.raises(SignatureError, match="not trusted here"):
        trust_in_force(workspace)
    assert pem.fingerprint(other_authority.certificate) != pem.fingerprint(
        read_roots(workspace / "startup" / ROOT_FILE)[0]
    )
