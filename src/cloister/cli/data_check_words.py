# SPDX-License-Identifier: Apache-2.0
"""What `cloister data check` says of a dataset: to people in lines, to programs as values; never a record's content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from cloister.documents import Document
from cloister.policies import Decision, Policies
from cloister.policies.sections import MINIMUM_VALIDATION_RECORDS
from cloister.records import TRAINING, VALIDATION
from cloister.records.examine import Examination, Got
from cloister.records.inspection import ColumnFacts
from cloister.records.view.sieve import Tally
from cloister.silos import Dataset, Silo

_IMAGES_SHOWN = 20


def said_of(
    name: str, silo: Document[Silo], policies: Policies, found: Examination, decisions: dict[str, Decision]
) -> list[str]:
    """The lines for people; what is wrong with a column is followed by the line that declares it."""
    dataset, place = silo.value.datasets[name], ("datasets", name)
    lines = [f"{name}: {dataset.connector.kind} ({silo.source.at(*place)})"]
    for column, declared in dataset.columns.items():
        state = "NOT FOUND" if column in found.absent else _column(column, found, dataset)
        facts = found.columns.get(column)
        wrong = column in found.absent or (facts is not None and facts.faults)
        where = f" ({silo.source.at(*place, 'columns', column)})" if wrong else ""
        lines.append(f"  {column}: {declared.kind.value}: {state}{where}")
    if found.undeclared == 1:
        lines.append("  1 column besides, which is not declared and does not exist for jobs")
    elif found.undeclared:
        lines.append(f"  {found.undeclared:,} columns besides, which are not declared and do not exist for jobs")
    if found.whole.tally is not None and found.whole.tally.rows:
        lines += _counts(dataset, found.whole.tally)
        lines += [f"  {line}" for line in _minimums(name, policies, found.whole.tally)]
    for kind, counts in found.resources.items():
        lines.append(f"  {kind}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    lines += [f"  image: {reason}" for reason in found.images[:_IMAGES_SHOWN]]
    if len(found.images) > _IMAGES_SHOWN:
        lines.append(f"  and {len(found.images) - _IMAGES_SHOWN:,} images more that are no good")
    if found.whole.refused is not None:
        lines.append(f"  CANNOT BE USED: {found.whole.refused}")
    for job, decision in decisions.items():
        lines.append(f"  job {job}: {_of_job(found.jobs[job], decision)}")
    return lines


def _column(column: str, found: Examination, dataset: Dataset) -> str:
    facts = found.columns.get(column)
    if facts is None:
        return "found, not looked at" if found.columns else "declared"
    parts = ["found"]
    if facts.missing:
        parts.append(f"{facts.missing:,} missing (first in row {facts.first_missing:,})")
    for reason, fault in facts.faults.items():
        parts.append(f"{fault.rows:,} {reason} (first in row {fault.first_row:,})")
    if facts.cut:
        parts.append(f"{facts.cut:,} longer than {dataset.columns[column].maximum_characters:,} characters, cut")
    if facts.values and found.whole.tally is not None and found.whole.tally.rows:
        parts.append("; ".join(f"{value} {count:,}" for value, count in facts.values.items()))
    return ", ".join(parts)


def _counts(dataset: Dataset, tally: Tally) -> Iterator[str]:
    yield (
        f"  {tally.rows:,} rows, {tally.filtered:,} kept out by the policy's filter, {tally.rejected:,} rejected, "
        f"{tally.kept:,} records"
    )
    for column, rows in sorted(tally.rejected_by.items()):
        yield f"  rejected by `{column}`: {rows:,}"
    if dataset.person is not None:
        people = _people(tally)
        yield f"  {people:,} person{'' if people == 1 else 's'}"
    for column, pieces in tally.identifying.items() if tally.kept else ():
        share = tally.identifying_cells[column] / tally.kept
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(pieces.items()))
        yield f"  {column}: {share:.1%} of texts seem to name somebody" + (f" ({kinds})" if kinds else "")


def _people(tally: Tally) -> int:
    return sum(len(each) for each in tally.people.values())


def _minimums(name: str, policies: Policies, tally: Tally) -> Iterator[str]:
    """What the policies demand of records, beside what there is; training and validation are told apart by each job."""
    for which, document in (("policy", policies.site), ("baseline", policies.baseline)):
        grant = (document.value.datasets or {}).get(name)
        if grant is None:
            if which == "policy":
                yield "the policy does not grant it: no job gets anything"
            continue
        short = _short(tally.kept, grant.minimum_records)
        yield f"{which}: minimum_records {grant.minimum_records:,} to train on, of {tally.kept:,}{short}"
        least = grant.minimum_validation_records
        if least is not None or which == "policy":
            yield f"{which}: minimum_validation_records {least or MINIMUM_VALIDATION_RECORDS:,} kept for validation"
        if grant.minimum_people is not None:
            here = _people(tally)
            yield f"{which}: minimum_people {grant.minimum_people:,}, of {here:,}{_short(here, grant.minimum_people)}"
        if grant.minimum_per_class is not None:
            yield f"{which}: minimum_per_class {grant.minimum_per_class:,}, counted for each job"


def _short(here: int, needed: int) -> str:
    return "" if here >= needed else ": TOO FEW"


def _of_job(got: Got, decision: Decision) -> str:
    if got.refused is not None:
        said = f"NO VIEW: {got.refused}"
        return said if decision.allowed else f"{said}; and {decision.sentence()}"
    counts = "" if got.tally is None else f"{got.tally.sides[TRAINING]:,} to train on, "
    counts += "" if got.tally is None else f"{got.tally.sides[VALIDATION]:,} for validation; "
    return f"{counts}{'accepted' if decision.allowed else 'REFUSED'}: {decision.sentence()}"


def value_of(
    dataset: Dataset, policies: Policies, found: Examination, decisions: dict[str, Decision]
) -> dict[str, Any]:
    """The same for programs."""
    tally = found.whole.tally
    return {
        "connector": dataset.connector.kind,
        "usable": found.whole.refused is None,
        "problem": None if found.whole.refused is None else found.whole.refused.message,
        "policy": policies.digest,
        "columns": {
            column: {
                "kind": declared.kind.value,
                "found": column not in found.absent,
                **_facts(found.columns.get(column)),
            }
            for column, declared in dataset.columns.items()
        },
        "undeclared": found.undeclared,
        **({} if tally is None else _tallied(dataset, tally)),
        "images": list(found.images),
        "resources": found.resources,
        "jobs": {
            job: {
                "problem": None if (error := found.jobs[job].refused) is None else error.message,
                "training": None if (counted := found.jobs[job].tally) is None else counted.sides[TRAINING],
                "validation": None if counted is None else counted.sides[VALIDATION],
                **decision.to_json(),
            }
            for job, decision in decisions.items()
        },
    }


def _facts(facts: ColumnFacts | None) -> dict[str, Any]:
    return {} if facts is None else asdict(facts)


def _tallied(dataset: Dataset, tally: Tally) -> dict[str, Any]:
    return {
        "rows": tally.rows,
        "filtered": tally.filtered,
        "rejected": tally.rejected,
        "rejected_by": dict(sorted(tally.rejected_by.items())),
        "records": tally.kept,
        "persons": None if dataset.person is None else _people(tally),
        "identifying": {
            column: {
                "share": round(tally.identifying_cells[column] / max(1, tally.kept), 6),
                "kinds": dict(sorted(pieces.items())),
            }
            for column, pieces in tally.identifying.items()
        },
    }
