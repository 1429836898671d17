# SPDX-License-Identifier: Apache-2.0
"""A site far away: its key stays, a request goes out, a certificate comes back."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from cloister.certificates import Identity, identities, startup_folder
from cloister.errors import ProvisioningError
from cloister.provisioning import Authority, accept_certificate, check_kit, grant_certificate, request_certificate
from cloister.roster import Federation
from tests.provisioning.world import PERSON, SITE, contents, identity, modes


@pytest.fixture
def far(tmp_path: Path) -> Path:
    return tmp_path / "far"


@pytest.fixture
def site(roster: Federation) -> Identity:
    return identity(roster, SITE)


@pytest.mark.usefixtures("pooled_keys")
def test_the_three_steps_make_a_kit(
    far: Path, site: Identity, roster: Federation, authority: Authority, now: datetime
) -> None:
    request = request_certificate(far, site)
    assert b"PRIVATE" not in request
    assert set(contents(far)) == {".lock", f"sites/{SITE}/startup/client.key"}
    certificate = grant_certificate(roster, authority, request, now)
    shown = ":".join(authority.fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
    accept_certificate(far, site, certificate, authority.certificate_pem, shown, now)
    check_kit(startup_folder(far, site), site, now)
    assert all(mode in (0o600, 0o700) for mode in modes(far).values())
    # Asking again keeps the key; so does renewal.
    key = (startup_folder(far, site) / "client.key").read_bytes()
    renewed = grant_certificate(roster, authority, request_certificate(far, site), now)
    accept_certificate(far, site, renewed, authority.certificate_pem, authority.fingerprint, now)
    check_kit(startup_folder(far, site), site, now)
    assert (startup_folder(far, site) / "client.key").read_bytes() == key


@pytest.mark.usefixtures("pooled_keys")
def test_what_does_not_fit_is_not_accepted(
    far: Path, roster: Federation, authority: Authority, other_authority: Authority, now: datetime
) -> None:
    site, person = identity(roster, SITE), identity(roster, PERSON)
    mine = grant_certificate(roster, authority, request_certificate(far, site), now)
    theirs = (authority.folder.parent / "people" / PERSON / "startup" / "client.crt").read_bytes()
    root, fingerprint = authority.certificate_pem, authority.fingerprint
    before = contents(far)
    for certificate, authority_pem, expected, who, words in (
        (mine, root, "0" * 64, site, "does not have the expected fingerprint"),
        (mine, root, "", site, "does not have the expected fingerprint"),
        (mine, other_authority.certificate_pem, fingerprint, site, "does not have the expected fingerprint"),
        (mine, other_authority.certificate_pem, other_authority.fingerprint, site, "signed by another authority"),
        (theirs, root, fingerprint, site, "does not belong to the key"),
        (b"", root, fingerprint, site, "does not hold a certificate"),
        (mine, mine, fingerprint, site, "does not have the expected fingerprint"),
        (mine, root, fingerprint, person, "client.key` is missing"),
    ):
        with pytest.raises(ProvisioningError, match=words):
            accept_certificate(far, who, certificate, authority_pem, expected, now)
    assert contents(far) == before


def test_every_entry_of_the_roster_has_a_folder_of_its_own(roster: Federation, tmp_path: Path) -> None:
    folders = [startup_folder(tmp_path, each) for each in identities(roster)]
    assert len(set(folders)) == len(folders)
    assert all(folder.resolve().is_relative_to(tmp_path) for folder in folders)
