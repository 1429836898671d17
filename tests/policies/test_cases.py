# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloister.errors import InvalidDocumentsError, Problem
from cloister.policies import RULES, Effect
from cloister.policies.cases import merged, patched
from cloister.policies.coverage import _NEVER_ALLOWS, _NEVER_DENIES, _SPEAKS_ONLY_WHERE
from cloister.repository import Repository, case_results, coverage_problems, load_repository
from tests.federation_folder import OFFICER, PERSON, change_document, make_federation, write_document


def case(**changes: Any) -> dict[str, Any]:
    return {"case": "one", "sites": ["alpha"], "job": "tiny-triage", "expect": "allow", **changes}


def write_case(root: Path, rule: str = "method", **changes: Any) -> Repository:
    """The repository with one more case as the only one of ``rule``."""
    write_document(root, f"policies/cases/{rule}.yaml", {"now": "2026-06-01T12:00:00Z", "cases": [case(**changes)]})
    return load_repository(root)


def problems_of(root: Path, rule: str = "method", **changes: Any) -> tuple[Problem, ...]:
    with pytest.raises(InvalidDocumentsError) as caught:
        write_case(root, rule, **changes)
    return caught.value.problems


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said", "hint"),
    [
        ({"sites": ["alpah"]}, "there is no site `alpah`", "did you mean `alpha`?"),
        ({"job": "tiny-triag"}, "there is no job `tiny-triag`", "did you mean `tiny-triage`?"),
        ({"submitter": "ada@research.exampel"}, "is not in provisioning/federation.yaml", f"did you mean `{PERSON}`?"),
        ({"expect": "deny", "rules": ["methods"]}, "there is no rule `methods`", "did you mean `method`?"),
        ({"expect": "deny"}, "expects `deny` and names no `rules`", ""),
        ({"with": {"method": {"lora": {"rank": 0}}}}, "`method.lora.rank` should be greater than", ""),
        ({"with": {"method": {"lora": {"ranks": 4}}}}, "unknown key `ranks`", "did you mean `rank`?"),
        ({"with": {"purpose": None}}, "missing key `purpose`", ""),
        ({"now": "2026-06-01T12:00:00"}, "must be a moment in UTC", ""),
        ({"now": "2026-06-01T12:00:00+02:00"}, "must be a moment in UTC", ""),
        ({"code": "abc"}, "`cases.code`", ""),
        ({"cases": 1}, "unknown key `cases`", ""),
    ],
)
def test_a_mistake_is_told_with_its_line(root: Path, changes: Mapping[str, Any], said: str, hint: str) -> None:
    (problem,) = problems_of(root, **changes)
    assert problem.file == "policies/cases/method.yaml"
    assert problem.line > 0
    assert said in problem.message
    assert hint in problem.hint


def test_a_mistake_in_a_change_names_the_very_line(root: Path) -> None:
    (problem,) = problems_of(root, **{"with": {"purpose": "research", "method": {"lora": {"rank": 0}}}})
    lines = (root / problem.file).read_text().splitlines()
    assert lines[problem.line - 1].strip() == "rank: 0"


def test_a_file_is_named_after_a_rule(root: Path) -> None:
    (problem,) = problems_of(root, "methods")
    assert "named after no rule `methods`" in problem.message
    assert problem.hint == "did you mean `method`?"


def test_two_cases_of_one_name_and_two_files_of_one_rule(root: Path) -> None:
    write_document(root, "policies/cases/method.yaml", {"now": "2026-06-01T12:00:00Z", "cases": [case(), case()]})
    write_document(root, "policies/cases/more/training.yaml", {"now": "2026-06-01T12:00:00Z", "cases": [case()]})
    with pytest.raises(InvalidDocumentsError) as caught:
        load_repository(root)
    said = [problem.message for problem in caught.value.problems]
    assert any("two cases called `one`" in each for each in said)
    assert any("is a second file for the rule `training`" in each for each in said)


def test_cases_are_no_policies(root: Path) -> None:
    repo = load_repository(root)
    assert set(repo.policies) == {"alpha", "beta", "gamma", "baseline"}
    assert "method" in repo.cases


def test_a_submitter_must_be_said_where_the_roster_has_several(root: Path) -> None:
    people = yaml.safe_load((root / "provisioning/federation.yaml").read_text())["people"]
    people.append({"name": "bea@research.example", "organisation": "institute", "role": "data-scientist"})
    change_document(root, "provisioning/federation.yaml", {"people": people})
    (problem,) = problems_of(root)
    assert "names no `submitter`" in problem.message
    assert write_case(root, submitter=PERSON)


