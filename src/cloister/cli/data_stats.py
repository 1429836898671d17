# SPDX-License-Identifier: Apache-2.0
"""`cloister data stats`: what the features of a dataset are like over all sites, by a job of task `statistics`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.table import Table

from cloister.cli.options import (
    FolderOption,
    JobArgument,
    JsonOption,
    PersonOption,
    job_of,
    output,
    person_of,
    repository,
)
from cloister.cli.run import run_job
from cloister.errors import UsageError
from cloister.jobs import Task
from cloister.jobs.statistics import CategorySummary, NumberSummary
from cloister.reports import described
from cloister.reports.described import Described, nothing_told, number, said_count


def stats(
    job: JobArgument, person: PersonOption = "", folder: FolderOption = Path(), as_json: JsonOption = False
) -> None:
    """Run a job that describes features, and show what came of it.

    As `cloister run` does it: records stay at their sites.
    """
    del as_json
    repo = repository(folder)
    document = job_of(repo, job)
    if document.value.task is not Task.STATISTICS:
        hint = f"run it with: cloister run {document.value.job}"
        raise UsageError(f"job `{document.value.job}` is of task {document.value.task}, not statistics", hint=hint)
    finished = run_job(repo, document.value.job, person_of(repo, person), output())
    found = described(finished.result)
    if found is not None:
        output().say(_table(found))
    output().result(_value(finished.result) | {"job_id": finished.job_id, "folder": str(finished.folder)})


def _value(result: dict[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in ("statistics", "statistics_by_site")}


def _table(found: Described) -> Table:
    """A row for each feature; a row more for each value of a category."""
    table = Table("feature", "records", "missing", "mean", "deviation", "value", "count", box=None, pad_edge=False)
    for name, summary in found.whole.features.items():
        head = (name, f"{summary.present:,}", f"{summary.missing:,}")
        if nothing_told(summary):
            table.add_row(*head, "not told", "", "", "")
        elif isinstance(summary, NumberSummary):
            table.add_row(*head, number(summary.mean), number(math.sqrt(summary.variance)), "", "")
        else:
            for row, (value, count) in enumerate(_counts(name, summary, found)):
                table.add_row(*(head if row == 0 else ("", "", "")), "", "", value, count)
    return table


def _counts(name: str, summary: CategorySummary, found: Described) -> list[tuple[str, str]]:
    sites = [each for each in found.at_sites(name).values() if isinstance(each, CategorySummary)]
    return [
        (value, said_count(count, [each.counts.get(value, 0) for each in sites]))
        for value, count in summary.counts.items()
    ]
