# SPDX-License-Identifier: Apache-2.0
"""Joining with a kit: what fits is put in place; where anything does not, nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cloister.documents import parse
from cloister.errors import CloisterError, ProvisioningError
from cloister.provisioning.enrolment import init_key, request_certificate
from cloister.provisioning.granting import grant
from cloister.provisioning.joining import join
from cloister.provisioning.kit_archive import make_archive
from cloister.provisioning.publication import publish
from cloister.provisioning.revoking import revoke
from cloister.roster import ROSTER, Federation
from cloister.trust import take_up, trust_in_force
from tests.provisioning.remote import Machine, authority_at, begin, enrol, machines
from tests.provisioning.world import PERSON, SERVER, SITE, contents

pytestmark = pytest.mark.usefixtures("pooled_keys")


@pytest.fixture
def place(tmp_path: Path, roster: Federation, now: datetime) -> Path:
    begin(tmp_path, roster, now)
    return tmp_path


@pytest.fixture
def site(place: Path, roster: Federation) -> Machine:
    return machines(place, roster)[SITE]


def kit_of(place: Path, machine: Machine, roster: Federation, now: datetime, **more: Mapping[str, bytes]) -> bytes:
    csr = request_certificate(machine.state, machine.identity)
    return grant(authority_at(place / "authority"), roster, csr, (), now, **more).kit


def joined(place: Path, machine: Machine, kit: bytes, now: datetime, kind: str = "site") -> object:
    fingerprint = authority_at(place / "authority").fingerprint
    return join(machine.root, machine.state, kind, kit, fingerprint, now)  # type: ignore[arg-type]


def test_everybody_joined_and_works(place: Path, roster: Federation, now: datetime) -> None:
    assert [machine.works(now) for machine in machines(place, roster).values()]


def test_the_roster_comes_as_a_document_that_reads_the_same(site: Machine, roster: Federation) -> None:
    assert parse((site.root / ROSTER).read_bytes(), Federation, name=ROSTER).value == roster


def test_a_document_that_is_there_stays(place: Path, site: Machine, roster: Federation, now: datetime) -> None:
    (site.root / "policies").mkdir(exist_ok=True)
    (site.root / "policies" / "baseline.yaml").write_bytes(b"ours")
    documents = {"policies/baseline.yaml": b"theirs", "policies/baseline.yaml.sig": b"signature"}
    joined(place, site, kit_of(place, site, roster, now, documents=documents), now)
    assert (site.root / "policies" / "baseline.yaml").read_bytes() == b"ours"
    assert not (site.root / "policies" / "baseline.yaml.sig").exists()


def test_documents_that_are_missing_come_with_the_kit(
    place: Path, site: Machine, roster: Federation, now: datetime
) -> None:
    documents = {"policies/baseline.yaml": b"theirs", "policies/baseline.yaml.sig": b"signature"}
    joined(place, site, kit_of(place, site, roster, now, documents=documents), now)
    assert (site.root / "policies" / "baseline.yaml").read_bytes() == b"theirs"
    assert (site.root / "policies" / "baseline.yaml.sig").read_bytes() == b"signature"


def refusal(place: Path, machine: Machine, kit: bytes, now: datetime, kind: str = "site") -> str:
    """Why joining was refused; nothing in the folder may have changed."""
    before = {name: each for name, each in contents(machine.root).items() if not name.endswith(".lock")}
    with pytest.raises(CloisterError) as caught:
        joined(place, machine, kit, now, kind)
    after = {name: each for name, each in contents(machine.root).items() if not name.endswith(".lock")}
    assert after == before
    return caught.value.message


def test_a_kit_for_somebody_else(place: Path, site: Machine, roster: Federation, now: datetime) -> None:
    everybody = machines(place, roster)
    for name, kind in ((SERVER, "server"), (PERSON, "person")):
        kit = kit_of(place, everybody[name], roster, now)
        assert f"is for the {kind} `{name}`" in refusal(place, site, kit, now)
        assert "belongs to no key" in refusal(place, site, kit, now, kind)


def test_a_kit_for_a_key_that_is_elsewhere(place: Path, site: Machine, roster: Federation, now: datetime) -> None:
    kit = kit_of(place, site, roster, now)
    shutil.rmtree(site.workspace)
    init_key(site.state, site.identity)
    assert "belongs to no key" in refusal(place, site, kit, now)


def test_a_certificate_that_was_revoked_since(place: Path, site: Machine, roster: Federation, now: datetime) -> None:
    kit = kit_of(place, site, roster, now)
    authority = authority_at(place / "authority")
    revoke(authority, SITE, "a mistake", now)
    take_up(site.workspace, publish(authority, roster, now))
    assert "was revoked" in refusal(place, site, kit, now)


def test_a_kit_that_is_stale_or_not_valid_yet(place: Path, site: Machine, roster: Federation, now: datetime) -> None:
    kit = kit_of(place, site, roster, now)
    assert "stale" in refusal(place, site, kit, now + timedelta(days=100))
    assert "not valid" in refusal(place, site, kit, now - timedelta(days=2))


def test_a_kit_without_a_certificate_of_this_federation(
    place: Path, site: Machine, roster: Federation, now: datetime, other_authority: object
) -> None:
    authority = authority_at(place / "authority")
    content = publish(authority, roster, now)
    files = {"certificate.pem": site.paths.root.read_bytes(), "roster.json": content}
    kit = make_archive(authority, site.identity, files, roster.federation, now)
    assert "certificate" in refusal(place, site, kit, now)


def test_an_older_kit_brings_no_older_roster(place: Path, site: Machine, roster: Federation, now: datetime) -> None:
    old = kit_of(place, site, roster, now)
    new = kit_of(place, site, roster, now + timedelta(minutes=1))
    joined(place, site, new, now + timedelta(minutes=1))
    version, serial = trust_in_force(site.workspace).version, site.works(now + timedelta(minutes=2))
    joined(place, site, old, now + timedelta(minutes=2))
    assert trust_in_force(site.workspace).version == version
    assert site.works(now + timedelta(minutes=2)) == serial


def test_another_key_takes_the_place_of_a_lost_one(
    tmp_path: Path, roster: Federation, now: datetime, keys: tuple[object, ...]
) -> None:
    everybody = begin(tmp_path, roster, now)
    site = everybody[SITE]
    before = site.paths.key.read_bytes()
    assert init_key(site.state, site.identity, replace_key=True)
    assert site.paths.key.read_bytes() == before
    site.works(now)
    enrol(tmp_path, site, roster, now + timedelta(minutes=1))
    site.works(now + timedelta(minutes=1))
    assert site.paths.key.read_bytes() != before
    assert not (site.workspace / "renewal" / "pending.key").exists()


def test_a_key_to_be_encrypted_needs_a_passphrase(tmp_path: Path, site: Machine) -> None:
    with pytest.raises(ProvisioningError, match="there is no passphrase"):
        init_key(tmp_path / "elsewhere", site.identity, encrypted=True)
    assert not (tmp_path / "elsewhere").exists()
