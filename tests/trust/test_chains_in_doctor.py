# SPDX-License-Identifier: Apache-2.0
"""`cloister doctor` says of each bad certificate what those say who refuse it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from cloister.certificates.pem import certificate_pem
from cloister.doctor import Level
from cloister.doctor.finding import Finding
from cloister.doctor.handshake import Handshake, Outcome
from cloister.doctor.kit import judge_kit
from cloister.doctor.own import Own
from cloister.doctor.peer import Expected, judge_handshake
from cloister.doctor.roster import judge_roster
from cloister.provisioning.kit import KitPaths, read_kit
from tests.trust.chains import TABLE, Bad
from tests.trust.chains.cases import KITS, lay_down, make
from tests.trust.chains.world import NAMES, SERVER, World, make_leaf

pytestmark = pytest.mark.filterwarnings("ignore")


def own_findings(paths: KitPaths, world: World) -> tuple[Finding, ...]:
    """What doctor says of a participant's own certificate."""
    kit = read_kit(paths.key.parent, world.who)
    own = Own(world.who, True, paths.key.parent.parent, kit, world.trust, None, True)
    return (*judge_kit(own, world.now), *judge_roster(own, world.trust.federation, world.now))


def problems(findings: tuple[Finding, ...]) -> list[str]:
    return [each.message for each in findings if each.level is Level.PROBLEM]


@pytest.mark.parametrize(("bad", "kind"), KITS)
def test_a_participants_own(worlds: dict[str, World], tmp_path: Path, bad: Bad, kind: str) -> None:
    shown, world = make(bad, worlds[kind])
    found = problems(own_findings(lay_down(tmp_path, world, shown.content), world))
    assert any(re.search(bad.at_kit or bad.words, message) for message in found), found


@pytest.mark.parametrize("kind", NAMES)
def test_a_participants_own_that_is_right(worlds: dict[str, World], tmp_path: Path, kind: str) -> None:
    world = worlds[kind]
    assert problems(own_findings(lay_down(tmp_path, world, world.pem), world)) == []


def peer_findings(certificate: x509.Certificate, world: World, outcome: Outcome) -> tuple[Finding, ...]:
    """What doctor says at a site of a server that shows ``certificate``."""
    expected = Expected(world.entry(SERVER), "port 8002 of `localhost`", world.trust.anchors, world.trust, world.now)
    return tuple(judge_handshake(Handshake(outcome, certificate=certificate, version="TLSv1.3"), expected))


def servers(bad: Bad, world: World) -> tuple[x509.Certificate, World] | None:
    """What a server with this file shows; nothing, where it can show none or the right one."""
    shown, world = make(bad, world)
    try:
        found = x509.load_pem_x509_certificates(shown.content)[0]
    except (ValueError, x509.InvalidVersion):
        return None
    return None if certificate_pem(found) == world.pem and world.trust.version == 7 else (found, world)


# In the words with which doctor begins, before it comes to the roster's.
AS_DOCTOR_HAS_IT = (
    r"expired on .*clock says|begins on .*clock says|is for .*, and the roster dials `localhost`"
    r"|is not that of the server|is signed by another authority that bears the name of this federation's"
)


@pytest.mark.parametrize("bad", [bad for bad in TABLE if "server" in bad.kinds], ids=lambda bad: bad.name)
def test_the_servers(worlds: dict[str, World], bad: Bad) -> None:
    if (found := servers(bad, worlds["server"])) is None:
        return
    for outcome in (Outcome.ESTABLISHED, Outcome.WE_REFUSE, Outcome.HUNG_UP):
        messages = problems(peer_findings(*found, outcome))
        assert messages
        assert re.search(f"{bad.words}|{AS_DOCTOR_HAS_IT}|cannot be judged", messages[0]), messages


def test_the_servers_that_is_right(worlds: dict[str, World]) -> None:
    world = worlds["server"]
    assert problems(peer_findings(world.good, world, Outcome.ESTABLISHED)) == []


def test_the_servers_that_was_renewed_since_the_roster(worlds: dict[str, World]) -> None:
    world = worlds["server"]
    later = replace(world, now=world.now + timedelta(minutes=10))
    renewed = make_leaf(world.who, world.leaf_key, world.root, world.root_key, later.now)
    assert problems(peer_findings(renewed, later, Outcome.ESTABLISHED)) == []
    issued = replace(later, trust=replace(world.trust, issued_at=later.now))
    assert "was not issued for that entry" in problems(peer_findings(renewed, issued, Outcome.ESTABLISHED))[0]
