# SPDX-License-Identifier: Apache-2.0
"""Synthea's patients as training tables, each beside a count that shares no code with Cloister's.

Run it: .venv/bin/python benchmarks/synthea_tables.py [--rows 3000] [fhir] …

One function per source gives the two tables, as rows of text by the person's id, and what was read. The independent
count uses the standard library alone. It also measures: resources read per second, and the process's peak memory, for
the sample and for a bulk export of so many patients made from it.

Ends with status 1 where a cell differs.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from cloister.records import open_store
from cloister.silos import Dataset

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FHIR = DATA / "synthea_fhir_r4"
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


SOURCES: dict[str, Callable[[int], int]] = {"fhir": fhir}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", choices=[*SOURCES, []], help="those to read; all where none is named")
    parser.add_argument("--rows", type=int, default=3000, help="patients of the export that is made to measure")
    arguments = parser.parse_args()
    sys.exit(1 if sum(SOURCES[name](arguments.rows) for name in arguments.sources or SOURCES) else 0)


if __name__ == "__main__":
    main()
