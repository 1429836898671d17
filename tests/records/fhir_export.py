# SPDX-License-Identifier: Apache-2.0
"""Small FHIR exports written by hand, and stores over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import RecordsError
from cloister.records import open_store
from cloister.records.fhir.store import FhirStore
from cloister.silos import Dataset
from tests.records.contract import SECRET, everything

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
Resource = dict[str, Any]
ID = {"patient_id": {"path": "id"}}
CONDITIONS = {"take": "count", "resource": "Condition"}


def patient(identity: str, **more: Any) -> Resource:
    return {"resourceType": "Patient", "id": identity, **more}


def concept(system: str, code: str, text: str = "") -> Resource:
    return {"coding": [{"system": system, "code": code}], **({"text": text} if text else {})}


def condition(identity: str, about: str, code: str = "44054006", **more: Any) -> Resource:
    subject = {"subject": {"reference": about}} if about else {}
    return {"resourceType": "Condition", "id": identity, "code": concept(SNOMED, code), **subject, **more}


def quantity(value: float, unit: str = "mm[Hg]") -> Resource:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


def observation(identity: str, about: str, code: str, when: str = "", **more: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "id": identity,
        "status": "final",
        "code": concept(LOINC, code),
        "subject": {"reference": about},
        **({"effectiveDateTime": when} if when else {}),
        **more,
    }


def bundle(*resources: Resource, kind: str = "collection", urls: bool = False, first: int = 0) -> Resource:
    entries: list[Resource] = [{"resource": each} for each in resources]
    for number, entry in enumerate(entries if urls else (), first):
        entry["fullUrl"] = f"urn:uuid:00000000-0000-4000-8000-{number:012}"
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def urn(number: int) -> str:
    """How an entry of that number is referred to in a bundle with addresses."""
    return f"urn:uuid:00000000-0000-4000-8000-{number:012}"


def write_ndjson(path: Path, *resources: Resource) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in resources), encoding="utf-8")


def write_bundle(path: Path, *resources: Resource, **how: Any) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(bundle(*resources, **how), ensure_ascii=False, indent=1), encoding="utf-8")


def dataset(path: str, fields: dict[str, Any], resource: str = "Patient", **more: Any) -> Dataset:
    connector = {"kind": "fhir", "path": path, "resource": resource, "fields": fields, **more}
    columns = {name: {"kind": "text"} for name in fields}
    return Dataset.model_validate({"connector": connector, "columns": columns}, strict=False)


def store(folder: Path, fields: dict[str, Any], resource: str = "Patient", **more: Any) -> FhirStore:
    """The store over `lake` in ``folder``."""
    found = open_store(dataset("lake", fields, resource, **more), root=folder)
    assert isinstance(found, FhirStore)
    return found


def table(folder: Path, fields: dict[str, Any], resource: str = "Patient", **more: Any) -> list[tuple[str | None, ...]]:
    """All rows of the store over `lake` in ``folder``."""
    return everything(store(folder, fields, resource, **more), *fields)


def refused(folder: Path, fields: dict[str, Any] | None = None, resource: str = "Patient", **more: Any) -> RecordsError:
    """The refusal of it: one sentence, without the content of any record."""
    with pytest.raises(RecordsError) as caught:
        table(folder, fields or {"patient_id": {"path": "id"}}, resource, **more)
    text = str(caught.value)
    assert SECRET not in text
    assert "lake" in caught.value.message
    assert "\n" not in text
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
    return caught.value


def pressure(identity: str, about: str, when: str, value: float, **more: Any) -> Resource:
    """A blood pressure panel, whose two values are components."""
    parts = [
        {"code": concept(LOINC, "8462-4"), "valueQuantity": quantity(70)},
        {"code": concept(LOINC, "8480-6"), "valueQuantity": quantity(value)},
    ]
    return observation(identity, about, "85354-9", when, component=parts, **more)


def systolic(take: str, **more: Any) -> dict[str, Any]:
    return {"take": take, "resource": "Observation", "code": [f"{LOINC}|8480-6"], "value": "number", **more}


def lake(folder: Path, *resources: Resource) -> Path:
    """Each type in a file of its own, as bulk exports write it; patients come last."""
    kinds: dict[str, list[Resource]] = {}
    for each in resources:
        kinds.setdefault(each["resourceType"], []).append(each)
    for kind, group in kinds.items():
        write_ndjson(folder / "lake" / f"{kind}.ndjson", *group)
    return folder
