# SPDX-License-Identifier: Apache-2.0
"""What documents say of each other: names that nobody bears, and documents that must be there.

A document that could not be read is not held against the others: its own problems are told, and nothing that would
follow from them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic

from cloister.documents import Document, KeyPath, T
from cloister.errors import Problem
from cloister.jobs import Job
from cloister.policies import BASELINE, Policy
from cloister.policies.sections import DatasetGrant
from cloister.roster import PORT_HINT, PORT_IS_LOCAL, ROSTER, Federation, Role, SiteEntry
from cloister.row_filter import mistakes, parse
from cloister.silos import Dataset, Silo


@dataclass(frozen=True)
class Folder(Generic[T]):
    """What a folder of documents held.

    Attributes:
        documents: those that could be read, by the name they give themselves.
        unread: names of the files that could not, without ending.
    """

    documents: dict[str, Document[T]]
    unread: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name in self.documents or name in self.unread


@dataclass(frozen=True)
class Folders:
    """Everything that could be read.

    Attributes:
        federation: the roster; None where it could not be read.
        silos: by site.
        jobs: by job.
        policies: by site, and the baseline.
        sites_here: the sites whose documents must be here; None for all.
        copies: how many sites there are to be in a simulation, copies of those here; None where sites are themselves.
    """

    federation: Document[Federation] | None
    silos: Folder[Silo]
    jobs: Folder[Job]
    policies: Folder[Policy]
    sites_here: frozenset[str] | None = None
    copies: int | None = None

    def is_elsewhere(self, site: str) -> bool:
        """Whether ``site`` is in the roster and its documents need not be in this folder."""
        if self.sites_here is None or self.federation is None or site in self.sites_here:
            return False
        return self.federation.value.site(site) is not None


def disagreements(folders: Folders) -> list[Problem]:
    """Every reference that leads nowhere, and every document that is missing."""
    return [
        *_missing(folders),
        *_server(folders),
        *_officers(folders),
        *_silos(folders),
        *_policies(folders),
        *_jobs(folders),
    ]


def _problem(document: Document[T], path: KeyPath, message: str, hint: str = "") -> Problem:
    return Problem(document.source.file, document.source.line(path), message, hint)


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """A hint for a name that nobody bears: the known one that it resembles, or ``otherwise``."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else otherwise


def _roster_sites(folders: Folders) -> dict[str, SiteEntry]:
    return {} if folders.federation is None else {entry.name: entry for entry in folders.federation.value.sites}


def _missing(folders: Folders) -> Iterator[Problem]:
    here = folders.sites_here
    if BASELINE not in folders.policies and here != frozenset():
        hint = "without a floor nothing is decided; one that states nothing but its dates will do"
        yield Problem(f"policies/{BASELINE}.yaml", 0, "is missing", hint)
    if folders.federation is None:
        return
    for index, entry in enumerate(folders.federation.value.sites):
        if here is not None and entry.name not in here:
            continue
        for name, folder in (("silo", folders.silos), ("policy", folders.policies)):
            if entry.name not in folder:
                file = f"{'silos' if name == 'silo' else 'policies'}/{entry.name}.yaml"
                message = f"site `{entry.name}` has no {name}"
                yield _problem(folders.federation, ("sites", index, "name"), message, f"write `{file}`")


def _server(folders: Folders) -> Iterator[Problem]:
    if folders.federation is not None and folders.federation.value.server.port_is_local:
        host = folders.federation.value.server.host
        yield _problem(folders.federation, ("server", "host"), PORT_IS_LOCAL.format(host=host), PORT_HINT)


def _officers(folders: Folders) -> Iterator[Problem]:
    if folders.federation is None:
        return
    document, roster = folders.federation, folders.federation.value
    officers = [person.name for person in roster.people if person.role is Role.COMPLIANCE_OFFICER]
    listed: list[tuple[KeyPath, tuple[str, ...]]] = [
        (("sites", index, "officers"), entry.officers) for index, entry in enumerate(roster.sites)
    ]
    for path, names in [*listed, (("baseline_officers",), roster.baseline_officers)]:
        for index, name in enumerate(names):
            at: KeyPath = (*path, index)
            person = roster.person(name)
            if person is None:
                hint = nearest(name, officers, "add them to `people`, or take the name out here")
                yield _problem(document, at, f"person `{name}` is not in the roster's `people`", hint)
            elif person.role is not Role.COMPLIANCE_OFFICER:
                hint = "policies are signed by people with the role `compliance-officer`"
                yield _problem(document, at, f"`{name}` has the role `{person.role}`", hint)


def _stranger(document: Document[T], path: KeyPath, site: str, folders: Folders) -> Iterator[Problem]:
    known = _roster_sites(folders)
    if folders.federation is not None and site not in known:
        hint = nearest(site, known, "add it to the roster's `sites`")
        yield _problem(document, path, f"site `{site}` is not in {ROSTER}", hint)


