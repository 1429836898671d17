# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Done, cloister
from tests.federation_folder import change_document, write_records
from tests.tabular_federation import DATASET, FEATURES, make_tabular_federation, visits_of, write_visits


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_tabular_federation(tmp_path_factory.mktemp("preview"))
    assert cloister("provision", "-C", root).status == 0
    return root


@pytest.fixture
def root(provisioned: Path) -> Path:
    """The provisioned federation, with its documents and records as they were."""
    return make_tabular_federation(provisioned)


def preview(root: Path, *arguments: str, dataset: str = DATASET) -> Done:
    return cloister("data", "preview", "alpha", dataset, "-C", root, *arguments)


def test_what_the_policy_grants_is_shown_and_no_identifier(root: Path) -> None:
    value = preview(root, "--yes", "--json", "--rows", "20").value
    assert len(value["records"]) == 20
    assert set(value["records"][0]) == {*FEATURES, "outcome"}
    known = {(visit["stay"], visit["ward"], visit["outcome"]) for visit in visits_of("alpha")}
    assert {(str(each["stay"]), each["ward"], each["outcome"]) for each in value["records"]} <= known
    assert "alpha-P" not in preview(root, "--yes", "--rows", "20").out


def test_it_says_loudly_that_records_are_shown(root: Path) -> None:
    done = preview(root, "--yes", "--rows", "2")
    assert done.out.startswith("RECORDS of alpha are about to be SHOWN: 2 of `visits`")


def test_nobody_there_to_say_yes_is_a_no(root: Path) -> None:
    done = preview(root)
    assert done.status == 3
    assert "nobody said yes" in done.err
    assert "home" not in done.out


def test_columns_that_the_policy_does_not_grant_are_not_shown(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"datasets": {DATASET: {"columns": ["age", "ward"]}}})
    change_document(root, "policies/baseline.yaml", {"datasets": {DATASET: {"columns": ["age"], "minimum_records": 1}}})
    for job in ("visit-outcome", "visit-statistics"):
        (root / f"jobs/{job}.yaml").unlink()
    assert set(preview(root, "--yes", "--json").value["records"][0]) == {"age"}


def test_rows_that_the_filter_keeps_out_are_not_shown(root: Path) -> None:
    write_visits(root / "records" / "alpha-visits.csv", [{**each, "stay": "7"} for each in visits_of("alpha")[:2]])
    change_document(root, "policies/alpha.yaml", {"datasets": {DATASET: {"filter": "stay > 7"}}})
    assert preview(root, "--yes", "--json").value["records"] == []


def test_free_text_is_masked_as_the_policy_says(root: Path) -> None:
    write_records(root / "records" / "alpha.csv", [("write to zebedee@example.org", "soon")] * 4)
    kept = preview(root, "--yes", "--json", dataset="clinical-notes").value["records"]
    assert kept[0]["note"] == "write to zebedee@example.org"
    change_document(root, "policies/alpha.yaml", {"datasets": {"clinical-notes": {"free_text": "mask"}}})
    masked = preview(root, "--yes", dataset="clinical-notes").out
    assert "zebedee" not in masked
    assert "[EMAIL_ADDRESS]" in masked


def test_it_runs_where_the_sites_key_lies_and_nowhere_else(tmp_path: Path) -> None:
    done = preview(make_tabular_federation(tmp_path / "elsewhere"), "--yes")
    assert done.status == 3
    assert "does not hold the key of site `alpha`" in done.err
    assert "home" not in done.out


@pytest.mark.parametrize("rows", ["0", "21"])
def test_twenty_records_and_no_more(root: Path, rows: str) -> None:
    assert preview(root, "--yes", "--rows", rows).status == 2


def test_what_does_not_exist_is_a_mistake_of_the_command_line(root: Path) -> None:
    assert preview(root, "--yes", dataset="letters").status == 2


def events(root: Path) -> list[dict[str, Any]]:
    log = root / ".cloister" / "sites" / "alpha" / "audit" / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_who_was_shown_how_much_is_recorded_and_never_what(root: Path) -> None:
    before = len(events(root))
    shown = preview(root, "--yes", "--json", "--rows", "3").value["records"]
    event, checkpoint = events(root)[before:]
    assert (event["kind"], checkpoint["kind"]) == ("preview", "checkpoint")
    facts = event["facts"]
    assert facts.keys() == {"account", "dataset", "columns", "records", "policy"}
    assert (facts["dataset"], facts["records"]) == (DATASET, len(shown))
    assert sorted(facts["columns"]) == sorted(shown[0])
    assert facts["account"] == pwd.getpwuid(os.getuid()).pw_name
    assert cloister("audit", "verify", "alpha", "-C", root).status == 0


def test_who_says_no_is_shown_nothing_and_nothing_is_recorded(root: Path) -> None:
    before = events(root)
    assert preview(root).status == 3
    assert events(root) == before


def test_nothing_is_shown_where_it_cannot_be_recorded(root: Path) -> None:
    preview(root, "--yes")
    log = root / ".cloister" / "sites" / "alpha" / "audit" / "log.jsonl"
    sound = log.read_bytes()
    try:
        log.write_bytes(sound[:-20] + b"x" * 19 + b"\n")  # a log whose end was changed is not written on
        done = preview(root, "--yes", "--rows", "20")
    finally:
        log.write_bytes(sound)
    assert done.status not in (0, 2)
    assert not any(visit["ward"] in done.out for visit in visits_of("alpha"))
    assert "audit log" in done.err
