# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.policies import Submitter
from tests.policies.world import ADA, World

STRANGERS = {
    "people": Submitter("eve@research.example", ADA.organisation, ADA.role),
    "roles": Submitter(ADA.name, ADA.organisation, "compliance-officer"),
    "organisations": Submitter(ADA.name, "elsewhere", ADA.role),
}


def test_allows_who_is_in_every_list(world: World) -> None:
    assert world.effects("submitter") == ["allow", "allow"]


@pytest.mark.parametrize("key", STRANGERS)
@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_who_is_missing_in_one_list(world: World, key: str, which: str) -> None:
    (world.baseline if which == "site" else world.site)["submitters"][key].append(
        {"people": "eve@research.example", "roles": "compliance-officer", "organisations": "elsewhere"}[key]
    )
    world.submitter = STRANGERS[key]
    refusal = world.refusal("submitter")
    assert refusal.policy_at.startswith(which)
    assert world.line(refusal.policy_at) == f"{key}:"
    assert f"not among the granted {key}" in refusal.message


@pytest.mark.parametrize("key", STRANGERS)
def test_one_list_alone_is_enough(world: World, key: str) -> None:
    world.silence_baseline()
    world.site["submitters"] = {key: world.site["submitters"][key]}
    assert world.decide().allowed
    world.submitter = STRANGERS[key]
    assert not world.decide().allowed


def test_names_every_list_that_misses(world: World) -> None:
    world.silence_baseline()
    world.submitter = Submitter("eve@x", "elsewhere", "nobody")
    assert world.effects("submitter") == ["deny", "deny", "deny", "not-applicable"]


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_a_section_with_no_list_grants_nobody(world: World, which: str) -> None:
    (world.site if which == "site" else world.baseline)["submitters"] = {}
    assert "gives no list" in world.refusal("submitter").message


def test_a_name_cannot_break_the_line(world: World) -> None:
    world.submitter = Submitter("eve`\n\x1b[2J" + "x" * 500, ADA.organisation, ADA.role)
    sentence = world.decide().sentence()
    assert sentence.isprintable()
    assert len(sentence) < 400
