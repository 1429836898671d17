# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


def test_allows_a_filter_by_a_declared_category(world: World) -> None:
    assert world.effects("rows") == ["allow", "allow"]
    assert world.outcomes("rows")[0].message == "rows are filtered by `ward`"


@pytest.mark.parametrize("column", ["patient_id", "note", "diary"])
@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_a_filter_by_anything_else(world: World, column: str, which: str) -> None:
    tree = world.site if which == "site" else world.baseline
    tree["datasets"]["clinical-notes"]["rows"] = {column: ["north"]}
    refusal = world.refusal("rows")
    assert refusal.document == which
    assert refusal.message.startswith(f"rows are filtered by column `{column}`, which silo.yaml:")
    assert refusal.message.endswith("does not declare as a category")
    assert world.line(refusal.policy_at) == f"{column}:"


@pytest.mark.parametrize("which", ["site", "baseline"])
def test_denies_a_value_that_the_column_cannot_hold(world: World, which: str) -> None:
    tree = world.site if which == "site" else world.baseline
    tree["datasets"]["clinical-notes"]["rows"] = {"ward": ["north", "nroth"]}
    refusal = world.refusal("rows")
    assert refusal.document == which
    assert refusal.message.endswith("declare: column `ward` has no value `'nroth'` (nearest is `north`)")
    assert world.line(refusal.policy_at) == "ward:"


def test_names_every_column_that_will_not_do(world: World) -> None:
    world.site["datasets"]["clinical-notes"]["rows"] = {"note": ["x"], "ward": ["north"], "diary": ["y"]}
    assert world.effects("rows") == ["deny", "deny", "allow"]


def test_without_a_filter_there_is_nothing_to_ask(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]["rows"]
    assert world.effects("rows") == ["not-applicable", "allow"]


def test_a_dataset_that_the_silo_lacks_cannot_be_filtered(world: World) -> None:
    world.silo["datasets"]["other"] = world.silo["datasets"].pop("clinical-notes")
    assert world.effects("rows") == ["deny", "deny"]


def test_a_dataset_that_is_not_granted_is_denied(world: World) -> None:
    del world.site["datasets"]["clinical-notes"]
    assert world.effects("rows") == ["deny", "allow"]
