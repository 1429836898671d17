# SPDX-License-Identifier: Apache-2.0
"""`cloister job submit`: hand a job to the server, signed with your key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.options import (
    FolderOption,
    JobArgument,
    JsonOption,
    PersonOption,
    caller_of,
    federation_of,
    job_of,
    output,
    repository,
)
from cloister.errors import UsageError
from cloister.flare.session import connect
from cloister.jobs import code_of

ValidHoursOption = Annotated[
    int, typer.Option("--valid-hours", min=1, max=168, help="For how many hours from now on sites may admit the job.")
]


def submit(
    job: JobArgument,
    person: PersonOption = "",
    valid_hours: ValidHoursOption = 24,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Submit a job and print its identifier."""
    del as_json
    repo = repository(folder)
    document, name = job_of(repo, job), caller_of(repo, person)
    local = federation_of(repo)
    code, sites = code_of(repo.root, document.value), list(repo.sites_of(document.value))
    if not sites:
        hint = "name them in the job, as `federation.sites`"
        raise UsageError(f"which sites `{document.value.job}` asks cannot be told from the documents here", hint=hint)
    with connect(local.state.person(name), name) as session:
        job_id = session.submit(document, sites, code=code, valid=timedelta(hours=valid_hours))
    out = output()
    out.say(f"submitted {document.value.job} as {job_id}")
    out.say(f"watch it with: cloister job watch {job_id}")
    out.result({"job_id": job_id, "job": document.value.job, "submitter": name})