def test_places_of_a_changed_job_lie_where_the_value_comes_from(root: Path) -> None:
    changes = {"method": {"lora": {"rank": 64}}, "select_by": None}
    repo = write_case(root, expect="deny", rules=["method"], **{"with": changes})
    job = patched(repo.jobs["tiny-triage"], repo.cases["method"], 0)
    assert job.value.method.lora.rank == 64
    assert job.value.method.lora.targets == repo.jobs["tiny-triage"].value.method.lora.targets
    assert job.source.at("method", "lora", "rank").startswith("policies/cases/method.yaml:")
    assert job.source.at("select_by", "metric").startswith("policies/cases/method.yaml:")
    assert job.source.at("method", "lora", "targets").startswith("jobs/tiny-triage.yaml:")
    assert job.source.at("purpose") == repo.jobs["tiny-triage"].source.at("purpose")


def test_a_case_without_changes_asks_the_job_as_it_is(root: Path) -> None:
    repo = write_case(root)
    assert patched(repo.jobs["tiny-triage"], repo.cases["method"], 0) is repo.jobs["tiny-triage"]


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"a": {"b": 2}}, {"a": {"b": 2, "c": [1, 2]}, "d": 1}),
        ({"a": {"c": [3]}}, {"a": {"b": 1, "c": [3]}, "d": 1}),
        ({"a": None}, {"d": 1}),
        ({"d": {"e": None, "f": 1}}, {"a": {"b": 1, "c": [1, 2]}, "d": {"f": 1}}),
        ({}, {"a": {"b": 1, "c": [1, 2]}, "d": 1}),
    ],
)
def test_changes_are_laid_over_as_a_merge_patch(changes: dict[str, Any], result: dict[str, Any]) -> None:
    tree = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merged(tree, changes) == result
    assert tree == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def outcome_of(root: Path, **changes: Any) -> tuple[bool, str]:
    repo = write_case(root, **changes)
    (result,) = [each for each in case_results(repo) if each.trial.rule == "method"]
    return result.passed, result.came


LEAVING = {"bytes": 5_000_000, "norm": 1.0, "tensors": ["adapter"], "metrics": {"loss": 0.1}}


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"with": {"purpose": "marketing"}}, ["purpose"]),
        ({"submitter": OFFICER}, ["submitter"]),
        ({"submitter": {"name": PERSON, "organisation": "vendor", "role": "data-scientist"}}, ["submitter"]),
        ({"now": "1999-01-01T00:00:00Z"}, ["validity"]),
        ({"view": {"records": 9, "classes": {"soon": 9}}}, ["records"]),
        ({"leaving": LEAVING}, ["update-size"]),
        ({"code": "c" * 64}, ["code"]),
        ({"with": {"federation": {"sites": ["beta", "gamma"]}}}, ["sites"]),
    ],
)
def test_every_fact_of_a_case_reaches_the_decision(root: Path, changes: dict[str, Any], rules: list[str]) -> None:
    assert outcome_of(root) == (True, "allow")
    named = ", ".join(f"`{rule}`" for rule in rules)
    assert outcome_of(root, **changes) == (False, f"deny by {named}")
    assert outcome_of(root, **changes, expect="deny", rules=rules)[0]


@pytest.mark.parametrize("rules", [["purpose"], ["method", "purpose", "records"], ["training"]])
def test_a_denial_by_other_rules_than_expected_fails(root: Path, rules: list[str]) -> None:
    changes = {"with": {"purpose": "marketing", "method": {"lora": {"rank": 9}}}}
    assert not outcome_of(root, **changes, expect="deny", rules=rules)[0]
    assert outcome_of(root, **changes, expect="deny", rules=["purpose", "method"])[0]


def waive(root: Path) -> None:
    waiver = {"rule": "training", "reason": "a pilot", "by": "olga", "until": "2026-12-31"}
    change_document(root, "policies/alpha.yaml", {"waivers": [waiver]})


def test_what_is_waived_must_be_named(root: Path) -> None:
    waive(root)
    changes = {"with": {"federation": {"rounds": 21}}}
    assert outcome_of(root, **changes) == (False, "allow waiving `training`")
    assert outcome_of(root, **changes, rules=["training"])[0]
    assert not outcome_of(root, rules=["training"])[0]


def test_every_rule_of_the_small_federation_is_tried(root: Path) -> None:
    assert coverage_problems(load_repository(root)) == []


