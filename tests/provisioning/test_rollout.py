# SPDX-License-Identifier: Apache-2.0
"""Provisioning as often as one asks: what is made, what stays and what is replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloister.certificates import PrivateKey, identities, pem, startup_folder
from cloister.documents import load
from cloister.errors import ProvisioningError
from cloister.provisioning import Authority, Issued, check_kit, inspect, provision, retired
from cloister.roster import Federation
from cloister.trust import trust_in_force
from tests.provisioning.world import (
    PERSON,
    SERVER,
    SITE,
    contents,
    federation,
    identity,
    issued_count,
    modes,
    private_keys,
)

WORKSPACES = ("server", f"sites/{SITE}", f"people/{PERSON}")
REFERENCE = Path(__file__).parents[2] / "provisioning" / "federation.yaml"


def certificates(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if name.endswith((".crt", ".pem"))}


def but_rosters_in_force(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if not name.endswith("/trust/roster.json")}


def versions_in_force(state: Path) -> dict[str, int]:
    """The version of the roster in each workspace of ``state``."""
    found = sorted(state.glob("**/trust/roster.json"))
    return {str(path.parents[1].relative_to(state)): trust_in_force(path.parents[1]).version for path in found}


def made(issued: tuple[Issued, ...]) -> list[str]:
    return [each.identity.name for each in issued if each.created]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.usefixtures("pooled_keys")
def test_everything_is_for_the_owner_alone_under_any_umask(
    tmp_path: Path, roster: Federation, now: datetime, umask: int
) -> None:
    before = os.umask(umask)
    try:
        provision(roster, tmp_path / "state", now)
    finally:
        os.umask(before)
    found = modes(tmp_path / "state")
    assert {name for name in found if not name.startswith("authority/issued/")} == {
        *(".", ".lock", "authority", "authority/.lock", "authority/authority.crt", "authority/authority.key"),
        *("authority/rosters", "authority/rosters/00000001.json"),
        *("server/mailbox", "server/mailbox/rosters", "server/mailbox/rosters/0000000001.json"),
        *("authority/issued", "server", "server/startup", "sites", f"sites/{SITE}", f"sites/{SITE}/startup"),
        *("people", f"people/{PERSON}", f"people/{PERSON}/startup"),
        *(f"server/startup/{name}" for name in ("server.key", "server.crt", "rootCA.pem")),
        *(f"sites/{SITE}/startup/{name}" for name in ("client.key", "client.crt", "rootCA.pem")),
        *(f"people/{PERSON}/startup/{name}" for name in ("client.key", "client.crt", "rootCA.pem")),
        *(f"{each}/{name}" for each in WORKSPACES for name in ("trust", "trust/.lock", "trust/roster.json")),
    }
    for name, mode in found.items():
        assert mode == (0o700 if (tmp_path / "state" / name).is_dir() else 0o600), name


def test_what_is_reported_is_what_lies_there(state: Path, roster: Federation, now: datetime) -> None:
    issued = provision(roster, state, now)
    assert [each.identity for each in issued] == list(identities(roster))
    for each in issued:
        found = pem.read_certificate(each.path)
        assert (each.fingerprint, each.not_after) == (pem.fingerprint(found), found.not_valid_after_utc)
        assert len(each.fingerprint) == 64
        record = state / "authority" / "issued" / f"{found.serial_number:040x}.pem"
        assert record.read_bytes() == each.path.read_bytes()


def test_a_second_time_changes_nothing(state: Path, roster: Federation, now: datetime) -> None:
    before = contents(state)
    assert made(provision(roster, state, now + timedelta(hours=1))) == []
    assert contents(state) == before


def test_loose_folders_are_tightened_and_loose_keys_refused(state: Path, roster: Federation, now: datetime) -> None:
    site = identity(roster, SITE)
    startup = startup_folder(state, site)
    startup.chmod(0o755)
    with pytest.raises(ProvisioningError, match="is open to others"):
        check_kit(startup, site, now)
    assert made(provision(roster, state, now)) == []
    assert [each.problems for each in inspect(state, roster, now)] == [()] * 4
    (startup / "client.key").chmod(0o644)
    before = contents(state)
    with pytest.raises(ProvisioningError, match="can be read by others"):
        provision(roster, state, now)
    assert contents(state) == before


CHANGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a site's organisation": ({"sites": ({"name": SITE, "organisation": "southfield"},)}, [SITE]),
    "a person's role": (
        {"people": ({"name": PERSON, "organisation": "institute", "role": "it-admin"},)},
        [PERSON],
    ),
    "the server's host": ({"server": {"name": SERVER, "organisation": "institute", "host": "fl.example"}}, [SERVER]),
    "the server's name": (
        {
            "server": {
                "name": "conductor",
                "organisation": "institute",
                "host": "localhost",
                "other_hosts": ("127.0.0.1", "fl.research.example"),
            }
        },
        ["conductor"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_entry_gets_a_new_certificate_for_the_same_key(state: Path, now: datetime, change: str) -> None:
    document, names = CHANGES[change]
    changed = federation(**document)
    keys, records = private_keys(state), certificates(state / "authority")
    assert made(provision(changed, state, now)) == names
    assert private_keys(state) == keys
    assert records.items() < certificates(state / "authority").items()
    assert issued_count(state) == 4
    assert [each.problems for each in inspect(state, changed, now)] == [()] * 4


def test_a_newcomer_gets_a_kit_and_nobody_else_notices(
    state: Path, now: datetime, keys: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PrivateKey, "generate", classmethod(lambda cls, bits: keys[0]))
    sites = ({"name": SITE, "organisation": "northfield"}, {"name": "bank-oak", "organisation": "oak"})
    before = contents(state)
    assert made(provision(federation(sites=sites), state, now)) == ["bank-oak"]
    assert but_rosters_in_force(before).items() <= contents(state).items()
    assert versions_in_force(state) == dict.fromkeys((*WORKSPACES, "sites/bank-oak"), 2)


def test_the_last_tenth_of_a_life_brings_a_new_certificate(state: Path, roster: Federation, now: datetime) -> None:
    keys = private_keys(state)
    assert made(provision(roster, state, now + timedelta(days=161))) == []
    assert made(provision(roster, state, now + timedelta(days=163))) == [PERSON]
    assert made(provision(roster, state, now + timedelta(days=400))) == [SERVER, SITE, PERSON]
    assert private_keys(state) == keys


def test_certificates_that_end_with_the_authority_are_not_renewed_for_nothing(
    tmp_path: Path, now: datetime, pooled_keys: None
) -> None:
    short = federation(authority={"valid_days": 100})
    provision(short, tmp_path / "state", now)
    assert made(provision(short, tmp_path / "state", now + timedelta(days=99))) == []
    with pytest.raises(ProvisioningError, match=r"the authority is valid from .* and cannot sign now"):
        provision(short, tmp_path / "state", now + timedelta(days=101))


MENDED: dict[str, Callable[[Path], object]] = {
    "no certificate": lambda startup: (startup / "client.crt").unlink(),
    "half a certificate": lambda startup: (startup / "client.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nMIIE"),
    "no key": lambda startup: (startup / "client.key").unlink(),
    "nothing": shutil.rmtree,
    "another's certificate": lambda startup: shutil.copy(
        startup.parents[2] / "people" / PERSON / "startup" / "client.crt", startup / "client.crt"
    ),
}


@pytest.mark.parametrize("damage", MENDED)
@pytest.mark.usefixtures("pooled_keys")
def test_damage_is_mended(state: Path, roster: Federation, now: datetime, damage: str) -> None:
    site = identity(roster, SITE)
    MENDED[damage](startup_folder(state, site))
    assert [each.name for each in inspect(state, roster, now) if each.problems] == [SITE]
    assert made(provision(roster, state, now)) == [SITE]
    assert [each.problems for each in inspect(state, roster, now)] == [()] * 4


def test_a_lost_root_is_laid_again_without_a_new_certificate(state: Path, roster: Federation, now: datetime) -> None:
    site = identity(roster, SITE)
    for content in (None, b"nonsense"):
        path = startup_folder(state, site) / "rootCA.pem"
        path.unlink() if content is None else path.write_bytes(content)
        assert made(provision(roster, state, now)) == []
        assert [each.problems for each in inspect(state, roster, now)] == [()] * 4


def test_kits_of_another_authority_are_signed_again(
    state: Path, other_authority: Authority, roster: Federation, now: datetime
) -> None:
    shutil.rmtree(state / "authority")
    shutil.copytree(other_authority.folder, state / "authority")
    keys = private_keys(state / "sites")
    assert made(provision(roster, state, now)) == [SERVER, SITE, PERSON]
    assert private_keys(state / "sites") == keys
    assert [each.problems for each in inspect(state, roster, now)] == [()] * 4


def test_a_key_kept_offline_is_asked_for_only_to_sign(state: Path, roster: Federation, now: datetime) -> None:
    (state / "authority" / "authority.key").rename(state.parent / "vault.key")
    assert made(provision(roster, state, now)) == []
    changed = federation(sites=({"name": SITE, "organisation": "southfield"},))
    with pytest.raises(ProvisioningError, match=r"authority's key .* is not here") as caught:
        provision(changed, state, now)
    assert "offline" in caught.value.hint
    (state.parent / "vault.key").rename(state / "authority" / "authority.key")
    assert made(provision(changed, state, now)) == [SITE]


def test_an_authority_that_has_signed_is_never_made_anew(state: Path, roster: Federation, now: datetime) -> None:
    (state / "authority" / "authority.crt").unlink()
    before = contents(state)
    with pytest.raises(ProvisioningError, match="its certificate is missing"):
        provision(roster, state, now)
    assert contents(state) == before


@pytest.mark.parametrize("present", ["people", "sites", "server"])
def test_where_somebody_has_joined_nobody_elses_key_is_made(
    state: Path, roster: Federation, now: datetime, present: str
) -> None:
    for folder in {"authority", "server", "sites", "people"} - {present}:
        shutil.rmtree(state / folder)
    before = contents(state)
    with pytest.raises(ProvisioningError, match="its authority is on another machine"):
        provision(roster, state, now)
    assert contents(state) == before


@pytest.mark.parametrize("absent", [("server", "sites", "people"), ("server",), ("sites",), ("people",)])
def test_an_authority_makes_no_key_for_whoever_has_one_elsewhere(
    state: Path, roster: Federation, now: datetime, absent: tuple[str, ...]
) -> None:
    for folder in absent:
        shutil.rmtree(state / folder)
    before = contents(state)
    with pytest.raises(ProvisioningError, match="its key is on another machine"):
        provision(roster, state, now)
    assert contents(state) == before


def test_an_authority_does_not_sign_with_a_strangers_key(
    state: Path, other_authority: Authority, now: datetime
) -> None:
    shutil.copy(other_authority.folder / "authority.key", state / "authority" / "authority.key")
    with pytest.raises(ProvisioningError, match="does not belong to"):
        provision(federation(sites=({"name": SITE, "organisation": "southfield"},)), state, now)


def test_an_authority_is_made_once(state: Path, roster: Federation, now: datetime) -> None:
    with pytest.raises(ProvisioningError, match="there is an authority in"):
        Authority.create(state / "authority", roster, now)


def test_a_leaf_is_no_authority(state: Path, roster: Federation, now: datetime) -> None:
    shutil.copy(state / "server" / "startup" / "server.crt", state / "authority" / "authority.crt")
    with pytest.raises(ProvisioningError, match="is not the certificate of an authority"):
        provision(roster, state, now)


def test_two_federations_do_not_share_a_state(state: Path, now: datetime) -> None:
    before = contents(state)
    with pytest.raises(ProvisioningError, match="is not that of the federation `elsewhere`"):
        provision(federation(federation="elsewhere"), state, now)
    assert contents(state) == before


def test_a_bad_host_is_refused_before_anything_is_made(tmp_path: Path, now: datetime) -> None:
    bad = federation(server={"name": SERVER, "organisation": "institute", "host": "fl.example:8002"})
    with pytest.raises(ProvisioningError, match="neither a DNS name nor an IP address"):
        provision(bad, tmp_path / "state", now)
    assert not (tmp_path / "state").exists()


@pytest.mark.usefixtures("pooled_keys")
def test_who_left_is_reported_and_not_touched(state: Path, roster: Federation, now: datetime) -> None:
    assert retired(roster, state) == ()
    before = contents(state)
    smaller = federation(sites=({"name": "bank-oak", "organisation": "oak"},))
    assert retired(smaller, state) == (state / "sites" / SITE,)
    provision(smaller, state, now)
    assert retired(smaller, state) == (state / "sites" / SITE,)
    assert but_rosters_in_force(before).items() <= contents(state).items()
    left = f"sites/{SITE}"
    assert versions_in_force(state) == {**dict.fromkeys((*WORKSPACES, "sites/bank-oak"), 2), left: 1}
    assert contents(state)[f"{left}/trust/roster.json"] == before[f"{left}/trust/roster.json"]


@pytest.mark.slow
def test_the_reference_federation_is_provisioned_whole(tmp_path: Path, now: datetime) -> None:
    reference = load(REFERENCE, Federation).value
    issued = provision(reference, tmp_path / "state", now)
    assert len(issued) == len(identities(reference)) == 16
    assert all(each.created for each in issued)
    assert len({each.fingerprint for each in issued}) == len(identities(reference)) == 16
    assert len(set(private_keys(tmp_path / "state").values())) == 17
    for each in identities(reference):
        check_kit(startup_folder(tmp_path / "state", each), each, now)
