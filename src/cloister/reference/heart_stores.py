# SPDX-License-Identifier: Apache-2.0
"""The same columns of invented heart patients from three kinds of store: OMOP CDM 5.4, FHIR R4, a table of SQLite.

Concepts are those of OHDSI's vocabulary, codes those of LOINC and SNOMED CT. An OMOP person is a whole number by the
model, so the synthetic mark stands in `person_source_value` there.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

from cloister.reference.heart import HEART_SITES, INDEX_DAY, HeartPatient, HeartSite, heart_patients

Files = dict[str, bytes]
"""By path below the site's folder: what is written there."""

_FIRST_PERSON = 900_000_000

# Concepts of OHDSI's vocabulary (https://athena.ohdsi.org).
_SEXES = {"male": 8507, "female": 8532}
_HEART_FAILURE, _SMOKER, _INPATIENT = 316139, 4298794, 9201
_SYSTOLIC, _MMHG = 3004249, 8876
_BMI, _KG_PER_M2 = 3038553, 9531
_EQUAL = 4172703

_OMOP_COLUMNS = {
    "person": (
        "person_id gender_concept_id year_of_birth month_of_birth day_of_birth birth_datetime person_source_value"
    ),
    "observation_period": ("observation_period_id person_id observation_period_start_date observation_period_end_date"),
    "condition_occurrence": "condition_occurrence_id person_id condition_concept_id condition_start_date",
    "visit_occurrence": "visit_occurrence_id person_id visit_concept_id visit_start_date",
    "measurement": (
        "measurement_id person_id measurement_concept_id measurement_date measurement_datetime value_as_number"
        " unit_concept_id operator_concept_id"
    ),
    "observation": "observation_id person_id observation_concept_id observation_date",
    "death": "person_id death_date cause_concept_id",
}


def heart_files(site: HeartSite, seed: int) -> Files:
    """What is written of one site's heart patients."""
    return _WRITERS[site.site](heart_patients(site, seed))


def _omop(patients: Sequence[HeartPatient]) -> Files:
    rows: dict[str, list[Sequence[Any]]] = {table: [] for table in _OMOP_COLUMNS}

    def add(table: str, *cells: Any) -> None:
        # Each table but two begins with a number of its own.
        numbered = table not in ("person", "death")
        rows[table].append((len(rows[table]) + 1, *cells) if numbered else cells)

    for patient in patients:
        person = _FIRST_PERSON + patient.number
        born = patient.born
        source = f"SYN-P-{patient.number:05}"
        add("person", person, _SEXES[patient.sex], born.year, born.month, born.day, born.isoformat(), source)
        first = INDEX_DAY - timedelta(400)
        add("observation_period", person, first.isoformat(), patient.last_day.isoformat())
        add("condition_occurrence", person, _HEART_FAILURE, INDEX_DAY.isoformat())
        if patient.back_on is not None:
            add("visit_occurrence", person, _INPATIENT, (INDEX_DAY + timedelta(patient.back_on)).isoformat())
        day = (INDEX_DAY - timedelta(1)).isoformat()
        for concept, value, unit in ((_SYSTOLIC, patient.systolic, _MMHG), (_BMI, patient.bmi, _KG_PER_M2)):
            if value is not None:
                add("measurement", person, concept, day, day, value, unit, _EQUAL)
        if patient.smoker:
            add("observation", person, _SMOKER, day)
        if patient.died:
            add("death", person, patient.last_day.isoformat(), "")
    return {f"omop/{table}.csv": _csv(columns.split(), rows[table]) for table, columns in _OMOP_COLUMNS.items()}


def _fhir(patients: Sequence[HeartPatient]) -> Files:
    resources: dict[str, list[dict[str, Any]]] = {"Patient": [], "Observation": [], "Condition": [], "Encounter": []}
    for patient in patients:
        name = f"SYN-P-{patient.number:05}"
        resources["Patient"].append(
            {
                "resourceType": "Patient",
                "id": name,
                "gender": patient.sex,
                "birthDate": patient.born.isoformat(),
                "deceasedBoolean": patient.died,
            }
        )
        resources["Observation"] += _observations(name, patient)
        day = (INDEX_DAY - timedelta(1)).isoformat()
        resources["Condition"].append(_condition(name, "hf", "84114007", INDEX_DAY.isoformat()))
        if patient.smoker:
            resources["Condition"].append(_condition(name, "smoker", "77176002", day))
        if patient.back_on is not None:
            start = (INDEX_DAY + timedelta(patient.back_on)).isoformat()
            resources["Encounter"].append(
                {
                    "resourceType": "Encounter",
                    "id": f"{name}-back",
                    "status": "finished",
                    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
                    "subject": {"reference": f"Patient/{name}"},
                    "period": {"start": start},
                }
            )
    return {f"fhir/{kind}.ndjson": _lines(found) for kind, found in resources.items()}


def _observations(name: str, patient: HeartPatient) -> Iterable[dict[str, Any]]:
    before = (INDEX_DAY - timedelta(1)).isoformat()
    values: tuple[tuple[str, str, str, float | None, str, str], ...] = (
        ("systolic", "http://loinc.org", "8480-6", patient.systolic, "mm[Hg]", before),
        ("bmi", "http://loinc.org", "39156-5", patient.bmi, "kg/m2", before),
        (
            "followed",
            "https://cloister.example/codes",
            "days-followed",
            patient.days,
            "d",
            patient.last_day.isoformat(),
        ),
    )
    for what, system, code, value, unit, day in values:
        if value is not None:
            yield {
                "resourceType": "Observation",
                "id": f"{name}-{what}",
                "status": "final",
                "code": {"coding": [{"system": system, "code": code}]},
                "subject": {"reference": f"Patient/{name}"},
                "effectiveDateTime": day,
                "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
            }


def _condition(name: str, what: str, code: str, day: str) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": f"{name}-{what}",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": code}]},
        "subject": {"reference": f"Patient/{name}"},
        "onsetDateTime": day,
    }


def _sqlite(patients: Sequence[HeartPatient]) -> Files:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            "CREATE TABLE heart (patient_id TEXT PRIMARY KEY, age INTEGER, sex TEXT, systolic INTEGER, bmi REAL,"
            " smoker INTEGER, readmitted TEXT, days INTEGER, died INTEGER)"
        )
        rows = [
            (
                f"SYN-P-{patient.number:05}",
                patient.age,
                patient.sex,
                patient.systolic,
                patient.bmi,
                int(patient.smoker),
                str(patient.back_on is not None).lower(),
                patient.days,
                int(patient.died),
            )
            for patient in patients
        ]
        connection.executemany("INSERT INTO heart VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
        return {"heart.sqlite": connection.serialize()}


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    return stream.getvalue().encode()


def _lines(found: Sequence[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(each)}\n" for each in found).encode()


_WRITERS: dict[str, Callable[[Sequence[HeartPatient]], Files]] = dict(
    zip((site.site for site in HEART_SITES), (_omop, _fhir, _sqlite), strict=True)
)
