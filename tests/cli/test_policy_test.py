# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.commands import cloister
from tests.federation_folder import change_document, make_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path)


def test_every_case_at_every_site(root: Path) -> None:
    done = cloister("policy", "test", "-C", root, "--json")
    assert (done.status, done.value["passed"]) == (0, True)
    assert len(done.value["results"]) == 14 * 3
    assert "42 of 42 answers are as expected" in done.err
    assert "FAIL" not in done.err


def test_a_policy_that_was_loosened_by_mistake(root: Path) -> None:
    change_document(root, "policies/beta.yaml", {"methods": {"lora": {"maximum_rank": 64}}})
    done = cloister("policy", "test", "-C", root)
    assert done.status == 1
    (line,) = [line for line in done.out.splitlines() if "FAIL" in line]
    assert [word for word in line.split() if word != "denied"] == [
        "method",
        "FAIL",
        "deny",
        "by",
        "`method`",
        "allow",
        "beta",
    ]
    assert "1 answer is not as expected" in done.err


def test_a_failure_names_what_denied_instead_with_its_lines(root: Path) -> None:
    change_document(root, "policies/beta.yaml", {"training": {"maximum_rounds": 1}})
    done = cloister("policy", "test", "beta", "-C", root, "--json")
    assert done.status == 1
    failed = [each for each in done.value["results"] if not each["passed"]]
    assert failed
    assert {each["site"] for each in done.value["results"]} == {"beta"}
    assert "`training`: `rounds` of 2 is above the maximum of 1 (policies/beta.yaml:" in done.err


def test_the_baseline_asks_every_site(root: Path) -> None:
    results = cloister("policy", "test", "baseline", "-C", root, "--json").value["results"]
    assert {each["site"] for each in results} == {"alpha", "beta", "gamma"}


def test_no_case_is_no_success(root: Path) -> None:
    shutil.rmtree(root / "policies" / "cases")
    done = cloister("policy", "test", "-C", root, "--json")
    assert done.status == 1
    assert "there is no case to run" in done.error["message"]
