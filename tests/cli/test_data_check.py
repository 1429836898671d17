# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Done, cloister
from tests.federation_folder import change_document, merged, write_document
from tests.tabular_federation import (
    DATASET,
    STATISTICS_JOB,
    TABULAR_JOB,
    Visit,
    make_tabular_federation,
    visits_of,
    write_visits,
)

CANARY = "Zebedee"
"""In every cell of a table; whatever a command prints must not hold it."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tabular_federation(tmp_path / "federation")


def check(root: Path, *arguments: str) -> Done:
    return cloister("data", "check", "alpha", "-C", root, *arguments)


def visits(root: Path) -> dict[str, Any]:
    return dict(check(root, "--dataset", DATASET, "--json").value["datasets"][DATASET])


def put(root: Path, rows: list[Visit]) -> None:
    write_visits(root / "records" / "alpha-visits.csv", rows)


def line_of(root: Path, column: str) -> str:
    """Where alpha's silo document declares a column of its visits."""
    text = (root / "silos" / "alpha.yaml").read_text(encoding="utf-8")
    before = text[: text.index(f"{column}:", text.index(f"{DATASET}:"))]
    return f"silos/alpha.yaml:{before.count(chr(10)) + 1}"


def with_cells(**cells: str) -> list[Visit]:
    """Alpha's visits, with other cells in the 10th row."""
    rows = visits_of("alpha")
    rows[9] |= cells
    return rows


def test_what_is_there_is_counted(root: Path) -> None:
    found = visits(root)
    assert found["usable"]
    assert (found["rows"], found["filtered"], found["rejected"], found["records"]) == (80, 0, 0, 80)
    assert found["persons"] == 80
    outcomes = [visit["outcome"] for visit in visits_of("alpha")]
    assert found["columns"]["outcome"]["values"] == {each: outcomes.count(each) for each in ("home", "moved")}
    age = found["columns"]["age"]
    assert (age["kind"], age["missing"], age["first_missing"], age["faults"]) == ("number", 8, 4, {})


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("age", CANARY, "not a number"),
        ("age", "131", "above the declared maximum"),
        ("age", "-1", "below the declared minimum"),
        ("stay", "1.5", "not a whole number"),
        ("smokes", CANARY, "not a truth value"),
        ("ward", CANARY, "not among the declared values"),
    ],
)
def test_a_broken_cell_is_told_by_reason_and_row(root: Path, column: str, cell: str, reason: str) -> None:
    put(root, with_cells(**{column: cell}))
    done = check(root, "--dataset", DATASET)
    assert done.status == 0
    (said,) = [line for line in done.out.splitlines() if f"1 {reason} (first in row 10)" in line]
    assert said.endswith(f" ({line_of(root, column)})")
    found = visits(root)
    assert found["columns"][column]["faults"] == {reason: {"rows": 1, "first_row": 10}}
    assert found["rejected_by"] == {column: 1}


def test_every_fault_has_the_first_of_its_rows(root: Path) -> None:
    rows = visits_of("alpha")
    for number, cell in ((5, CANARY), (6, "200"), (11, CANARY), (12, "300")):
        rows[number - 1]["age"] = cell
    put(root, rows)
    faults = visits(root)["columns"]["age"]["faults"]
    assert faults["not a number"] == {"rows": 2, "first_row": 5}
    assert faults["above the declared maximum"] == {"rows": 2, "first_row": 6}


def test_rows_that_the_filter_keeps_out_are_counted_and_not_blamed(root: Path) -> None:
    rows = with_cells(ward="south", age=CANARY)
    put(root, rows)
    change_document(root, "policies/alpha.yaml", {"datasets": {DATASET: {"filter": "ward != 'south'"}}})
    found = visits(root)
    assert found["filtered"] == sum(row["ward"] == "south" for row in rows)
    assert found["columns"]["age"]["faults"] == {}


def test_a_filter_of_the_baseline_that_fits_no_column_refuses_the_dataset(root: Path) -> None:
    """Other sites may have the column, so the documents are valid; `cloister check` tells it of a site's own policy."""
    grant = {"columns": ["age", "ward", "outcome"], "minimum_records": 1, "filter": "wart == 'north'"}
    change_document(root, "policies/baseline.yaml", {"datasets": {DATASET: grant}})
    done = check(root, "--dataset", DATASET)
    assert done.status == 1
    assert f"CANNOT BE USED: the policy's filter of dataset `{DATASET}` cannot be applied" in done.out
    assert "there is no column `wart` (nearest is `ward`)" in done.out


def test_nothing_is_counted_where_there_is_no_row(root: Path) -> None:
    path = root / "records" / "alpha-visits.csv"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    done = check(root, "--dataset", DATASET)
    assert done.status == 1
    assert f"CANNOT BE USED: dataset `{DATASET}` is empty" in done.out
    assert "outcome: category: found\n" in done.out


def test_one_person_alone_is_told_with_where_to_look(root: Path) -> None:
    put(root, [{**visit, "patient_id": CANARY} for visit in visits_of("alpha")])
    done = check(root, "--dataset", DATASET)
    assert done.status == 1
    assert "  1 person\n" in done.out
    assert "are of one person alone (look at which column the silo document names as `person`)" in done.out


