# SPDX-License-Identifier: Apache-2.0
"""A world in which nothing is wrong."""

from __future__ import annotations

from cloister.doctor import THIS_MACHINE, Level
from tests.doctor.world import SITE, World, codes
from tests.federation_folder import PERSON

# The kernel of a container has nothing that keeps its clock right; and here the server is on the loopback by design.
EXPECTED_WARNINGS = {"D0502", "D0103", "D1002", "D1007", "D1004"}


def test_a_site_that_reaches_its_server_has_no_problem(world: World) -> None:
    with world.serving():
        sections = world.sections()
    assert [(each.name, each.kind) for each in sections] == [(THIS_MACHINE, "machine"), (SITE, "site")]
    findings = [finding for section in sections for finding in section.findings]
    assert codes(findings) == set()
    assert codes(findings, least=Level.WARNING) <= EXPECTED_WARNINGS
    named = {each.code for each in findings}
    assert {"D0200", "D0300", "D0600", "D0700", "D0800", "D0900", "D1100", "D1200", "D1300", "D1400", "D1500"} <= named
    (tls,) = [each for each in findings if each.code == "D0300"]
    assert "TLSv1.3 with port" in tls.message
    assert "each side accepts the other's certificate" in tls.message


def test_a_person_is_looked_at_too(world: World) -> None:
    with world.serving():
        findings = world.findings(PERSON)
    assert codes(findings) == set()
    roster = next(each for each in findings if each.code == "D0700")
    assert f"`{PERSON}` of `institute` as data-scientist" in roster.message
    assert "D0300" in {each.code for each in findings}
    assert not {each.code for each in findings} & {"D0800", "D1200"}


def test_without_a_name_everybody_whose_key_lies_here_is_looked_at(world: World) -> None:
    with world.serving():
        names = [each.name for each in world.sections("")]
    assert names == [THIS_MACHINE, SITE, PERSON, "olga@research.example"]