def _silos(folders: Folders) -> Iterator[Problem]:
    known = _roster_sites(folders)
    for site, document in folders.silos.documents.items():
        yield from _stranger(document, ("site",), site, folders)
        said = document.value.organisation
        if folders.federation is not None and site in known and known[site].organisation != said:
            entry = folders.federation.value.sites.index(known[site])
            place = folders.federation.source.at("sites", entry, "organisation")
            message = f"organisation `{said}` is not the one in the roster, `{known[site].organisation}`"
            yield _problem(document, ("organisation",), message, f"make this line and {place} agree")


def _policies(folders: Folders) -> Iterator[Problem]:
    for name, document in folders.policies.documents.items():
        if name != BASELINE:
            yield from _stranger(document, ("policy",), name, folders)
            yield from _grants(document, folders.silos.documents.get(name))
        if folders.federation is not None:
            yield from _submitters(document, folders.federation.value)


def _grants(document: Document[Policy], silo: Document[Silo] | None) -> Iterator[Problem]:
    if silo is None:
        return
    for name, grant in (document.value.datasets or {}).items():
        path: KeyPath = ("datasets", name)
        dataset = silo.value.datasets.get(name)
        if dataset is None:
            hint = nearest(name, silo.value.datasets, f"declare it in {silo.source.file}, or take it out here")
            yield _problem(document, path, f"{silo.source.file} has no dataset `{name}`", hint)
            continue
        for index, column in enumerate(grant.columns):
            if column not in dataset.columns:
                message = f"{silo.source.at(*path, 'columns')} has no column `{column}`"
                hint = nearest(column, dataset.columns, "declare it there, or take it out here")
                yield _problem(document, (*path, "columns", index), message, hint)
        yield from _filters(document, path, grant, dataset, silo.source.at(*path, "columns"))


def _filters(
    document: Document[Policy], path: KeyPath, grant: DatasetGrant, dataset: Dataset, place: str
) -> Iterator[Problem]:
    for column in grant.rows or {}:
        if column not in dataset.columns:
            hint = nearest(column, dataset.columns, "declare it there, or take it out here")
            yield _problem(document, (*path, "rows", column), f"{place} has no column `{column}`", hint)
    if grant.filter is not None:
        for mistake in mistakes(parse(grant.filter), dataset.columns):
            message = f"the filter does not fit what {place} declares: {mistake}"
            yield _problem(document, (*path, "filter"), message)


def _submitters(document: Document[Policy], roster: Federation) -> Iterator[Problem]:
    submitters = document.value.submitters
    if submitters is None:
        return
    people = {person.name for person in roster.people}
    organisations = {person.organisation for person in roster.people} | {roster.server.organisation}
    organisations |= {site.organisation for site in roster.sites}
    for key, kind, names, known in (
        ("people", "person", submitters.people, people),
        ("organisations", "organisation", submitters.organisations, organisations),
    ):
        for index, name in enumerate(names or ()):
            if name not in known:
                hint = nearest(name, known, "add it to the roster, or take it out here")
                yield _problem(document, ("submitters", key, index), f"{kind} `{name}` is not in {ROSTER}", hint)


def _jobs(folders: Folders) -> Iterator[Problem]:
    for document in folders.jobs.documents.values():
        for index, site in enumerate(document.value.federation.sites):
            yield from _stranger(document, ("federation", "sites", index), site, folders)
        # A silo that could not be read may have what the job asks for.
        targeted = document.value.federation.sites or tuple(folders.silos.unread)
        if not folders.silos.unread.intersection(targeted) and _all_here(document.value, folders):
            yield from _against_silos(document, folders.silos.documents, folders.copies)


def _all_here(job: Job, folders: Folders) -> bool:
    """Whether the silos of every site that could take part are in this folder."""
    could = set(job.federation.sites)
    if not could and folders.federation is not None:
        could = {site.name for site in folders.federation.value.sites}
    return folders.sites_here is None or (bool(could) and could <= set(folders.silos.documents))


def _against_silos(document: Document[Job], silos: dict[str, Document[Silo]], copies: int | None) -> Iterator[Problem]:
    job = document.value
    asked = [silos[site].value for site in (job.federation.sites or silos) if site in silos]
    whose = "none of its sites" if job.federation.sites else "no site"
    with_dataset = [silo for silo in asked if job.dataset.name in silo.datasets]
    if not with_dataset:
        hint = nearest(job.dataset.name, {name for silo in asked for name in silo.datasets}, "name one that a silo has")
        yield _problem(document, ("dataset", "name"), f"{whose} has a dataset `{job.dataset.name}`", hint)
    elif max(copies or 0, len(with_dataset)) < job.federation.minimum_sites:
        message = f"needs {job.federation.minimum_sites} sites, and {len(with_dataset)} could take part"
        hint = f"sites whose silo has the dataset `{job.dataset.name}` could"
        yield _problem(document, ("federation", "minimum_sites"), message, hint)
    base_model = job.base_model
    if base_model is not None and not any(base_model.name in silo.base_models for silo in asked):
        known = {name for silo in asked for name in silo.base_models}
        hint = nearest(base_model.name, known, "name one that a silo has a place for")
        yield _problem(document, ("base_model", "name"), f"{whose} has a base model `{base_model.name}`", hint)