def test_no_cell_is_ever_printed(root: Path) -> None:
    """Canaries in every cell of both datasets, whole and broken ones, beside names that a filter for names finds."""
    rows = [dict.fromkeys(visits_of("alpha")[0], f"{CANARY}{number}") for number in range(40)]
    put(root, rows + [{**row, "ward": f"{CANARY}", "age": "33"} for row in visits_of("alpha")])
    notes = [(f"Dr. {CANARY} Smith, {CANARY}@example.org, called 030 1234567{n}", "routine") for n in range(30)]
    with (root / "records" / "alpha.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patient_id", "note", "triage"])
        writer.writerows((f"{CANARY}-{n}", note, label if n % 2 else CANARY) for n, (note, label) in enumerate(notes))
    for arguments in ((), ("--json",)):
        done = check(root, *arguments)
        assert done.status == 1
        assert "EMAIL_ADDRESS" in done.out
        assert CANARY.lower() not in (done.out + done.err).lower()


def test_a_file_without_a_header_does_not_name_its_first_record(root: Path) -> None:
    path = root / "records" / "alpha-visits.csv"
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    path.write_text("\n".join([f"{CANARY},age {CANARY},sout{CANARY},yes,3,home", *lines]), encoding="utf-8")
    for arguments in ((), ("--json",)):
        done = check(root, "--dataset", DATASET, *arguments)
        assert done.status == 1
        assert CANARY not in done.out + done.err
        assert "`records/alpha-visits.csv` has no column `patient_id`, `age`" in done.out
    found = visits(root)
    assert not found["usable"]
    assert found["undeclared"] == 6
    assert not any(column["found"] for column in found["columns"].values())


def test_a_store_that_is_gone_is_the_only_one_that_cannot_be_used(root: Path) -> None:
    (root / "records" / "alpha-visits.csv").unlink()
    done = check(root)
    assert done.status == 1
    assert f"cannot be used at alpha: `{DATASET}`" in done.err
    assert "CANNOT BE USED: `records/alpha-visits.csv` does not exist" in done.out
    assert "24 records" in done.out
    assert check(root, "--dataset", "clinical-notes").status == 0


def test_too_many_rejected_rows_refuse_the_dataset_and_its_jobs(root: Path) -> None:
    put(root, [{**row, "age": CANARY} if n % 3 == 0 else row for n, row in enumerate(visits_of("alpha"))])
    found = visits(root)
    assert not found["usable"]
    assert "more than the share 0.2 allowed" in found["problem"]
    assert "more than the share" in found["jobs"][TABULAR_JOB]["problem"]


def test_each_job_is_told_what_it_would_get(root: Path) -> None:
    jobs = visits(root)["jobs"]
    assert set(jobs) == {STATISTICS_JOB, TABULAR_JOB}
    for job in jobs.values():
        assert job["allowed"]
        assert job["problem"] is None
        assert job["training"] + job["validation"] == 80


def test_each_job_is_told_what_would_refuse_it(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"datasets": {DATASET: {"minimum_records": 79}}})
    done = check(root, "--dataset", DATASET)
    assert done.status == 0  # the records are fine
    assert f"job {TABULAR_JOB}: " in done.out
    assert "REFUSED: `records`: the view holds" in done.out


def test_a_job_for_a_column_of_another_kind_gets_no_view(root: Path) -> None:
    from tests.tabular_federation import tabular_job

    change_document(root, "silos/alpha.yaml", {"datasets": {DATASET: {"columns": {"outcome": {"values": ["a", "b"]}}}}})
    write_document(
        root, f"jobs/{TABULAR_JOB}.yaml", merged(tabular_job(), {"federation": {"sites": ["alpha", "beta"]}})
    )
    done = check(root, "--dataset", DATASET)
    assert "NO VIEW: column `outcome` of dataset `visits` has other labels" in done.out


def test_texts_that_are_cut_and_texts_that_name_somebody(root: Path) -> None:
    from tests.federation_folder import write_records

    notes = [(f"a cough, number {n}", "routine") for n in range(30)]
    notes[3] = (f"write to {CANARY}@example.org", "soon")
    notes[4] = ("x" * 3000, "soon")
    write_records(root / "records" / "alpha.csv", notes)
    found = check(root, "--json").value["datasets"]["clinical-notes"]
    assert found["columns"]["note"]["cut"] == 1
    assert found["identifying"]["note"] == {"share": round(1 / 30, 6), "kinds": {"EMAIL_ADDRESS": 1}}


def test_nothing_is_written(root: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    assert check(root).status == 0
    assert sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*")) == before


@pytest.mark.parametrize("arguments", [("nowhere",), ("alpha", "--dataset", "letters")])
def test_what_does_not_exist_is_a_mistake_of_the_command_line(root: Path, arguments: tuple[str, ...]) -> None:
    done = cloister("data", "check", *arguments, "-C", root)
    assert done.status == 2
    assert "there is no site" in done.err or "has no dataset" in done.err
