# SPDX-License-Identifier: Apache-2.0
"""How small, large and long what a policy or a case says may be: the last that is read, the first that is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from cloister.documents import Model
from cloister.policies import Policy
from cloister.policies.cases import Cases
from tests.policies.world import Tree, World

MANY = 10**12
# Key, smallest and largest number; None where there is no largest.
NUMBERS: list[tuple[str, int, int | None]] = [
    ("language", 1, 1),
    ("version", 1, None),
    ("datasets.clinical-notes.minimum_records", 1, MANY),
    ("datasets.clinical-notes.minimum_per_class", 1, MANY),
    ("datasets.clinical-notes.minimum_validation_records", 1, MANY),
    ("methods.lora.maximum_rank", 1, 256),
    ("methods.prompt.maximum_tokens", 1, 256),
    ("methods.prefix.maximum_tokens", 1, 256),
    ("training.maximum_rounds", 1, 1000),
    ("training.maximum_batch_size", 1, 4096),
    ("training.maximum_steps_per_round", 1, 100_000),
    ("training.maximum_epochs_per_round", 1, 100),
    ("training.minimum_records_per_round", 1, MANY),
    ("may_leave.maximum_bytes_per_round", 1, MANY),
    ("may_leave.maximum_bytes_per_job", 1, 1000 * MANY),
    ("aggregation.minimum_sites", 1, 200),
    ("release.minimum_sites", 1, 200),
    ("release.minimum_records", 1, MANY),
    ("privacy.epsilon", 1, 1000),
]
# Key, what is read, what is not.
EDGES: list[tuple[str, list[Any], list[Any]]] = [
    ("may_leave.maximum_norm", [1e-9, 1e300], [0.0, -1.0]),
    ("privacy.epsilon", [1e-9, 1000.0], [0.0, -1.0, 1000.001]),
    ("privacy.delta", [0.0, 0.999], [-1e-9, 1.0]),
    ("may_leave.metric_bounds.loss", [{"minimum": 0}, {"maximum": 0}, {"minimum": 1, "maximum": 1}], [{}]),
    ("may_leave.metric_bounds.loss", [{"minimum": -1, "maximum": 1}], [{"minimum": 1, "maximum": 0.999}]),
    ("hours.from", ["00:00", "06:59", "19:59", "20:00", "23:59"], ["24:00", "12:60", "7:00", "07:00:00", "07:00\n"]),
    ("release", [{"minimum_sites": 1}, {"minimum_records": 1}, {"approved_by": ["nora@north.example"]}], [{}]),
    ("valid_until", ["2026-01-01", "9999-12-31"], ["2025-12-31"]),
]
# Key, one entry (`#` becomes a number), least and most entries; None where there is no most.
LENGTHS: list[tuple[str, Any, int, int | None]] = [
    ("submitters.people", "person#@research.example", 1, 1000),
    ("submitters.organisations", "institute-#", 1, 1000),
    ("purposes", "purpose-#", 1, 100),
    ("datasets", {"columns": ["note"], "minimum_records": 10}, 1, None),
    ("datasets.clinical-notes.columns", "column_#", 1, 1000),
    ("datasets.clinical-notes.purposes", "purpose-#", 1, 100),
    ("datasets.clinical-notes.rows", ["north"], 1, 100),
    ("datasets.clinical-notes.rows.ward", "ward #", 1, 1000),
    ("base_models", {"name": "model-#", "sha256": "0" * 64, "licence": "mit"}, 1, 100),
    ("methods.lora.targets", "layer#", 1, 100),
    ("methods.ia3.targets", "layer#", 1, 100),
    ("code.approved", {"sha256": "0" * 64, "by": "nora", "until": "2026-12-31"}, 1, 1000),
    ("release.approved_by", "person#@research.example", 1, 100),
    ("waivers", {"rule": "hours", "reason": "x", "by": "y", "until": "2026-12-31"}, 1, 100),
    ("waivers.0.jobs", "job-#", 1, 100),
]
CASES: list[tuple[str, list[Any], list[Any]]] = [
    ("cases.0.sites", [["alpha"], [f"site-{number}" for number in range(200)]], [[], ["alpha"] * 201]),
    ("cases.0.view.records", [0, 1], [-1]),
    ("cases.0.leaving.bytes", [0, 1], [-1]),
    ("cases.0.leaving.bytes_before", [0, 1], [-1]),
    (
        "now",
        ["2026-06-01T12:00:00Z", "2026-06-01T12:00:00+00:00"],
        ["2026-06-01T12:00:00", "2026-06-01T12:00:00-01:00"],
    ),
]


def policy_tree() -> Tree:
    world = World()
    world.waive("hours", jobs=["triage-notes"])
    world.site["release"]["approved_by"] = ["nora@north.example"]
    world.site["privacy"] = {"unit": "record", "epsilon": 1, "delta": 0}
    return world.site


def cases_tree(count: int = 1) -> Tree:
    facts = {"view": {"records": 1}, "leaving": {"bytes": 1, "bytes_before": 1}}
    cases = [
        {"case": f"{number}", "sites": ["alpha"], "job": "x", "expect": "allow", **facts} for number in range(count)
    ]
    return {"now": "2026-06-01T12:00:00Z", "cases": cases}


def reads(tree: Tree, key: str, value: Any, model: type[Model] = Policy) -> bool:
    """Whether ``tree`` is read with ``value`` under ``key``, which it has already."""
    inner: Any = tree
    *path, last = (int(part) if part.isdecimal() else part for part in key.split("."))
    for part in path:
        inner = inner[part]
    assert key == "language" or last in inner
    inner[last] = value
    try:
        model.model_validate_json(json.dumps(tree))
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(("key", "smallest", "largest"), NUMBERS)
def test_numbers_have_their_limits(key: str, smallest: int, largest: int | None) -> None:
    assert reads(policy_tree(), key, smallest)
    assert not reads(policy_tree(), key, smallest - 1)
    assert reads(policy_tree(), key, largest or 10**15)
    assert largest is None or not reads(policy_tree(), key, largest + 1)


@pytest.mark.parametrize(("key", "good", "bad"), EDGES)
def test_edges(key: str, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not reads(policy_tree(), key, value)] == []
    assert [value for value in bad if reads(policy_tree(), key, value)] == []


def entries(key: str, entry: Any, count: int) -> Any:
    """So many different entries: a mapping under the keys that hold one, else a list."""
    if key in ("datasets", "datasets.clinical-notes.rows"):
        return {f"entry{number}": entry for number in range(count)}
    return [json.loads(json.dumps(entry).replace("#", str(number))) for number in range(count)]


@pytest.mark.parametrize(("key", "entry", "least", "most"), LENGTHS)
def test_lists_and_mappings_have_their_limits(key: str, entry: Any, least: int, most: int | None) -> None:
    assert reads(policy_tree(), key, entries(key, entry, least))
    assert not reads(policy_tree(), key, entries(key, entry, least - 1))
    assert reads(policy_tree(), key, entries(key, entry, most or 2000))
    assert most is None or not reads(policy_tree(), key, entries(key, entry, most + 1))


@pytest.mark.parametrize(("key", "good", "bad"), CASES)
def test_what_a_case_says_has_its_limits(key: str, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not reads(cases_tree(), key, value, Cases)] == []
    assert [value for value in bad if reads(cases_tree(), key, value, Cases)] == []


def test_a_file_holds_a_thousand_cases() -> None:
    assert [
        count for count in (0, 1, 1000, 1001) if reads(cases_tree(count), "now", "2026-06-01T12:00:00Z", Cases)
    ] == [
        1,
        1000,
    ]
