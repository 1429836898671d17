# SPDX-License-Identifier: Apache-2.0
"""Kits, requests, rosters and letters that somebody made up, kept or sent again."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cloister.certificates import Identity, PrivateKey, pem
from cloister.certificates.identity import identity_of, startup_folder
from cloister.errors import CloisterError
from cloister.flare.state import State
from cloister.provisioning import Authority, provision
from cloister.provisioning.granting import grant, grant_renewals
from cloister.provisioning.kit_archive import MANIFEST, read_archive
from cloister.provisioning.publication import publish
from cloister.provisioning.renewal import install_certificate, request_renewal
from cloister.provisioning.revoking import revoke
from cloister.repository import load_repository
from cloister.roster import Federation
from cloister.trust import roster_file, take_up
from tests.federation_folder import PERSON
from tests.flare.signed_jobs import SITE
from tests.redteam.attempts import Tries
from tests.redteam.scene import Scene
from tests.zip_bombs import bomb

TRIES = Tries()


def told(act: Callable[[], object]) -> str:
    try:
        return f"taken: {act()!r}"
    except CloisterError as error:
        return str(error)


def authority_of(scene: Scene) -> tuple[Authority, Federation, Path]:
    state = State(scene.root).folder
    return Authority.open(state / "authority"), load_repository(scene.root).federation.value, state


def entry(federation: Federation, name: str) -> Identity:
    found = identity_of(federation, name)
    assert found is not None
    return found


@TRIES("kit-that-inflates")
def _(scene: Scene) -> list[str]:
    return [
        told(partial(read_archive, bomb(MANIFEST, method), "0" * 64))
        for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
    ]


@TRIES("revoked-key-again")
def _(scene: Scene) -> list[str]:
    authority, federation, state = authority_of(scene)
    now, site = datetime.now(UTC), entry(federation, SITE)
    request = PrivateKey.load(startup_folder(state, site) / "client.key").request(site)
    revoke(authority, SITE, "a stolen disk", now)
    again = [each.identity.name for each in provision(federation, state, now) if each.created]
    assert again == []
    return [told(lambda: grant(authority, federation, request, (), now))]


@TRIES("renewal-sent-again")
def _(scene: Scene) -> list[str]:
    authority, federation, state = authority_of(scene)
    now, site = datetime.now(UTC), entry(federation, SITE)
    request = request_renewal(startup_folder(state, site).parent, site, now)
    later = [now + timedelta(hours=hour) for hour in range(1, 30)]
    answers = {grant_renewals(authority, federation, {SITE: request}, at)[0][SITE] for at in later}
    in_anothers_name = grant_renewals(authority, federation, {"beta": request}, now)[1]["beta"]
    return [f"{len(answers)} certificate", str(in_anothers_name)]


@TRIES("old-or-foreign-roster")
def _(scene: Scene) -> list[str]:
    authority, federation, state = authority_of(scene)
    now, workspace = datetime.now(UTC), startup_folder(state, entry(federation, SITE)).parent
    old = roster_file(workspace).read_bytes()
    assert take_up(workspace, publish(authority, federation, now)) is not None
    other = Authority.create(scene.folder / "other", federation, now)
    foreign = publish(other, federation, now)
    taken = take_up(workspace, old)
    return ["no newer roster" if taken is None else "taken", told(lambda: take_up(workspace, foreign))]


@TRIES("grant-of-anothers-certificate")
def _(scene: Scene) -> list[str]:
    authority, federation, state = authority_of(scene)
    now, site, person = datetime.now(UTC), entry(federation, SITE), entry(federation, PERSON)
    others = (startup_folder(state, person) / "client.crt").read_bytes()
    stray = authority.sign(PrivateKey.generate().request(site), site, timedelta(days=9), now)
    workspace = startup_folder(state, site).parent
    before = pem.read_certificate(workspace / "startup" / "client.crt")
    said = [told(partial(install_certificate, workspace, site, each, now)) for each in (others, stray)]
    assert pem.read_certificate(workspace / "startup" / "client.crt") == before
    return said
