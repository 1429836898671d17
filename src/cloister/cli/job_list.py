# SPDX-License-Identifier: Apache-2.0
"""`cloister job list`: every job that the server knows."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from cloister.cli.options import FolderOption, JsonOption, PersonOption, caller_of, federation_of, output, repository
from cloister.cli.progress_table import state_of
from cloister.flare.session import PersonSession, connect


def list_jobs(person: PersonOption = "", folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """List jobs, newest first."""
    del as_json
    repo = repository(folder)
    name = caller_of(repo, person)
    with connect(federation_of(repo).state.person(name), name) as session:
        jobs = session.jobs()
    out = output()
    table = Table("job", "id", "state", "submitted by", "at", box=None, pad_edge=False)
    for view in jobs:
        table.add_row(view.name, view.job_id, state_of(view), view.submitter, view.submitted[:19])
    out.say(table if jobs else "no job was submitted yet")
    out.result([view.to_json() for view in jobs])


def resolve(session: PersonSession, job_id: str) -> str:
    """``job_id``, or the newest job's where it is `last`."""
    if job_id != "last":
        return job_id
    jobs = session.jobs()
    return jobs[0].job_id if jobs else job_id
