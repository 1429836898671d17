# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.commands import cloister
from tests.federation_folder import SITES, change_document, make_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_federation(tmp_path / "federation")


def test_a_valid_federation(root: Path) -> None:
    done = cloister("check", "-C", root)
    assert (done.status, done.err) == (0, "")
    valid, explain = done.out.splitlines()
    assert valid == "tiny: 3 silos, 1 jobs, 4 policies, 14 cases, all valid"
    assert explain == (
        "whether a site's policy lets a job in, for whom, for which purpose and with which method, is not asked here: "
        "cloister job explain JOB"
    )


def test_a_job_that_no_site_would_accept_is_valid_and_job_explain_says_why(root: Path) -> None:
    job = (root / "jobs" / "tiny-triage.yaml").read_text().replace("job: tiny-triage", "job: other-triage")
    (root / "jobs" / "other-triage.yaml").write_text(job)
    change_document(root, "jobs/other-triage.yaml", {"purpose": "research"})
    assert cloister("check", "-C", root).status == 0
    explained = cloister("job", "explain", "other-triage", "-C", root)
    assert explained.status == 3
    assert all(f"{site}: purpose: " in explained.out for site in SITES)


def test_from_a_folder_inside(root: Path) -> None:
    assert cloister("check", "-C", root / "policies").status == 0


def test_a_valid_federation_as_json(root: Path) -> None:
    done = cloister("check", "-C", root, "--json")
    assert done.status == 0
    assert isinstance(done.value, dict)
    assert "all valid" in done.err


def test_every_problem_of_every_file_at_once(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"purpose": ["care-improvement"], "version": "one"})
    change_document(root, "jobs/tiny-triage.yaml", {"dataset": {"name": "clinical-note"}})
    change_document(root, "silos/beta.yaml", {"organisation": None})
    done = cloister("check", "-C", root, "--json")
    assert done.status == 4
    problems = {(problem["file"], problem["message"]) for problem in done.error["problems"]}
    assert {file for file, _ in problems} >= {"policies/alpha.yaml", "silos/beta.yaml"}
    assert ("policies/alpha.yaml", "unknown key `purpose`") in problems
    assert len([file for file, _ in problems if file == "policies/alpha.yaml"]) >= 2
    words = cloister("check", "-C", root)
    assert words.status == 4
    assert words.out == ""
    for file, message in problems:
        assert file in words.err
        assert message in words.err


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = cloister("check", "-C", tmp_path / "nowhere", "--json")
    assert (done.status, done.error["exit_status"]) == (2, 2)


def test_what_a_document_says_cannot_steer_a_terminal(root: Path) -> None:
    path = root / "jobs" / "tiny-triage.yaml"
    path.write_text(path.read_text() + '"\\e[2J\\e]0;owned\\a": 1\n')
    done = cloister("check", "-C", root)
    assert done.status == 4
    assert "\x1b" not in done.err
    assert "\x07" not in done.err


def test_every_impossible_combination_of_a_job_at_the_line_of_its_key(root: Path) -> None:
    path = root / "jobs" / "tiny-triage.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    minimum, first = lines.index("  minimum_sites: 2"), len(lines) + 1
    more = [
        "aggregation:",
        "  client: {scaffold: {}}",
        "  rule: {trimmed_mean: {bad_sites: 1}}",
        "  maximum_norm: 1.0",
        "  factors: flora",
        "compression:",
        "  down: int8",
    ]
    lines.insert(minimum + 1, "  enough_sites: 1")
    path.write_text("\n".join([*lines, *more]) + "\n", encoding="utf-8")
    alone = cloister("check", "-C", root, "--json")
    assert [problem["message"] for problem in alone.error["problems"]] == [
        "`enough_sites: 1` is less than `minimum_sites: 2`"  # a part that is wrong is told first
    ]
    lines.pop(minimum + 1)
    path.write_text("\n".join([*lines, *more]) + "\n", encoding="utf-8")
    done = cloister("check", "-C", root, "--json")
    assert done.status == 4
    flora, scaffold, needed = first + 4, first + 1, minimum + 1
    found = [(problem["line"], re.split("[:,]", problem["message"])[0]) for problem in done.error["problems"]]
    both = "may not have both `aggregation"
    assert sorted(found) == sorted(
        [
            (flora, f"{both}.factors"),  # with the rule
            (flora, f"{both}.factors"),  # with the norm
            (flora, f"{both}.factors"),  # with SCAFFOLD
            (flora, f"{both}.factors"),  # with what comes down rounded
            (flora, f"{both}.factors"),  # with what is made up for
            (scaffold, f"{both}.client.scaffold` and `aggregation.rule.trimmed_mean`"),
            (scaffold, f"{both}.client.scaffold` and `aggregation.maximum_norm`"),
            (needed, "needs `federation.minimum_sites` of at least 3 for `aggregation.rule.trimmed_mean`"),
        ]
    )
    assert len({problem["message"] for problem in done.error["problems"]}) == 8
    words = cloister("check", "-C", root)
    assert words.err.count(f"jobs/tiny-triage.yaml:{flora}") == 5
