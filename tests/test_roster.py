# SPDX-License-Identifier: Apache-2.0
"""The roster: one identity per name, and none that NVFlare keeps for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.documents import load, parse
from cloister.errors import InvalidDocumentsError
from cloister.roster import Federation, Role

ROOT = Path(__file__).resolve().parent.parent
TEXT = """\
federation: f
server: { name: coordinator, organisation: o }
sites:
  - { name: north, organisation: o }
people:
  - { name: ada@x.example, organisation: o, role: data-scientist }
"""


def read(old: str = "", new: str = "") -> Federation:
    assert old in TEXT
    return parse(TEXT.replace(old, new).encode(), Federation, name="federation.yaml").value


def test_identities_are_found_by_name() -> None:
    roster = read()
    assert roster.site("north") is roster.sites[0]
    assert roster.site("south") is None
    person = roster.person("ada@x.example")
    assert person is not None
    assert person.role is Role.DATA_SCIENTIST
    assert roster.person("north") is None


def test_what_is_not_said_is_safe() -> None:
    roster = read()
    assert (roster.server.port, roster.server.host) == ("auto", "localhost")
    assert roster.authority.key_bits >= 3072
    assert roster.lifetimes.person_days <= roster.lifetimes.site_days <= roster.authority.valid_days


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("name: north", "name: coordinator", "names `coordinator` twice"),
        ("name: north", "name: server", "reserved word `server`"),
        ("name: north", "name: North", "federation.yaml:4: `sites.name` must be 1 to 63 lower-case letters"),
        ("name: north", "name: ../x", "federation.yaml:4: `sites.name` must be 1 to 63 lower-case letters"),
        ("name: north", "name: " + "a" * 64, "federation.yaml:4: `sites.name` must be 1 to 63 lower-case letters"),
        ("name: ada@x.example", "name: ada", "federation.yaml:6: `people.name` must be written like a mail address"),
        ("role: data-scientist", "role: lead", "federation.yaml:6: `people.role` should be 'data-scientist'"),
        ("organisation: o }\nsites", "organisation: o, port: 80 }\nsites", "`server.port` should be greater"),
        (
            "organisation: o }\nsites",
            "organisation: o, prot: 8002 }\nsites",
            "unknown key `prot` (did you mean `port`?)",
        ),
        ("federation: f\n", "federation: f\nauthority: { key_bits: 1024 }\n", "`authority.key_bits`"),
        ("federation: f\n", "federation: f\nlifetimes: { site_days: 826 }\n", "`lifetimes.site_days`"),
        ("sites:\n  - { name: north, organisation: o }", "sites: []", "`sites`"),
    ],
)
def test_what_would_make_a_wrong_certificate_is_refused(old: str, new: str, wrong: str) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        read(old, new)
    assert wrong in str(caught.value)


def test_the_reference_roster_has_every_role_and_site() -> None:
    roster = load(ROOT / "provisioning" / "federation.yaml", Federation).value
    assert roster.federation == "reference"
    assert {person.role for person in roster.people} == set(Role)
    assert {site.name for site in roster.sites} == {path.stem for path in (ROOT / "silos").glob("*.yaml")}
