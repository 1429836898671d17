# SPDX-License-Identifier: Apache-2.0
"""Certificates that a stranger might show as the server's: real chains, judged as values."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from cloister.certificates import identities
from cloister.certificates.objections import objections
from cloister.doctor import Level
from cloister.doctor.handshake import ABOUT_CERTIFICATES, Handshake, Outcome, cleaned
from cloister.doctor.peer import Expected, judge_handshake
from tests.doctor.world import World

BAD_CHAINS = Path(__file__).parents[3] / "shared" / "data" / "bad_inputs" / "badssl_chains"
CHAINS = sorted(path.name for pattern in ("*.pem", "*.crt") for path in BAD_CHAINS.glob(pattern))


def expected(world: World, *, with_roster: bool = True) -> Expected:
    trust = world.trust
    server = identities(trust.federation)[0]
    roster = trust if with_roster else None
    return Expected(server, "port 8002 of `localhost`", trust.anchors, roster, datetime.now(UTC))


@pytest.mark.skipif(not CHAINS, reason=f"the bad certificate chains are not in {BAD_CHAINS}")
@pytest.mark.parametrize("with_roster", [True, False])
def test_every_bad_chain_is_a_problem_in_the_words_of_the_judge(world: World, with_roster: bool) -> None:
    assert len(CHAINS) > 20
    for name in CHAINS:
        try:
            leaf = x509.load_pem_x509_certificates((BAD_CHAINS / name).read_bytes())[0]
        except ValueError:
            continue  # one that cannot even be read never comes out of a handshake
        wanted = expected(world, with_roster=with_roster)
        found = list(judge_handshake(Handshake(Outcome.WE_REFUSE, "whatever", leaf), wanted))
        assert found, name
        assert all(each.level is Level.PROBLEM and each.hint for each in found), name
        said = [each.words for each in objections(leaf, wanted.server, wanted.anchors, wanted.now)]
        assert any(each in found[0].message for each in said), (name, found[0].message)
        assert found[0].message.isprintable(), name


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.ESTABLISHED])
@pytest.mark.parametrize("certificate", [True, False])
def test_no_outcome_but_an_established_connection_is_in_order(
    world: World, outcome: Outcome, certificate: bool
) -> None:
    right = x509.load_pem_x509_certificate((world.server / "startup" / "server.crt").read_bytes())
    shown = right if certificate else None
    found = list(judge_handshake(Handshake(outcome, "", shown, "TLSv1.3"), expected(world)))
    assert found
    assert all(each.level is Level.PROBLEM for each in found)


def test_a_certificate_that_ends_soon_is_a_warning(world: World) -> None:
    right = x509.load_pem_x509_certificate((world.server / "startup" / "server.crt").read_bytes())
    ending = right.not_valid_after_utc
    wanted = expected(world)
    soon = Expected(wanted.server, wanted.place, wanted.anchors, wanted.trust, ending.replace(microsecond=0))
    (found,) = judge_handshake(Handshake(Outcome.ESTABLISHED, "", right, "TLSv1.3"), soon)
    assert (found.code, found.level) == ("D0309", Level.WARNING)


@pytest.mark.parametrize("alert", ABOUT_CERTIFICATES)
def test_every_alert_about_certificates_has_its_words(world: World, alert: str) -> None:
    (found,) = judge_handshake(Handshake(Outcome.THEY_REFUSE, alert, None, "TLSv1.3"), expected(world))
    assert found.code == "D0310"
    assert ABOUT_CERTIFICATES[alert] in found.message


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"HTTP/1.1 400 Bad\r\nServer: x\r\n", "HTTP/1.1 400 Bad"),
        (b"\x1b[31mred\x07\r\n", "[31mred"),
        (b"\x00\x00\x12\x04\x00", ""),
        (b"", ""),
        (b"a" * 500, "a" * 60),
    ],
)
def test_what_a_stranger_says_is_cleaned(sent: bytes, shown: str) -> None:
    assert cleaned(sent) == shown
    assert re.fullmatch(r"[ -~]*", cleaned(sent))
