# SPDX-License-Identifier: Apache-2.0
"""The way back: what a roster becomes in a project file, and that it comes over again as it was."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloister.documents import load
from cloister.errors import ProvisioningError
from cloister.nvflare_project import Choices, convert, parse_project
from cloister.nvflare_project.plain import LOST, ROLES, project, project_text
from cloister.roster import Federation, Role
from tests.federation_folder import default_roster, merged

REFERENCE = Path(__file__).parents[2] / "provisioning" / "federation.yaml"


def roster(**changes: Any) -> Federation:
    return Federation.model_validate_json(json.dumps(merged(default_roster(), changes)))


@pytest.mark.parametrize("federation", [roster(), load(REFERENCE, Federation).value], ids=["tiny", "reference"])
def test_what_goes_back_comes_over_again_as_it_was(federation: Federation) -> None:
    document = parse_project(project_text(federation, 8002).encode(), "project.yml")
    files = convert(document, Choices(), date(2026, 11, 27)).documents
    again = Federation.model_validate_json(json.dumps(yaml.safe_load(files["provisioning/federation.yaml"])))
    assert again.federation == federation.federation
    assert (again.server.name, again.server.organisation) == (federation.server.name, federation.server.organisation)
    assert (again.server.host, again.server.other_hosts) == (federation.server.host, federation.server.other_hosts)
    assert again.authority.valid_days == federation.authority.valid_days
    assert [(each.name, each.organisation) for each in again.sites] == [
        (each.name, each.organisation) for each in federation.sites
    ]
    assert again.people == federation.people


def test_every_role_has_one_of_nvflares() -> None:
    assert set(ROLES) == set(Role)


def test_what_is_lost_is_said_in_the_file() -> None:
    text = project_text(roster(), 8002)
    assert all(sentence in text for sentence in LOST)


def test_organisations_are_spelled_as_nvflare_takes_them() -> None:
    tree = project(roster(), 8002)
    assert {each["org"] for each in tree["participants"]} >= {"alpha_hospital", "institute"}


def test_the_port_is_the_one_that_is_given() -> None:
    assert project(roster(), 9123)["participants"][0]["fed_learn_port"] == 9123


@pytest.mark.parametrize("host", ["fd00::7", "fl.example.org:8002"])
def test_a_host_that_nvflare_cannot_take_is_refused(host: str) -> None:
    with pytest.raises(ProvisioningError, match=f"NVFlare takes no host `{host}`"):
        project(roster(server={"host": host}), 8002)


def test_a_person_that_nvflare_cannot_take_is_refused() -> None:
    people = [{"name": "ada@localhost", "organisation": "institute", "role": "data-scientist"}]
    with pytest.raises(ProvisioningError, match="NVFlare takes no admin called `ada@localhost`"):
        project(roster(people=people), 8002)


@pytest.mark.slow
def test_nvflare_has_these_patterns_for_names() -> None:
    from nvflare.apis.utils.format_check import name_check

    for each in project(load(REFERENCE, Federation).value, 8002)["participants"]:
        assert name_check(each["name"], each["type"])[0] is False
        assert name_check(each["org"], "org")[0] is False
    assert name_check("::1", "host_name")[0] is True
    assert name_check("ada@localhost", "admin")[0] is True
