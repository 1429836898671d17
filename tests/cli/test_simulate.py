# SPDX-License-Identifier: Apache-2.0
"""`cloister simulate`: its words, values and exit statuses; tests/simulation/ has what it computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import cloister
from tests.federation_folder import JOB, SITES, change_document, make_federation
from tests.tabular_federation import STATISTICS_JOB, TABULAR_JOB, make_tabular_federation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tabular_federation(tmp_path / "federation").resolve()


@pytest.mark.slow
def test_a_result_lies_where_it_is_said_with_its_pages_and_says_that_it_was_simulated(root: Path) -> None:
    done = cloister("simulate", TABULAR_JOB, "--sites", "4", "--skew", "2", "-C", root, "--json")
    assert done.status == 0, done.err
    folder = root / ".cloister" / "simulations" / f"{TABULAR_JOB}-1"
    assert Path(done.value["folder"]) == folder
    names = {"adapter", "MODEL_CARD.md", "result.html", "result.json", "statistics.html"}
    assert {path.name for path in folder.iterdir()} == names
    assert done.value["result"] == json.loads((folder / "result.json").read_text())
    assert done.value["result"]["simulation"] == {"sites": 4, "skew": 2.0}
    said = "Simulated on one machine: the sites are copies, among which the records were dealt out"
    assert all(said in (folder / name).read_text() for name in ("MODEL_CARD.md", "result.html"))
    for line in (
        "policies count as they lie in this folder",
        "alpha: has no key here",
        "  round 2 of 2: 4 of 4 sites",
        "chosen: round",
        f"result in {folder}: adapter/",
    ):
        assert line in done.err
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.slow
def test_the_place_can_be_chosen(root: Path, tmp_path: Path) -> None:
    done = cloister("simulate", STATISTICS_JOB, "--out", tmp_path / "out", "--workers", "1", "-C", root)
    assert done.status == 0, done.err
    assert "records described at 3 sites" in done.out
    assert (tmp_path / "out" / "result.json").is_file()
    assert list((root / ".cloister" / "simulations").iterdir()) == []


@pytest.mark.slow
def test_policies_that_deny_later_on_end_it_with_3(root: Path) -> None:
    for site in SITES:
        change_document(root, f"policies/{site}.yaml", {"datasets": {"visits": {"minimum_records": 1000}}})
    done = cloister("simulate", TABULAR_JOB, "-C", root, "--json")
    assert done.status == 3
    assert "`records`: the view holds" in done.error["message"]
    assert "simulated-trainer-1.log" in done.err


def test_a_job_that_too_few_sites_admit_ends_with_3_before_any_record_is_read(tmp_path: Path) -> None:
    root = make_federation(tmp_path / "federation")
    for site in SITES[:2]:
        change_document(root, f"policies/{site}.yaml", {"purposes": ["research"]})
    (root / "records" / "gamma.csv").unlink()
    done = cloister("simulate", JOB, "-C", root, "--json")
    assert done.status == 3
    assert "was not admitted by enough sites" in done.error["message"]
    assert "policies/beta.yaml:" in done.error["message"]


def test_what_keeps_many_copies_from_it_is_told_once_for_each_site_that_they_are_of(tmp_path: Path) -> None:
    root = make_federation(tmp_path / "federation")
    change_document(root, f"jobs/{JOB}.yaml", {"federation": {"sites": None}})
    for site in SITES:
        change_document(root, f"policies/{site}.yaml", {"purposes": ["research"]})
    done = cloister("simulate", JOB, "--sites", "200", "-C", root, "--json")
    assert done.status == 3
    told = [line for line in done.error["message"].splitlines() if "`purpose`" in line]
    assert [line.split(": denied: ")[0].strip() for line in told] == [
        "67 sites (alpha-001, alpha-002, alpha-003, …)",
        "67 sites (beta-001, beta-002, beta-003, …)",
        "66 sites (gamma-001, gamma-002, gamma-003, …)",
    ]
    assert done.err.count("did not admit the job") == 3
    assert done.err.count("`purpose`") == 6  # while it runs, and at the end


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--skew", "0.5"), "--skew takes a number above 0, and goes with --sites"),
        (("--sites", "4", "--skew", "0"), "--skew takes a number above 0"),
        (("--sites", "4", "--skew", "nan"), "--skew takes a number above 0"),
        (("--sites", "1"), "the job needs 2 sites or more, and --sites says 1"),
    ],
)
def test_what_makes_no_sense_is_a_mistake_of_the_command_line(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    root = make_federation(tmp_path / "federation")
    done = cloister("simulate", JOB, *arguments, "-C", root, "--json")
    assert done.status == 2
    assert said in done.error["message"]


def test_something_else_than_a_result_is_not_replaced(tmp_path: Path) -> None:
    root = make_federation(tmp_path / "federation")
    done = cloister("simulate", JOB, "--out", root, "-C", root, "--json")
    assert done.status == 2
    assert "holds something else than a result" in done.error["message"]


@pytest.mark.slow
def test_a_rule_for_more_sites_than_there_are_here_is_tried_with_copies(root: Path) -> None:
    rule = {"rule": {"multi_krum": {"bad_sites": 2}}, "mixing": {"bad_sites": 2}}
    changes = {"aggregation": rule, "federation": {"sites": [], "minimum_sites": 7}}
    change_document(root, f"jobs/{TABULAR_JOB}.yaml", changes)
    refused = cloister("check", "-C", root)
    assert refused.status == 4
    assert "needs 7 sites, and 3 could take part" in refused.err
    done = cloister("simulate", TABULAR_JOB, "--sites", "7", "-C", root, "--json")
    assert done.status == 0, done.err
    assert len(done.value["result"]["sites"]) == 7
