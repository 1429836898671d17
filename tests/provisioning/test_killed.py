# SPDX-License-Identifier: Apache-2.0
"""Renewing, approving, joining and revoking, killed at every step: the old identity works, or the new one, always."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cloister.certificates.pem import read_certificate
from cloister.errors import CertificateError
from cloister.provisioning.enrolment import request_certificate
from cloister.provisioning.granting import grant, grant_renewals
from cloister.provisioning.joining import join
from cloister.provisioning.publication import latest_roster, publish
from cloister.provisioning.renewal import install_certificate, request_renewal
from cloister.provisioning.revoking import revoke
from cloister.provisioning.rotation import announce, finish, switch
from cloister.roster import Federation
from cloister.trust import judge, read_roster, take_up, trust_in_force
from tests.provisioning.remote import Machine, authority_at, begin, machines
from tests.provisioning.trap import killed_at
from tests.provisioning.world import SITE, drafts

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pooled_keys")]

Work = Callable[[Path], object]


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory, roster: Federation, now: datetime) -> Path:
    """Everybody enrolled some time ago; nobody changes it."""
    root = tmp_path_factory.mktemp("joined")
    begin(root, roster, now - timedelta(days=100))
    return root


@pytest.fixture
def later(now: datetime) -> datetime:
    return now


def site_of(root: Path, roster: Federation) -> Machine:
    return machines(root, roster)[SITE]


def at_every_step(pristine: Path, tmp_path: Path, work: Work, check: Work, least: int) -> None:
    """Kill ``work`` at each of its steps, in a copy of its own; then ``check`` must hold."""
    step = 1
    while True:
        root = Path(shutil.copytree(pristine, tmp_path / str(step)))
        reached = killed_at(step, functools.partial(work, root))
        check(root)
        shutil.rmtree(root)
        if not reached:
            break
        step += 1
    assert step > least


def renewed(root: Path, roster: Federation, now: datetime, *, new_key: bool) -> None:
    """The whole of a renewal: asked, granted, published, taken up, put in place."""
    site = site_of(root, roster)
    request = request_renewal(site.workspace, site.identity, now, new_key=new_key)
    authority = authority_at(root / "authority")
    granted, refused = grant_renewals(authority, roster, {SITE: request}, now)
    assert not refused
    take_up(site.workspace, publish(authority, roster, now))
    install_certificate(site.workspace, site.identity, granted[SITE], now)


@pytest.mark.parametrize("new_key", [False, True])
def test_a_renewal_killed_at_any_step_leaves_the_old_identity_or_the_new_one(
    joined: Path, tmp_path: Path, roster: Federation, later: datetime, new_key: bool
) -> None:
    before = site_of(joined, roster).works(later)

    def check(root: Path) -> None:
        site = site_of(root, roster)
        site.works(later)
        renewed(root, roster, later + timedelta(minutes=1), new_key=new_key)
        assert site.works(later) != before
        assert drafts(site.workspace) == []
        assert sorted(path.name for path in (site.workspace / "renewal").iterdir()) == [".lock", "key.json"]

    at_every_step(joined, tmp_path, lambda root: renewed(root, roster, later, new_key=new_key), check, 40)


def test_joining_killed_at_any_step_leaves_nothing_or_everything(
    joined: Path, tmp_path: Path, roster: Federation, later: datetime
) -> None:
    pristine = Path(shutil.copytree(joined, tmp_path / "pristine"))
    site, authority = site_of(pristine, roster), authority_at(pristine / "authority")
    shutil.rmtree(site.root)
    kit = grant(authority, roster, request_certificate(site.state, site.identity), (), later).kit
    key = site.paths.key.read_bytes()

    def work(root: Path) -> None:
        place = site_of(root, roster)
        join(place.root, place.state, "site", kit, authority.fingerprint, later)

    def check(root: Path) -> None:
        place = site_of(root, roster)
        assert place.paths.key.read_bytes() == key
        work(root)
        place.works(later)
        assert drafts(place.workspace) == []

    at_every_step(pristine, tmp_path / "copies", work, check, 15)


def test_joining_again_killed_at_any_step_leaves_the_old_identity_or_the_new_one(
    joined: Path, tmp_path: Path, roster: Federation, later: datetime
) -> None:
    pristine = Path(shutil.copytree(joined, tmp_path / "pristine"))
    site, authority = site_of(pristine, roster), authority_at(pristine / "authority")
    kit = grant(authority, roster, request_certificate(site.state, site.identity), (), later).kit

    def work(root: Path) -> None:
        place = site_of(root, roster)
        join(place.root, place.state, "site", kit, authority.fingerprint, later)

    def check(root: Path) -> None:
        place = site_of(root, roster)
        place.works(later)
        work(root)
        place.works(later)

    at_every_step(pristine, tmp_path / "copies", work, check, 15)


def test_approving_killed_at_any_step_leaves_a_record_of_everything_that_was_signed(
    joined: Path, tmp_path: Path, roster: Federation, later: datetime
) -> None:
    csr = request_certificate(site_of(joined, roster).state, site_of(joined, roster).identity)

    def work(root: Path) -> None:
        grant(authority_at(root / "authority"), roster, csr, (), later)

    def check(root: Path) -> None:
        authority = authority_at(root / "authority")
        for machine in machines(root, roster).values():
            machine.works(later)
        kit = grant(authority, roster, csr, (), later).kit
        place = site_of(root, roster)
        join(place.root, place.state, "site", kit, authority.fingerprint, later)
        place.works(later)
        found = latest_roster(authority)
        assert found is not None
        assert len(found[1].pins[SITE]) == len({each.serial_number for each in authority.issued()}) - 2
        assert drafts(authority.folder) == []

    at_every_step(
        joined, tmp_path, lambda root: grant(authority_at(root / "authority"), roster, csr, (), later), check, 10
    )


def test_revoking_killed_at_any_step_revokes_one_and_nobody_else(
    joined: Path, tmp_path: Path, roster: Federation, later: datetime
) -> None:
    def work(root: Path) -> None:
        authority = authority_at(root / "authority")
        revoke(authority, SITE, "a laptop was stolen", later)
        publish(authority, roster, later)

    def check(root: Path) -> None:
        authority = authority_at(root / "authority")
        found = latest_roster(authority)
        assert found is not None
        for machine in machines(root, roster).values():
            machine.works(later)  # by the roster that each has
            certificate = read_certificate(machine.paths.certificate)
            if machine.identity.name != SITE:
                assert judge(certificate, found[1], later) == machine.identity
        work(root)
        found = latest_roster(authority)
        assert found is not None
        with pytest.raises(CertificateError, match="was revoked"):
            judge(read_certificate(site_of(root, roster).paths.certificate), found[1], later)
        assert drafts(authority.folder) == []

    at_every_step(joined, tmp_path, work, check, 8)


def test_handing_over_killed_at_any_step_locks_nobody_out(
    joined: Path, tmp_path: Path, roster: Federation, later: datetime
) -> None:
    def work(root: Path) -> None:
        authority = authority_at(root / "authority")
        standing = authority.generations
        if len(standing.trusted) == 1 and standing.signing == 1:
            authority = announce(authority, roster, later)
        if authority.generations.signing == 1:
            authority = switch(authority, roster, later)
        if len(authority.generations.trusted) == 2:
            finish(authority, roster, later, anyway=True)

    def check(root: Path) -> None:
        for machine in machines(root, roster).values():
            machine.works(later)
        work(root)
        authority = authority_at(root / "authority")
        content = publish(authority, roster, later)
        assert read_roster(content, authority.roots).anchors.roots == authority.roots
        assert (authority.generations.trusted, authority.generations.signing) == ((2,), 2)

    at_every_step(joined, tmp_path, work, check, 15)


def test_a_roster_taken_up_is_the_old_one_or_the_new_one(
    joined: Path, tmp_path: Path, roster: Federation, later: datetime
) -> None:
    pristine = Path(shutil.copytree(joined, tmp_path / "pristine"))
    announced = announce(authority_at(pristine / "authority"), roster, later)
    found = latest_roster(announced)
    assert found is not None
    content, trust = found

    def work(root: Path) -> None:
        take_up(site_of(root, roster).workspace, content)

    def check(root: Path) -> None:
        site = site_of(root, roster)
        site.works(later)
        work(root)
        site.works(later)
        assert trust_in_force(site.workspace) == trust
        assert set(trust.anchors.roots) == set(announced.roots)

    at_every_step(pristine, tmp_path / "copies", work, check, 4)
