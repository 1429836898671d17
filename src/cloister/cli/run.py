# SPDX-License-Identifier: Apache-2.0
"""`cloister run`: a job from its document to its result, in one command."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloister.cli.console import Output
from cloister.cli.job_fetch import bring
from cloister.cli.job_watch import follow
from cloister.cli.officers import check_signed, sign_unsigned
from cloister.cli.options import (
    FolderOption,
    JobArgument,
    JsonOption,
    PersonOption,
    federation_of,
    job_of,
    output,
    person_of,
    repository,
)
from cloister.cli.up import start
from cloister.flare.session import connect
from cloister.jobs import code_of
from cloister.policies import BASELINE
from cloister.provisioning import provision
from cloister.repository import Repository


def run(
    job: JobArgument, person: PersonOption = "", folder: FolderOption = Path(), as_json: JsonOption = False
) -> None:
    """Run a job on this machine, from document to result.

    Checks, provisions if needed, starts if needed, submits, watches, fetches; and stops what was started.
    """
    del as_json
    repo = repository(folder)
    finished = run_job(repo, job, person_of(repo, person), output())
    output().result({"job_id": finished.job_id, "folder": str(finished.folder), "result": finished.result})


@dataclass(frozen=True)
class Finished:
    """A job that completed.

    Attributes:
        job_id: NVFlare's identifier.
        folder: where its result lies.
        result: see `cloister.flare.session.PersonSession.fetch`.
    """

    job_id: str
    folder: Path
    result: dict[str, Any]


def run_job(repo: Repository, job: str, person: str, out: Output, *, sign: bool = False) -> Finished:
    """Do all of it; whatever happens, what was started is stopped again, unless something ran before.

    Args:
        repo: the documents.
        job: which.
        person: in whose name.
        out: where words go.
        sign: whether to sign unsigned policies with the officers' keys that lie here; for the demonstration alone.

    Raises:
        CloisterError: where any of it fails.
    """
    document = job_of(repo, job)
    code = code_of(repo.root, document.value)
    local = federation_of(repo)
    sites = list(repo.sites_of(document.value))
    local.state.make()
    out.say("checking keys and certificates …")
    made = [entry for entry in provision(repo.federation.value, local.state.folder, datetime.now(UTC)) if entry.created]
    if made:
        out.say(f"made keys and certificates for {len(made)} participants")
    if sign:
        sign_unsigned(repo, local, [*sites, BASELINE], datetime.now(UTC), out)
    check_signed(repo, sites)
    already_up = bool(local.running())
    try:
        started = start(local, out, sites)
        if already_up and started:
            out.say("these go on running, as others did before; stop all with: cloister down")
        with connect(local.state.person(person), person) as session:
            job_id = session.submit(document, sites, code=code)
            out.say(f"submitted {document.value.job} as {job_id}, in the name of {person}")
            view = follow(session, job_id, out)
            if not view.completed:
                raise session.failure(view)
            place = local.state.result(job_id)
            return Finished(job_id, place, bring(session, job_id, place, out))
    finally:
        if not already_up:
            with suppress(OSError):  # the terminal may be what went away
                out.say("stopping server and sites …")
            local.stop()
