# SPDX-License-Identifier: Apache-2.0
"""Synthea's patients as training tables, each beside a count that shares no code with Cloister's.

Run it: .venv/bin/python benchmarks/synthea_tables.py [--rows 3000] [fhir] [omop]

One function per source gives the two tables, as rows of text by the person's id, and what was read. The independent
count uses the standard library alone. It also measures: resources read per second, and the process's peak memory, for
the sample and for exports of so many patients made from it.

Ends with status 1 where a cell differs.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import resource
import sqlite3
import sys
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

from cloister.records import open_store
from cloister.silos import Dataset

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FHIR = DATA / "synthea_fhir_r4"
OMOP = DATA / "omop_synthea27nj" / "Synthea27Nj_5.4.zip"
Table = dict[str, dict[str, str | None]]

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
FHIR_FIELDS: dict[str, dict[str, Any]] = {
    "patient_id": {"path": "id"},
    "sex": {"path": "gender"},
    "age": {"age_at": "2021-06-01"},
    "race": {
        "path": "extension('http://hl7.org/fhir/us/core/StructureDefinition/us-core-race')"
        ".extension('text').valueString"
    },
    "conditions": {"take": "count", "resource": "Condition"},
    "emergencies": {"take": "count", "resource": "Encounter", "where": {"class.code": ["EMER"]}},
    "vaccines": {"take": "count", "resource": "Immunization", "since": "2012-01-01", "until": "2016-01-01"},
    "sinusitis": {"take": "exists", "resource": "Condition", "code": [f"{SNOMED}|444814009"]},
    "systolic": {
        "take": "latest",
        "resource": "Observation",
        "code": [f"{LOINC}|8480-6"],
        "value": "number",
        "unit": "mm[Hg]",
    },
    "weight": {"take": "mean", "resource": "Observation", "code": [f"{LOINC}|29463-7"], "value": "number"},
    "height": {"take": "maximum", "resource": "Observation", "code": [f"{LOINC}|8302-2"], "value": "number"},
    "smoking": {"take": "latest", "resource": "Observation", "code": [f"{LOINC}|72166-2"], "value": "words"},
}


def fhir_dataset(path: Path) -> Dataset:
    """Synthea's patients as a silo document would declare them."""
    connector = {"kind": "fhir", "path": str(path), "resource": "Patient", "fields": FHIR_FIELDS}
    columns = {name: {"kind": "text"} for name in FHIR_FIELDS}
    return Dataset.model_validate({"connector": connector, "columns": columns}, strict=False)


def fhir_table(path: Path) -> Table:
    """The table as Cloister reads it."""
    store = open_store(fhir_dataset(path), root=Path("/"))
    rows = [row for batch in store.batches(tuple(FHIR_FIELDS)) for row in batch.to_pylist()]
    return {row["patient_id"]: row for row in rows}


def fhir_count(path: Path) -> Table:
    """The same, counted from the bundles with `json` and `Counter` alone."""
    people: dict[str, dict[str, Any]] = {}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    seen: dict[str, dict[str, list[tuple[datetime, Any]]]] = defaultdict(lambda: defaultdict(list))
    for found in _resources(path):
        kind = found["resourceType"]
        if kind == "Patient":
            people[found["id"]] = found
            continue
        who = re.split("[:/]", found.get("subject", found.get("patient", {})).get("reference", ""))[-1]
        counts[who][kind] += 1
        if kind == "Encounter":
            counts[who]["emergency"] += found["class"]["code"] == "EMER"
        elif kind == "Immunization":
            counts[who]["vaccine"] += 2012 <= int(found["occurrenceDateTime"][:4]) < 2016
        elif kind == "Condition":
            counts[who]["sinusitis"] += any(each["code"] == "444814009" for each in found["code"]["coding"])
        elif kind == "Observation":
            moment = datetime.fromisoformat(found["effectiveDateTime"])
            for part in (found, *found.get("component", [])):
                if "valueQuantity" in part:
                    seen[who][part["code"]["coding"][0]["code"]].append((moment, part["valueQuantity"]["value"]))
                elif "valueCodeableConcept" in part:
                    words = part["valueCodeableConcept"]["text"]
                    seen[who][part["code"]["coding"][0]["code"]].append((moment, words))
    return {who: _person(person, counts[who], seen[who]) for who, person in people.items()}


