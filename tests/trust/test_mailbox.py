# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.certificates import pem
from cloister.envelope import seal
from cloister.errors import ProvisioningError
from cloister.files import canonical_json
from cloister.provisioning import Authority
from cloister.roster import Federation
from cloister.trust.mailbox import (
    MAXIMUM_LETTER_BYTES,
    drop_grant,
    drop_request,
    grant_for,
    grants_in,
    newest_version,
    put_grant,
    put_request,
    put_roster,
    requests_in,
    rosters_after,
)
from cloister.trust.signed_roster import KIND
from tests.federation_folder import default_roster


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    federation = Federation.model_validate_json(json.dumps(default_roster()))
    return Authority.create(tmp_path_factory.mktemp("authority") / "authority", federation, datetime.now(UTC))


def roster(authority: Authority, *roots: str) -> bytes:
    """A signed statement that names ``roots``; the mailbox reads no more of it."""
    key = authority.key_of(authority.certificate)
    return seal(KIND, canonical_json({"roots": list(roots)}), key, authority.certificate)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mailbox"


def test_a_request_waits_until_it_is_answered(folder: Path) -> None:
    put_request(folder, "alpha", b"first")
    put_request(folder, "alpha", b"second")
    put_request(folder, "ada@research.example", b"hers")
    assert requests_in(folder) == {"ada@research.example": b"hers", "alpha": b"second"}
    put_grant(folder, "alpha", b"certificate")
    assert requests_in(folder) == {"ada@research.example": b"hers"}
    assert grant_for(folder, "alpha") == b"certificate"
    assert grant_for(folder, "beta") is None
    assert grants_in(folder) == {"alpha": b"certificate"}
    drop_grant(folder, "alpha")
    drop_grant(folder, "alpha")
    assert grant_for(folder, "alpha") is None
    drop_request(folder, "ada@research.example")
    drop_request(folder, "ada@research.example")
    assert requests_in(folder) == {}


def test_an_empty_mailbox_holds_nothing(folder: Path) -> None:
    assert (requests_in(folder), grants_in(folder), rosters_after(folder, 0), newest_version(folder)) == ({}, {}, [], 0)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../alpha", "a/b", "/etc/passwd", "a..b", "A", "a\n", "a\x00", "-a", ".a", "a" * 100, "ä"]
)
def test_a_letter_of_nobody_is_refused(folder: Path, name: str) -> None:
    for do in (put_request, put_grant):
        with pytest.raises(ProvisioningError, match="participants only"):
            do(folder, name, b"x")
    with pytest.raises(ProvisioningError):
        grant_for(folder, name)
    with pytest.raises(ProvisioningError):
        drop_request(folder, name)


@pytest.mark.parametrize("content", [b"", b"x" * (MAXIMUM_LETTER_BYTES + 1)])
def test_a_letter_is_bounded(folder: Path, content: bytes) -> None:
    with pytest.raises(ProvisioningError, match="64 KiB"):
        put_request(folder, "alpha", content)
    put_request(folder, "alpha", b"x" * MAXIMUM_LETTER_BYTES)
    (folder / "requests" / "alpha.json").write_bytes(b"x" * (MAXIMUM_LETTER_BYTES + 1))  # by hand
    assert requests_in(folder) == {}


def test_what_is_not_a_letter_is_left_out(folder: Path) -> None:
    put_request(folder, "alpha", b"x")
    (folder / "requests" / "beta.json").mkdir()
    (folder / "requests" / "gamma.json").symlink_to("/dev/zero")
    (folder / "requests" / "Evil.json").write_bytes(b"x")
    assert requests_in(folder) == {"alpha": b"x"}


def test_its_folders_are_the_owners_alone(folder: Path) -> None:
    put_request(folder, "alpha", b"x")
    put_grant(folder, "alpha", b"x")
    for path in (folder, folder / "requests", folder / "grants"):
        assert path.stat().st_mode & 0o077 == 0


def test_of_rosters_the_newest_is_kept_and_each_that_changed_the_authorities(
    folder: Path, authority: Authority
) -> None:
    contents = {
        1: roster(authority, "A"),
        2: roster(authority, "A"),
        3: roster(authority, "A", "B"),
        4: roster(authority, "B", "A"),
        5: roster(authority, "B"),
        6: roster(authority, "B"),
        7: roster(authority, "B"),
    }
    for version, content in contents.items():
        put_roster(folder, content, version)
        assert newest_version(folder) == version
    kept = [1, 3, 5, 7]
    assert rosters_after(folder, 0) == [contents[version] for version in kept]
    assert rosters_after(folder, 1) == [contents[3], contents[5], contents[7]]  # slept through the change
    assert rosters_after(folder, 6) == [contents[7]]
    assert rosters_after(folder, 7) == []


def test_a_roster_that_was_laid_in_by_hand_is_found_and_nonsense_is_no_obstacle(
    folder: Path, authority: Authority
) -> None:
    put_roster(folder, roster(authority, "A"), 1)
    place = folder / "rosters"
    (place / "0000000002.json").write_bytes(roster(authority, "A"))
    (place / "0000000003.json").write_bytes(b"nonsense")
    (place / "notes.json").write_bytes(b"nonsense")
    assert len(rosters_after(folder, 1)) == 2
    put_roster(folder, roster(authority, "A"), 4)
    assert newest_version(folder) == 4
    assert rosters_after(folder, 3) == [(place / "0000000004.json").read_bytes()]


def test_rosters_do_not_pile_up_whatever_they_say(folder: Path, authority: Authority) -> None:
    for version in range(1, 100):
        put_roster(folder, roster(authority, f"{version}"), version)
    assert len(list((folder / "rosters").glob("*.json"))) == 64
    assert newest_version(folder) == 99


def test_a_real_certificate_fits(folder: Path, authority: Authority) -> None:
    put_grant(folder, "alpha", pem.certificate_pem(authority.certificate))
    assert grant_for(folder, "alpha") == authority.certificate_pem
