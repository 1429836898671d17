# SPDX-License-Identifier: Apache-2.0
"""`cloister job abort`: stop a job at the server and at every site."""

from __future__ import annotations

from pathlib import Path

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
from cloister.errors import JobError
from cloister.flare.session import connect


def abort(
    job_id: JobIdArgument, person: PersonOption = "", folder: FolderOption = Path(), as_json: JsonOption = False
) -> None:
    """Stop one of your own jobs."""
    del as_json
    repo = repository(folder)
    name = caller_of(repo, person)
    with connect(federation_of(repo).state.person(name), name) as session:
        found = resolve(session, job_id)
        if session.job(found).finished:
            raise JobError(f"job `{found}` has ended already", hint="see `cloister job list`")
        session.abort(found)
    out = output()
    out.say(f"stopping {found}")
    out.result({"job_id": found, "aborted": True})
