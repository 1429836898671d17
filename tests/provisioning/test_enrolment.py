# SPDX-License-Identifier: Apache-2.0
"""A site far away: its key stays, a request goes out, a certificate comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.certificates import Identity, identities, startup_folder
from cloister.provisioning import request_certificate
from cloister.roster import Federation
from tests.provisioning.world import SITE, contents, identity, modes


@pytest.fixture
def far(tmp_path: Path) -> Path:
    return tmp_path / "far"


@pytest.fixture
def site(roster: Federation) -> Identity:
    return identity(roster, SITE)


@pytest.mark.usefixtures("pooled_keys")
def test_a_request_leaves_its_key_where_it_is(far: Path, site: Identity) -> None:
    request = request_certificate(far, site)
    assert b"PRIVATE" not in request
    assert set(contents(far)) == {".lock", f"sites/{SITE}/startup/client.key"}
    assert all(mode in (0o600, 0o700) for mode in modes(far).values())
    key = (startup_folder(far, site) / "client.key").read_bytes()
    request_certificate(far, site)
    assert (startup_folder(far, site) / "client.key").read_bytes() == key


def test_every_entry_of_the_roster_has_a_folder_of_its_own(roster: Federation, tmp_path: Path) -> None:
    folders = [startup_folder(tmp_path, each) for each in identities(roster)]
    assert len(set(folders)) == len(folders)
    assert all(folder.resolve().is_relative_to(tmp_path) for folder in folders)