@pytest.mark.parametrize("rule", ["purpose", "records", "submitter", "sites"])
def test_a_rule_without_a_denial_is_named_with_the_file(root: Path, rule: str) -> None:
    (root / f"policies/cases/{rule}.yaml").unlink()
    found = coverage_problems(load_repository(root))
    assert {problem.file for problem in found} >= {f"policies/{site}.yaml" for site in ("alpha", "beta", "gamma")}
    for problem in found:
        assert f"the rule `{rule}`" in problem.message
        assert problem.message.endswith(Effect.DENY)
        assert f"`policies/cases/{rule}.yaml`" in problem.hint


def test_the_baselines_denial_is_none_by_the_site(root: Path) -> None:
    change_document(root, "policies/baseline.yaml", {"purposes": ["care-improvement"]})
    change_document(root, "policies/alpha.yaml", {"purposes": ["care-improvement", "marketing"]})
    found = coverage_problems(load_repository(root))
    assert [(each.file, "`purpose`" in each.message) for each in found] == [("policies/alpha.yaml", True)]


def test_a_case_that_fails_tries_nothing(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"training": {"maximum_rounds": 1}})
    (found,) = coverage_problems(load_repository(root), frozenset({"alpha"}))
    assert (found.file, found.hint) == ("policies/alpha.yaml", "see cloister policy test alpha")
    assert "cases do not hold, such as `allowed` (policies/cases/validity.yaml:" in found.message
    assert "denied by `training` (policies/alpha.yaml:" in found.message
    assert coverage_problems(load_repository(root), frozenset({"beta", "baseline"})) == []


def test_cases_that_fail_by_the_baseline_are_told_of_it_and_of_each_site(root: Path) -> None:
    change_document(root, "policies/baseline.yaml", {"purposes": ["research"]})
    found = [each for each in coverage_problems(load_repository(root)) if "not hold" in each.message]
    assert [each.file for each in found] == [f"policies/{name}.yaml" for name in ("alpha", "baseline", "beta", "gamma")]
    assert all("denied by `purpose` (policies/baseline.yaml:" in each.message for each in found)


def test_a_denial_that_is_missing_is_told_though_every_rule_is_tried(root: Path) -> None:
    changes = {"expect": "deny", "rules": ["method"]}
    everywhere = {"sites": ["alpha", "beta", "gamma"], "with": {"method": {"lora": {"rank": 9}}}}
    within = {"with": {"method": {"lora": {"rank": 8}}}}
    cases = json.loads(json.dumps([case(case="loosened", **changes, **within), case(**{**changes, **everywhere})]))
    write_document(root, "policies/cases/method.yaml", {"now": "2026-06-01T12:00:00Z", "cases": cases})
    (found,) = coverage_problems(load_repository(root), frozenset({"alpha"}))
    place = "1 case does not hold: `loosened` (policies/cases/method.yaml:3) at alpha"
    assert found.message == f"{place}: expected deny by `method`, came allow"


def test_a_folder_without_cases_loads_and_tries_nothing(root: Path) -> None:
    for path in (root / "policies/cases").iterdir():
        path.unlink()
    (root / "policies/cases").rmdir()
    assert len(coverage_problems(load_repository(root))) > 40


def test_a_waiver_needs_a_case(root: Path) -> None:
    waive(root)
    found = coverage_problems(load_repository(root), frozenset({"alpha"}))
    assert any("`training` of `alpha` waive its denial" in problem.message for problem in found)
    waived = {"case": "waived", "submitter": PERSON, "rules": ["training"], "with": {"federation": {"rounds": 21}}}
    later = {**waived, "case": "too late", "now": "2027-01-01T00:00:00Z", "expect": "deny"}
    cases = json.loads(json.dumps([case(**waived), case(**{**later, "sites": ["alpha", "beta", "gamma"]})]))
    write_document(root, "policies/cases/training.yaml", {"now": "2026-06-01T12:00:00Z", "cases": cases})
    assert coverage_problems(load_repository(root)) == []


@pytest.mark.parametrize(
    ("section", "rule"),
    [
        ({"training": {"minimum_records_per_round": 4}}, "round-records"),
        ({"datasets": {"clinical-notes": {"minimum_per_class": 2}}}, "classes"),
        ({"hours": {"days": ["monday"], "from": "08:00", "until": "18:00"}}, "hours"),
    ],
)
def test_an_optional_key_makes_its_rule_used(root: Path, section: dict[str, Any], rule: str) -> None:
    change_document(root, "policies/alpha.yaml", section)
    assert any(f"`{rule}` of `alpha`" in problem.message for problem in coverage_problems(load_repository(root)))


def test_exceptions_are_about_rules_that_there_are() -> None:
    known = {rule.id for rule in RULES}
    for table in (_SPEAKS_ONLY_WHERE, _NEVER_ALLOWS, _NEVER_DENIES):
        assert table.keys() <= known