def _person(
    person: dict[str, Any], counts: Counter[str], seen: dict[str, list[tuple[datetime, Any]]]
) -> dict[str, str | None]:
    born = date.fromisoformat(person["birthDate"])
    races = [
        part["valueString"]
        for outer in person["extension"]
        if outer["url"].endswith("us-core-race")
        for part in outer["extension"]
        if part["url"] == "text"
    ]
    weights = [value for _, value in seen["29463-7"]]
    heights = [value for _, value in seen["8302-2"]]
    return {
        "patient_id": person["id"],
        "sex": person["gender"],
        "age": str(2021 - born.year - ((born.month, born.day) > (6, 1))),
        "race": races[0],
        "conditions": str(counts["Condition"]),
        "emergencies": str(counts["emergency"]),
        "vaccines": str(counts["vaccine"]),
        "sinusitis": "true" if counts["sinusitis"] else "false",
        "systolic": str(max(seen["8480-6"])[1]) if seen["8480-6"] else None,
        "weight": str(sum(weights) / len(weights)) if weights else None,
        "height": str(max(heights)) if heights else None,
        "smoking": max(seen["72166-2"])[1] if seen["72166-2"] else None,
    }


def _resources(path: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(path.glob("*.json")):
        for entry in json.loads(file.read_text(encoding="utf-8"))["entry"]:
            yield entry["resource"]


def multiplied(source: Path, folder: Path, patients: int) -> int:
    """A bulk export of so many patients: the sample's, over and over, each time with ids of its own."""
    lines = [json.dumps(found) for found in _resources(source)]
    kinds = [json.loads(line)["resourceType"] for line in lines]
    people = kinds.count("Patient")
    shared = {"Organization", "Practitioner"}
    identity = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}(-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b")
    written = 0
    streams = {kind: (folder / f"{kind}.ndjson").open("w", encoding="utf-8") for kind in set(kinds)}
    for copy in range(-(-patients // people)):
        for kind, line in zip(kinds, lines, strict=True):
            if kind not in shared or not copy:
                text = identity.sub(rf"\g<1>-{copy:04x}\g<2>", line)  # in references alike
                streams[kind].write(text.replace("urn:uuid:", "Patient/") + "\n")
                written += 1
    for stream in streams.values():
        stream.close()
    return written


def compared(name: str, ours: Table, theirs: Table) -> int:
    """Print both tables' sums, and give the number of cells that differ."""
    different = sum(
        not _same(ours.get(who, {}).get(column), row[column]) for who, row in theirs.items() for column in row
    ) + len(ours.keys() - theirs.keys())
    print(f"{name}: {len(ours)} rows read, {len(theirs)} counted independently, {different} cells differ")
    print(f"  {'column':<12} {'Cloister':>24} {'independent count':>24}")
    for column in next(iter(theirs.values())):
        print(f"  {column:<12} {_sum(ours, column):>24} {_sum(theirs, column):>24}")
    return different


def _same(one: str | None, other: str | None) -> bool:
    if one == other or one is None or other is None:
        return one == other
    try:
        return abs(float(one) - float(other)) <= 1e-9 * abs(float(other))
    except ValueError:
        return False


def _sum(table: Table, column: str) -> str:
    """What a column adds up to: its numbers, or how many there are of the most frequent value."""
    cells: Iterable[str] = [cell for row in table.values() if (cell := row[column]) is not None]
    try:
        return f"{len(list(cells))} cells, sum {sum(map(float, cells)):.2f}"
    except ValueError:
        (value, count), *_ = Counter(cells).most_common(1)
        return f"{len(set(cells))} values, {count} x {value[:10]}"


def fhir(patients: int) -> int:
    """FHIR R4: the sample's bundles, then a bulk export of many patients."""
    different = compared("FHIR R4", fhir_table(FHIR), fhir_count(FHIR))
    with tempfile.TemporaryDirectory(prefix="synthea-") as name:
        _measured("bundles of the sample", FHIR, sum(1 for _ in _resources(FHIR)))
        for count in (patients // 10, patients):
            folder = Path(name) / str(count)
            folder.mkdir()
            written = multiplied(FHIR, folder, count)
            _measured(f"NDJSON of {count} patients", folder, written)
    return different


def _measured(what: str, path: Path, resources: int) -> None:
    size = sum(file.stat().st_size for file in path.iterdir())
    store = open_store(fhir_dataset(path), root=Path("/"))
    start, worked = time.perf_counter(), time.process_time()
    rows = sum(batch.num_rows for batch in store.batches(tuple(FHIR_FIELDS)))
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    used = sum(store.used.values())  # type: ignore[attr-defined]
    print(
        f"  {what}: {resources} resources, {used} used, {size / 1e6:.1f} MB, to {rows} rows in {seconds:.1f} s "
        f"({worked:.1f} s of one core): {resources / worked:.0f} resources, {rows / worked:.0f} rows, "
        f"{size / 1e6 / worked:.1f} MB per second of one core; peak {peak:.0f} MiB"
    )


SINUSITIS, BRONCHITIS, PHARYNGITIS, STRESS = 40481087, 260139, 4112343, 4251306
BMI, WEIGHT, SYSTOLIC = 3038553, 3025315, 3004249
OMOP_FIELDS: dict[str, dict[str, Any]] = {
    "person_id": {"person": "id"},
    "sex": {"person": "sex"},
    "age": {"age": "at-index"},
    "day": {"index": "date"},
    "stress": {"take": "exists", "domain": "condition", "concepts": [STRESS], "from": -3650, "to": -1},
    "visits": {"take": "count", "domain": "visit", "from": -365, "to": -1},
    "bmi": {"take": "latest", "domain": "measurement", "concepts": [BMI], "from": -3650, "to": 0},
    "weight": {"take": "mean", "domain": "measurement", "concepts": [WEIGHT], "from": -3650, "to": 0},
    "systolic": {"take": "maximum", "domain": "measurement", "concepts": [SYSTOLIC], "from": -730, "to": 0},
}
OMOP_OUTCOMES: dict[str, dict[str, Any]] = {
    "again": {"take": "exists", "domain": "condition", "concepts": [SINUSITIS], "to": 1000},
    "days": {"take": "time-to", "domain": "condition", "concepts": [PHARYNGITIS, BRONCHITIS]},
    "event": {"event_of": "days"},
}


def omop_dataset(source: dict[str, str]) -> Dataset:
    """Who had a viral sinusitis for the first time, and was observed for a year before."""
    entry = {"domain": "condition", "concepts": [SINUSITIS]}
    connector = {
        "kind": "omop",
        "source": source,
        "cohort": {"entry": entry, "prior_days": 365, "known_outcomes": False},
        "fields": OMOP_FIELDS,
        "outcomes": OMOP_OUTCOMES,
    }
    columns = {name: {"kind": "text"} for name in (*OMOP_FIELDS, *OMOP_OUTCOMES)} | {
        "person_id": {"kind": "identifier"}
    }
    return Dataset.model_validate_json(json.dumps({"connector": connector, "columns": columns}))


def omop_table(path: Path) -> Table:
    """The table as Cloister reads it from an export."""
    store = open_store(omop_dataset({"kind": "csv-folder", "path": str(path)}), root=Path("/"))
    rows = [row for batch in store.batches(store.column_names()) for row in batch.to_pylist()]
    return {str(row["person_id"]): {name: _text(cell) for name, cell in row.items()} for row in rows}


def omop_count(path: Path) -> Table:
    """The same, counted from the zip archive with `csv` and `datetime` alone."""
    periods, events = defaultdict(list), _omop_events(path)
    for row in _omop_rows(path, "OBSERVATION_PERIOD"):
        begin, end = row["observation_period_start_date"], row["observation_period_end_date"]
        periods[row["person_id"]].append((date.fromisoformat(begin), date.fromisoformat(end)))
    found = {}
    for person in _omop_rows(path, "PERSON"):
        mine = events[person["person_id"]]
        entries = [when for when, what, _ in mine if what == SINUSITIS]
        if not entries:
            continue
        index = min(entries)
        ends = [end for begin, end in periods[person["person_id"]] if (index - begin).days >= 365 and end >= index]
        if ends:
            found[person["person_id"]] = _omop_person(person, index, max(ends), mine)
    return found


def _omop_person(
    person: dict[str, str], index: date, end: date, events: list[tuple[date, Any, float | None]]
) -> dict[str, str | None]:
    def values(concept: int, days: int) -> list[float]:
        kept = [(when, number) for when, what, number in events if what == concept and number is not None]
        return [number for when, number in sorted(kept, key=lambda each: each[0]) if 0 <= (index - when).days <= days]

    born = date.fromisoformat(person["birth_datetime"][:10])
    ahead = [(when, what) for when, what, _ in events if index < when <= end]
    again = any(what == SINUSITIS and (when - index).days <= 1000 for when, what in ahead)
    first = min((when for when, what in ahead if what in (PHARYNGITIS, BRONCHITIS)), default=None)
    bmi, weight, systolic = values(BMI, 3650), values(WEIGHT, 3650), values(SYSTOLIC, 730)
    return {
        "person_id": person["person_id"],
        "sex": {"8507": "male", "8532": "female"}[person["gender_concept_id"]],
        "age": str(index.year - born.year - ((index.month, index.day) < (born.month, born.day))),
        "day": str(index),
        "stress": _text(any(what == STRESS and 1 <= (index - when).days <= 3650 for when, what, _ in events)),
        "visits": str(sum(what == "visit" and 1 <= (index - when).days <= 365 for when, what, _ in events)),
        "bmi": _text(bmi[-1] if bmi else None),
        "weight": _text(sum(weight) / len(weight) if weight else None),
        "systolic": _text(max(systolic) if systolic else None),
        "again": _text(again or (False if (end - index).days >= 1000 else None)),
        "days": str(((first or end) - index).days),
        "event": _text(first is not None),
    }


def _omop_events(path: Path) -> dict[str, list[tuple[date, Any, float | None]]]:
    """When, what and which number, by person."""
    events: dict[str, list[tuple[date, Any, float | None]]] = defaultdict(list)
    for row in _omop_rows(path, "CONDITION_OCCURRENCE"):
        when = date.fromisoformat(row["condition_start_date"])
        events[row["person_id"]].append((when, int(row["condition_concept_id"]), None))
    for row in _omop_rows(path, "VISIT_OCCURRENCE"):
        events[row["person_id"]].append((date.fromisoformat(row["visit_start_date"]), "visit", None))
    for row in _omop_rows(path, "MEASUREMENT"):
        number = float(row["value_as_number"]) if row["value_as_number"] else None
        when = date.fromisoformat(row["measurement_date"])
        events[row["person_id"]].append((when, int(row["measurement_concept_id"]), number))
    return events


def _omop_rows(path: Path, table: str) -> Iterator[dict[str, str]]:
    with zipfile.ZipFile(path) as archive, archive.open(f"{table}.csv") as stream:
        yield from csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8", newline=""))


def _text(cell: Any) -> str | None:
    return str(cell).lower() if isinstance(cell, bool) else None if cell is None else str(cell)


def omop_multiplied(path: Path, folder: Path, patients: int) -> int:
    """A folder of CSV files with so many patients: the sample's, over and over, each time with other person ids."""
    written = 0
    for table in ("PERSON", "OBSERVATION_PERIOD", "CONDITION_OCCURRENCE", "VISIT_OCCURRENCE", "MEASUREMENT"):
        rows = list(_omop_rows(path, table))
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(rows[0])
            place = list(rows[0]).index("person_id")
            for copy in range(-(-patients // 28)):
                for row in rows:
                    cells = list(row.values())
                    cells[place] = str(int(cells[place]) + 100 * copy)
                    writer.writerow(cells)
                    written += 1
    return written


def omop_sqlite(folder: Path, path: Path) -> None:
    """The folder's tables as an SQLite database, without an index."""
    with closing(sqlite3.connect(path)) as database, database:
        for file in sorted(folder.glob("*.csv")):
            with file.open(encoding="utf-8", newline="") as stream:
                reader = csv.reader(stream)
                names = next(reader)
                kinds = [f"{name} {'INTEGER' if name.endswith('_id') else 'NUMERIC'}" for name in names]
                database.execute(f"CREATE TABLE {file.stem} ({', '.join(kinds)})")
                rows = ([cell or None for cell in row] for row in reader)
                database.executemany(f"INSERT INTO {file.stem} VALUES ({', '.join('?' * len(names))})", rows)


def omop(patients: int) -> int:
    """OMOP CDM 5.4: the sample's export, then an export, and an SQLite database, of many patients."""
    different = compared("OMOP CDM 5.4", omop_table(OMOP), omop_count(OMOP))
    with tempfile.TemporaryDirectory(prefix="synthea-") as name:
        for count in (patients // 10, patients):
            folder, database = Path(name) / str(count), Path(name) / f"{count}.sqlite"
            folder.mkdir()
            records = omop_multiplied(OMOP, folder, count)
            omop_sqlite(folder, database)
            _omop_measured(f"CSV of {count} patients", {"kind": "csv-folder", "path": str(folder)}, records)
            _omop_measured(f"SQLite of {count} patients", {"kind": "sqlite", "path": str(database)}, records)
    return different


def _omop_measured(what: str, source: dict[str, str], records: int) -> None:
    path = Path(source["path"])
    size = sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
    store = open_store(omop_dataset(source), root=Path("/"))
    worked = time.process_time()
    rows = sum(batch.num_rows for batch in store.batches(store.column_names()))
    worked = time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"  {what}: {records} records, {size / 1e6:.1f} MB, to {rows} rows in {worked:.1f} s of one core: "
        f"{records / worked:.0f} records, {size / 1e6 / worked:.1f} MB per second; peak {peak:.0f} MiB"
    )


SOURCES: dict[str, Callable[[int], int]] = {"fhir": fhir, "omop": omop}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", choices=[*SOURCES, []], help="those to read; all where none is named")
    parser.add_argument("--rows", type=int, default=3000, help="patients of the export that is made to measure")
    arguments = parser.parse_args()
    sys.exit(1 if sum(SOURCES[name](arguments.rows) for name in arguments.sources or SOURCES) else 0)


if __name__ == "__main__":
    main()
