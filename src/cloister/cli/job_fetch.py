# SPDX-License-Identifier: Apache-2.0
"""`cloister job fetch`: bring a job's result home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cloister.cli.console import Output
from cloister.cli.job_list import resolve
from cloister.cli.options import (
    FolderOption,
    JobIdArgument,
    JsonOption,
    PersonOption,
    caller_of,
    federation_of,
    output,
    repository,
)
from cloister.flare.session import PersonSession, connect
from cloister.reports import chosen_words, trains_nothing, without_isolation, write_report

ToOption = Annotated[str, typer.Option("--to", metavar="FOLDER", help="Where to; .cloister/results/JOB_ID otherwise.")]


def fetch(
    job_id: JobIdArgument,
    to: ToOption = "",
    person: PersonOption = "",
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Download a result, and write its pages."""
    del as_json
    repo = repository(folder)
    name = caller_of(repo, person)
    state = federation_of(repo).state
    out = output()
    with connect(state.person(name), name) as session:
        found = resolve(session, job_id)
        place = Path(to).resolve() if to else state.result(found)
        result = bring(session, found, place, out)
    out.result({"job_id": found, "folder": str(place), "chosen": result.get("chosen")})


def bring(session: PersonSession, job_id: str, place: Path, out: Output) -> dict[str, Any]:
    """Fetch a result into ``place`` and write its report.

    Raises:
        CloisterError: where there is no result.
    """
    result = session.fetch(job_id, place)
    written = write_report(place, result)
    if trains_nothing(result):
        out.say(f"{result['statistics']['records']:,} records described at {len(result['statistics_by_site'])} sites")
    else:
        out.say(chosen_words(result))
    if unsafe := without_isolation(result):
        out.say(f"trained without isolation (sandbox: unsafe-none) at {', '.join(unsafe)}")
    weights = () if trains_nothing(result) else ("adapter/",)
    out.say(f"result in {place}: {', '.join((*weights, *written))}")
    return result
