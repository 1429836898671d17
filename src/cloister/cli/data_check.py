# SPDX-License-Identifier: Apache-2.0
"""`cloister data check`: is what a site's silo document says of its records true, and what would jobs get of them?"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cloister.cli.data_check_words import said_of, value_of
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.documents import Document
from cloister.errors import CloisterError, RecordsError, UsageError
from cloister.jobs import Job, code_of
from cloister.policies import Decision, Request, Submitter, decide
from cloister.records import ViewRequest, split_key
from cloister.records.examine import Examination, Got, examine, facts_of, request_of_all
from cloister.records.view.split import FILE
from cloister.repository import Repository
from cloister.roster import Role
from cloister.silos import Dataset

_PATIENCE_SECONDS = 2.0
_LINE_EVERY_SECONDS = 10.0

SiteArgument = Annotated[str, typer.Argument(metavar="SITE", help="The site, as the roster names it.")]
DatasetOption = Annotated[str, typer.Option("--dataset", metavar="NAME", help="This dataset only.")]


def check(
    site: SiteArgument, dataset: DatasetOption = "", folder: FolderOption = Path(), as_json: JsonOption = False
) -> None:
    """Look through a site's records, and say what is wrong.

    At the site. Says what each job would get of them. Shows no record's content; writes nothing.
    """
    del as_json
    repo = repository(folder)
    datasets = datasets_of(repo, site)
    if dataset and dataset not in datasets:
        raise UsageError(f"`{site}` has no dataset `{dataset}`", hint=f"it has {', '.join(datasets)}")
    out = output()
    key, own = _key(repo, site)
    if not own:
        out.say(f"{site} has no key of the split on this machine yet, so records are split by one drawn for this check")
    values: dict[str, Any] = {}
    unusable = []
    for name, declared in datasets.items():
        if dataset in ("", name):
            examination, decisions = _examine(repo, site, name, declared, key)
            policies = repo.policies_of(site)
            out.say("\n".join(said_of(name, repo.silos[site], policies, examination, decisions)))
            values[name] = value_of(declared, policies, examination, decisions)
            if examination.whole.refused is not None:
                unusable.append(name)
    out.result({"site": site, "split": "own" if own else "drawn", "datasets": values})
    if unusable:
        listed = ", ".join(f"`{name}`" for name in unusable)
        raise RecordsError(f"cannot be used at {site}: {listed}", hint="what is wrong stands above")


def datasets_of(repo: Repository, site: str) -> Mapping[str, Dataset]:
    """The datasets of ``site`` by name.

    Raises:
        UsageError: where there is no such site.
    """
    if site not in repo.silos:
        raise UsageError(f"there is no site `{site}`", hint=f"sites here: {', '.join(sorted(repo.silos)) or 'none'}")
    return repo.silos[site].value.datasets


def _key(repo: Repository, site: str) -> tuple[bytes, bool]:
    """The site's own key of the split, where it has one; it is not for a check to make it."""
    workspace = federation_of(repo).state.site(site)
    if (workspace / FILE).exists():
        return split_key(workspace), True
    return secrets.token_bytes(32), False


def _examine(
    repo: Repository, site: str, name: str, dataset: Dataset, key: bytes
) -> tuple[Examination, dict[str, Decision]]:
    policies = repo.policies_of(site)
    where, free_text = policies.row_filter(name), policies.free_text(name)
    jobs = {
        job: document
        for job, document in sorted(repo.jobs.items())
        if document.value.dataset.name == name and site in repo.sites_of(document.value)
    }
    requests = {
        job: ViewRequest(document.value.dataset, document.value.seed, where, free_text)
        for job, document in jobs.items()
    }
    granted = granted_columns(repo, site, name)
    whole = request_of_all(dataset, name, granted, where) or request_of_all(dataset, name, tuple(dataset.columns))
    if whole is None:
        return Examination(whole=Got(refused=RecordsError("it declares identifiers and nothing else"))), {}
    with output().busy(f"looking through {name}"):
        found = examine(dataset, whole, requests, name=name, key=key, root=repo.root, tick=_telling(name))
    return found, {job: _decision(repo, site, document, found.jobs[job], dataset) for job, document in jobs.items()}


def granted_columns(repo: Repository, site: str, name: str) -> tuple[str, ...]:
    """The columns of a dataset that both the site's policy and the baseline grant, in the site's order."""
    policies = repo.policies_of(site)
    own = (policies.site.value.datasets or {}).get(name)
    if own is None:
        return ()
    floor = policies.baseline.value.datasets
    if floor is None:
        return own.columns
    return tuple(column for column in own.columns if name in floor and column in floor[name].columns)


def _telling(name: str) -> Callable[[int], None]:
    """Says now and then how far it is, where no terminal shows that something goes on."""
    out, begun = output(), time.monotonic()
    due = begun + _PATIENCE_SECONDS

    def tick(rows: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + (0.0 if out.console.is_terminal else _LINE_EVERY_SECONDS) + _PATIENCE_SECONDS
            out.say(f"{name}: {rows:,} rows after {time.monotonic() - begun:.0f} s …")

    return tick


def _decision(repo: Repository, site: str, document: Document[Job], got: Got, dataset: Dataset) -> Decision:
    """What the site's policy would say once the view is written; of what is known before, where there would be none."""
    people = repo.federation.value.people
    asks = next((person for person in people if person.role is Role.DATA_SCIENTIST), None)
    submitter = Submitter("", "", "") if asks is None else Submitter(asks.name, asks.organisation, asks.role.value)
    try:
        brought = code_of(repo.root, document.value)
    except CloisterError:
        brought = None
    code = None if brought is None else brought.digest
    view = None if got.tally is None or got.refused is not None else facts_of(got.tally, dataset)
    request = Request(site, submitter, document, repo.silos[site], code, view=view)
    return decide(request, repo.policies_of(site), datetime.now(UTC))
