# SPDX-License-Identifier: Apache-2.0
"""Real bundles of Synthea's as a table, beside counts that share no code with it."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from cloister.errors import RecordsError
from cloister.records import open_store
from cloister.records.fhir.element_types import is_valid
from tests.records.contract import everything
from tests.records.fhir_export import dataset

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT.parent / "shared" / "data" / "synthea_fhir_r4"
BUNDLES = sorted(SAMPLE.glob("*.json"))

pytestmark = pytest.mark.skipif(not BUNDLES, reason=f"the shared test data is not here: {SAMPLE}")


def resources() -> list[dict[str, object]]:
    return [entry["resource"] for path in BUNDLES for entry in json.loads(path.read_text(encoding="utf-8"))["entry"]]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthea_tables", ROOT / "benchmarks" / "synthea_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_cell_agrees_with_an_independent_count(benchmark: ModuleType) -> None:
    ours, theirs = benchmark.fhir_table(SAMPLE), benchmark.fhir_count(SAMPLE)
    assert len(theirs) == 12
    assert benchmark.compared("", ours, theirs) == 0
    assert benchmark.compared("", {who: {**row, "conditions": "7"} for who, row in ours.items()}, theirs) == 12


def test_a_table_of_conditions_has_each_once_and_the_sex_of_its_patient() -> None:
    found = resources()
    sexes = {f"urn:uuid:{each['id']}": each["gender"] for each in found if each["resourceType"] == "Patient"}
    expected = Counter(
        (each["code"]["text"], sexes[each["subject"]["reference"]])  # type: ignore[index]
        for each in found
        if each["resourceType"] == "Condition"
    )
    fields = {"what": {"path": "code.text"}, "sex": {"path": "gender", "resource": "Patient"}}
    store = open_store(dataset(str(SAMPLE), fields, "Condition"), root=Path("/"))
    assert Counter(everything(store, "what", "sex")) == expected
    assert expected.total() == 27


def test_hospitals_that_several_bundles_hold_come_once() -> None:
    names = {each["id"] for each in resources() if each["resourceType"] == "Organization"}
    fields = {"who": {"path": "id"}, "town": {"path": "address.city"}, "extra": {"path": "extension[0].url"}}
    store = open_store(dataset(str(SAMPLE), fields, "Organization"), root=Path("/"))
    assert sorted(who for who, _ in everything(store, "who", "town")) == sorted(names)
    assert len(names) < sum(each["resourceType"] == "Organization" for each in resources())
    # The list of hospitals says more of them than the patients' bundles do.
    with pytest.raises(RecordsError, match="is another `Organization`"):
        everything(store, "extra")


@pytest.mark.slow
def test_all_of_synthea_r4_is_valid_r4b() -> None:
    assert all(map(is_valid, resources()))
