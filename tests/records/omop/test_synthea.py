# SPDX-License-Identifier: Apache-2.0
"""A real export of Synthea's as a table, beside counts that share no code with it, and as a view would take it."""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections import defaultdict
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

from cloister.errors import RecordsError
from cloister.records import open_store
from cloister.records.omop.store import OmopStore
from cloister.records.schema import conform
from cloister.silos import Column, ColumnKind
from tests.records.cdm import connector, entry, table

ROOT = Path(__file__).resolve().parents[3]
EXPORT = ROOT.parent / "shared" / "data" / "omop_synthea27nj" / "Synthea27Nj_5.4.zip"
SOURCE = {"kind": "csv-folder", "path": str(EXPORT)}

pytestmark = pytest.mark.skipif(not EXPORT.is_file(), reason=f"the shared test data is not here: {EXPORT}")


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthea_tables", ROOT / "benchmarks" / "synthea_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_cell_agrees_with_an_independent_count(benchmark: ModuleType) -> None:
    ours, theirs = benchmark.omop_table(EXPORT), benchmark.omop_count(EXPORT)
    assert len(theirs) == 21
    assert benchmark.compared("", ours, theirs) == 0
    assert benchmark.compared("", {who: {**row, "days": "7.5"} for who, row in ours.items()}, theirs) == 21


@pytest.mark.parametrize(
    ("domain", "table_name", "concept", "day"),
    [
        ("condition", "CONDITION_OCCURRENCE", "condition_concept_id", "condition_start_date"),
        ("drug", "DRUG_EXPOSURE", "drug_concept_id", "drug_exposure_start_date"),
        ("procedure", "PROCEDURE_OCCURRENCE", "procedure_concept_id", "procedure_date"),
        ("measurement", "MEASUREMENT", "measurement_concept_id", "measurement_date"),
        ("observation", "OBSERVATION", "observation_concept_id", "observation_date"),
        ("visit", "VISIT_OCCURRENCE", "visit_concept_id", "visit_start_date"),
    ],
)
def test_the_concept_that_most_people_have_is_counted_in_each_domain(
    domain: str, table_name: str, concept: str, day: str
) -> None:
    days: dict[int, dict[int, list[date]]] = defaultdict(lambda: defaultdict(list))
    with zipfile.ZipFile(EXPORT) as archive, archive.open(f"{table_name}.csv") as stream:
        for row in csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8")):
            days[int(row[concept])][int(row["person_id"])].append(date.fromisoformat(row[day]))
    asked, people = max(days.items(), key=lambda each: (len(each[1]), each[0]))
    expected = {who: found.count(min(found)) for who, found in people.items()}
    count = {"take": "count", "domain": domain, "concepts": [asked], "from": 0, "to": 0}
    found = table(SOURCE, fields={"n": count}, cohort={"entry": entry([asked], domain)})
    assert len(found) >= 5
    assert {who: row["n"] for who, row in found.items()} == {who: expected[who] for who in found}
    assert len(people) - len(found) <= 1  # who was not observed on that day


def test_a_view_can_take_every_column(benchmark: ModuleType) -> None:
    dataset = benchmark.omop_dataset(SOURCE)
    store = open_store(dataset, root=Path("/"))
    kinds = {
        "person_id": Column(kind=ColumnKind.IDENTIFIER),
        "sex": Column(kind=ColumnKind.CATEGORY, values=("female", "male")),
        "age": Column(kind=ColumnKind.INTEGER, minimum=0, maximum=120),
        "day": Column(kind=ColumnKind.DATE),
        "stress": Column(kind=ColumnKind.BOOLEAN),
        "visits": Column(kind=ColumnKind.INTEGER),
        "bmi": Column(kind=ColumnKind.NUMBER, minimum=10, maximum=80),
        "again": Column(kind=ColumnKind.BOOLEAN),
        "days": Column(kind=ColumnKind.INTEGER, minimum=0),
        "event": Column(kind=ColumnKind.BOOLEAN),
    }
    (batch,) = store.batches(tuple(kinds))
    for name, column in kinds.items():
        conformed = conform(batch.column(name), column)
        assert not any(conformed.invalid.to_pylist()), name
        assert conformed.cells.null_count <= {"bmi": 1, "again": 3}.get(name, 0), name


def test_its_vocabulary_has_no_ancestry() -> None:
    wide = {"domain": "condition", "concepts": [40481087], "descendants": True}
    store = OmopStore.at(connector(SOURCE, cohort={"entry": wide}), Path("/"))
    with pytest.raises(RecordsError, match="does not know concept 40481087, whose `descendants` are asked for"):
        list(store.batches(["who"]))
