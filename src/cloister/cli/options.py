# SPDX-License-Identifier: Apache-2.0
"""Options that commands share, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cloister.certificates import identities
from cloister.cli.console import Output, current, use
from cloister.documents import Document, load
from cloister.errors import UsageError
from cloister.flare.processes import LocalFederation
from cloister.jobs import Job
from cloister.repository import Repository, find_root, load_repository
from cloister.roster import ROSTER, Federation, Role


def _as_json(value: bool) -> bool:
    use(Output(as_json=value))
    return value


FolderOption = Annotated[Path, typer.Option("--folder", "-C", help="The federation's folder, or one inside it.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON value on standard output.", callback=_as_json, is_eager=True)
]
PersonOption = Annotated[
    str, typer.Option("--as", metavar="PERSON", help="Who you are in the roster; the data scientist if only one is.")
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job's name, or its file in jobs/.")]
JobIdArgument = Annotated[str, typer.Argument(metavar="JOB_ID", help="What `job submit` printed; or `last`.")]


def output() -> Output:
    """The running command's output."""
    return current


def repository(folder: Path, copies: int | None = None) -> Repository:
    """All documents of the federation around ``folder``.

    Args:
        folder: somewhere in it.
        copies: how many sites a simulation has.

    Raises:
        CloisterError: where there is none, or a document is invalid.
    """
    return load_repository(find_root(folder.resolve()), copies)


def federation_of(repo: Repository) -> LocalFederation:
    """The federation's processes on this machine."""
    return LocalFederation(repo.root, repo.federation.value)


def federation_here(folder: Path) -> LocalFederation:
    """The federation's processes on this machine, whatever state the other documents are in.

    Raises:
        CloisterError: where there is no roster, or its document is invalid.
    """
    root = find_root(folder.resolve())
    return LocalFederation(root, load(root / ROSTER, Federation, name=ROSTER).value)


def job_of(repo: Repository, name: str) -> Document[Job]:
    """The job that a person named, by name or by file.

    Raises:
        UsageError: where there is none.
    """
    found = repo.jobs.get(name) or repo.jobs.get(name.removesuffix(".yaml"))
    if found is None:
        # A file elsewhere that happens to bear a job's name is not that job.
        files = {(repo.root / document.source.file).resolve(): document for document in repo.jobs.values()}
        found = files.get(Path(name).resolve()) or files.get((repo.root / name).resolve())
    if found is None:
        known = ", ".join(sorted(repo.jobs)) or "none"
        raise UsageError(f"there is no job `{name}`", hint=f"jobs here: {known}")
    return found


def caller_of(repo: Repository, name: str) -> str:
    """Who speaks to the server: whoever was named, else the one person whose key lies here, else as `person_of`.

    Raises:
        UsageError: where the roster has no such person, or several who might be meant.
    """
    local = federation_of(repo)
    here = [each.name for each in identities(local.federation) if each.kind == "person" and local.has_key(each)]
    return here[0] if not name and len(here) == 1 else person_of(repo, name)


def person_of(repo: Repository, name: str) -> str:
    """In whose name it is asked.

    Raises:
        UsageError: where the roster has no such person, or several who might be meant.
    """
    roster = repo.federation.value
    if name:
        if roster.person(name) is None:
            raise UsageError(f"`{name}` is not in the roster", hint="see people in provisioning/federation.yaml")
        return name
    scientists = [person.name for person in roster.people if person.role is Role.DATA_SCIENTIST]
    if len(scientists) != 1:
        raise UsageError("the roster has not exactly one data scientist", hint="say who you are with --as PERSON")
    return scientists[0]
