# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import cloister
from tests.federation_folder import OFFICER, PERSON, change_document, make_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path / "federation")


@pytest.mark.parametrize("name", ["tiny-triage", "jobs/tiny-triage.yaml", "tiny-triage.yaml"])
def test_a_job_that_every_site_would_accept(root: Path, name: str) -> None:
    done = cloister("job", "explain", name, "-C", root)
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["rule", "alpha", "beta", "gamma"]
    assert lines[-1] == f"3 of 3 sites would accept tiny-triage from {PERSON}"
    assert "NO" not in done.out
    purpose = next(line for line in lines if line.startswith("purpose"))
    assert purpose.split() == ["purpose", "yes", "yes", "yes"]


def test_the_same_as_json(root: Path) -> None:
    done = cloister("job", "explain", "tiny-triage", "-C", root, "--json")
    assert done.status == 0
    assert set(done.value) == {"alpha", "beta", "gamma"}
    for decision in done.value.values():
        assert decision["allowed"] is True
        assert {"purpose", "submitter", "dataset"} <= {outcome["rule"] for outcome in decision["outcomes"]}


def test_one_sites_no_is_told_with_rule_and_line_and_the_others_are_enough(root: Path) -> None:
    change_document(root, "policies/beta.yaml", {"purposes": ["service-improvement"]})
    done = cloister("job", "explain", "tiny-triage", "-C", root)
    assert done.status == 0
    assert next(line for line in done.out.splitlines() if line.startswith("purpose")).split() == [
        "purpose",
        "yes",
        "NO",
        "yes",
    ]
    line = next(line for line in done.out.splitlines() if line.startswith("beta: purpose: "))
    assert "policies/beta.yaml:" in line
    assert "jobs/tiny-triage.yaml:" in line
    assert "2 of 3 sites" in done.out


def test_a_waived_no_is_told_as_such_with_its_reason(root: Path) -> None:
    waiver = {"rule": "training", "reason": "a first trial", "by": "the officer", "until": "2099-12-31"}
    for site in ("beta", "gamma"):
        change_document(root, f"policies/{site}.yaml", {"training": {"maximum_rounds": 1}, "waivers": [waiver]})
    change_document(root, "policies/baseline.yaml", {"waivers": [waiver]})
    change_document(root, "policies/alpha.yaml", {"training": {"maximum_rounds": 1}})
    done = cloister("job", "explain", "tiny-triage", "-C", root)
    assert done.status == 0
    row = next(line for line in done.out.splitlines() if line.startswith("training "))
    assert row.split() == ["training", "NO", "waived", "waived"]
    line = next(line for line in done.out.splitlines() if line.startswith("beta: training: "))
    assert (
        "`rounds` of 2 is above the maximum of 1; waived until 2099-12-31 by `the officer` (policies/beta.yaml:" in line
    )
    assert "2 of 3 sites" in done.out


def test_too_few_sites_are_a_denial(root: Path) -> None:
    for site in ("beta", "gamma"):
        change_document(root, f"policies/{site}.yaml", {"purposes": ["service-improvement"]})
    done = cloister("job", "explain", "tiny-triage", "-C", root)
    assert done.status == 3
    assert "1 of 3 sites would accept" in done.out
    assert done.err.startswith("cloister: 1 site would accept the job, and it needs 2")


def test_a_denial_as_json_is_still_one_value(root: Path) -> None:
    change_document(root, "policies/baseline.yaml", {"valid_until": "2026-01-02"})
    done = cloister("job", "explain", "tiny-triage", "-C", root, "--json")
    assert done.status == 3
    assert [decision["allowed"] for decision in done.value.values()] == [False] * 3
    assert "0 sites would accept the job" in done.err


def test_somebody_who_may_not_ask(root: Path) -> None:
    done = cloister("job", "explain", "tiny-triage", "-C", root, "--as", OFFICER)
    assert done.status == 3
    assert next(line for line in done.out.splitlines() if line.startswith("submitter")).split()[1:] == ["NO"] * 3


def test_an_unknown_job(root: Path) -> None:
    done = cloister("job", "explain", "no-such-job", "-C", root, "--json")
    assert done.status == 2
    assert done.error["message"] == "there is no job `no-such-job`"
    assert done.error["hint"] == "jobs here: tiny-triage"


def test_an_unknown_person(root: Path) -> None:
    done = cloister("job", "explain", "tiny-triage", "-C", root, "--as", "eve@bank.example", "--json")
    assert (done.status, done.error["message"]) == (2, "`eve@bank.example` is not in the roster")


def test_which_data_scientist_must_be_said_where_there_are_several(root: Path) -> None:
    people = [
        {"name": name, "organisation": "institute", "role": "data-scientist"}
        for name in (PERSON, "bea@research.example")
    ]
    people.append({"name": OFFICER, "organisation": "institute", "role": "compliance-officer"})
    change_document(root, "provisioning/federation.yaml", {"people": people})
    done = cloister("job", "explain", "tiny-triage", "-C", root)
    assert done.status == 2
    assert "--as PERSON" in done.err
    assert cloister("job", "explain", "tiny-triage", "-C", root, "--as", PERSON).status == 0


def test_a_file_elsewhere_is_not_the_job_that_bears_its_name(root: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny-triage.yaml").write_bytes((root / "jobs" / "tiny-triage.yaml").read_bytes())
    assert cloister("job", "explain", tmp_path / "tiny-triage.yaml", "-C", root).status == 2
    assert cloister("job", "explain", root / "jobs" / "tiny-triage.yaml", "-C", root).status == 0


def test_a_site_without_isolation_is_told_of(root: Path) -> None:
    change_document(root, "policies/beta.yaml", {"sandbox": "unsafe-none"})
    change_document(root, "policies/baseline.yaml", {"sandbox": None})
    done = cloister("job", "explain", "tiny-triage", "-C", root)
    assert [line for line in done.out.splitlines() if "unsafe-none" in line] == [
        "beta: sandbox: unsafe-none: training code would run there without isolation"
    ]
