# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.commands import cloister
from tests.federation_folder import change_document, make_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path)


def test_policies_whose_rules_are_tried(root: Path) -> None:
    done = cloister("policy", "check", "-C", root, "--json")
    assert (done.status, done.value["warnings"]) == (0, [])
    assert done.value["policies"] == ["alpha", "baseline", "beta", "gamma"]


@pytest.mark.parametrize("name", ["alpha", "policies/alpha.yaml"])
def test_one_policy_by_name_and_by_file(root: Path, name: str) -> None:
    assert cloister("policy", "check", name, "-C", root, "--json").value["policies"] == ["alpha"]


def test_a_policy_that_is_not_there(root: Path) -> None:
    done = cloister("policy", "check", "alpah", "-C", root)
    assert done.status == 2
    assert "did you mean `alpha`?" in done.err


@pytest.mark.parametrize("command", [("check",), ("policy", "check")])
def test_an_untried_rule_is_refused_with_the_case_to_write(root: Path, command: tuple[str, ...]) -> None:
    (root / "policies/cases/purpose.yaml").unlink()
    done = cloister(*command, "-C", root, "--json")
    assert done.status == 4
    found = {problem["file"]: problem for problem in done.error["problems"]}
    assert set(found) == {"policies/alpha.yaml", "policies/beta.yaml", "policies/gamma.yaml"}
    assert "`purpose` of `alpha` deny" in found["policies/alpha.yaml"]["message"]
    assert "`policies/cases/purpose.yaml`" in found["policies/alpha.yaml"]["hint"]


def test_only_the_named_policies_are_refused(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"hours": {"days": ["monday"], "from": "00:00", "until": "23:00"}})
    assert cloister("policy", "check", "alpha", "-C", root).status == 4
    assert cloister("policy", "check", "beta", "baseline", "-C", root).status == 0


@pytest.mark.parametrize(("days", "said"), [(0, "in 0 days"), (30, "in 30 days"), (31, ""), (-1, "ended on")])
def test_what_ends_soon_is_told(root: Path, days: int, said: str) -> None:
    until = datetime.now(UTC).date() + timedelta(days=days)
    approval = {"kind": "consent", "reference": "form 7", "until": until.isoformat()}
    change_document(root, "policies/alpha.yaml", {"datasets": {"clinical-notes": {"approval": approval}}})
    for path in (root / "policies" / "cases").glob("*.yaml"):
        path.write_text(
            path.read_text().replace("2026-06-01T12:00:00Z", f"{min(until, datetime.now(UTC).date())}T12:00:00Z")
        )
    warnings = cloister("policy", "check", "alpha", "-C", root, "--json").value["warnings"]
    assert len(warnings) == bool(said)
    assert all(said in each["message"] and "`clinical-notes`" in each["message"] for each in warnings)


def test_a_sandbox_that_is_switched_off_is_told(root: Path) -> None:
    change_document(root, "policies/baseline.yaml", {"sandbox": None})
    change_document(root, "policies/alpha.yaml", {"sandbox": "unsafe-none"})
    (warning,) = cloister("policy", "check", "alpha", "-C", root, "--json").value["warnings"]
    assert warning["message"] == "sandbox: unsafe-none: training code runs there without isolation"
    assert warning["line"] > 1


@pytest.mark.parametrize("command", [("check",), ("policy", "check"), ("policy", "check", "alpha")])
def test_cases_that_fail_are_told_once_with_one_of_them(root: Path, command: tuple[str, ...]) -> None:
    change_document(root, "policies/alpha.yaml", {"methods": {"lora": {"maximum_rank": 1}}})
    done = cloister(*command, "-C", root, "--json")
    (problem,) = done.error["problems"]
    assert (done.status, problem["file"], problem["hint"]) == (
        4,
        "policies/alpha.yaml",
        "see cloister policy test alpha",
    )
    assert "cases do not hold, such as `allowed` (policies/cases/validity.yaml:" in problem["message"]
    assert "at alpha: denied by `method` (policies/alpha.yaml:" in problem["message"]
