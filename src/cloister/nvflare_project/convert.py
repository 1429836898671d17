# SPDX-License-Identifier: Apache-2.0
"""From a project file to our documents: who takes part is kept, all else is decided line by line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from cloister.documents import Document
from cloister.errors import InvalidDocumentsError
from cloister.nvflare_project import names
from cloister.nvflare_project.changes import Change
from cloister.nvflare_project.choices import Choices
from cloister.nvflare_project.machinery import builders_of, project_keys, studies_of
from cloister.nvflare_project.model import ADMIN, CLIENT, SERVER, Project
from cloister.nvflare_project.participants import Kept, leave_out, person_of, server_of, site_of
from cloister.nvflare_project.progress import Progress
from cloister.nvflare_project.skeletons import Named, documents


@dataclass(frozen=True)
class Imported:
    """What comes of a project file.

    Attributes:
        file: the project file, as people know it.
        documents: their text by path in the federation's folder.
        changes: what became of each line.
        kept: who takes part.
    """

    file: str
    documents: Mapping[str, str]
    changes: tuple[Change, ...]
    kept: tuple[Kept, ...]


def convert(document: Document[Project], choices: Choices, today: date) -> Imported:
    """Our documents for the project in ``document`` (pure).

    Args:
        document: the project file.
        choices: what somebody decided beforehand.
        today: from when on the policies' skeletons count.

    Raises:
        InvalidDocumentsError: with everything that the documents cannot hold, each with its line.
    """
    progress = Progress(document, choices)
    named = _named(progress)
    if progress.problems or named is None:
        raise InvalidDocumentsError(progress.problems)
    return Imported(document.source.file, documents(named, today), progress.ledger.changes(), _kept(progress, named))


def _named(progress: Progress) -> Named | None:
    """Everybody under their name here; None where nobody could be named."""
    project = progress.project
    places: dict[str, list[int]] = {SERVER: [], CLIENT: [], ADMIN: []}
    for index, said in enumerate(project.participants):
        places.setdefault(said.type, []).append(index)
        leave_out(progress, index, said, second_server=said.type == SERVER and len(places[SERVER]) > 1)
    for kind in (SERVER, CLIENT, ADMIN):
        if not places[kind]:
            progress.problem(("participants",), f"names no {kind}", "a federation needs at least one of each")
    project_keys(progress)
    remarks, days = studies_of(progress), builders_of(progress)
    federation = progress.name(("name",), project.name, names.word, kind="project")
    if not places[SERVER]:
        return None
    server = server_of(progress, places[SERVER][0])
    sites = tuple(
        site_of(progress, index, remarks.get(project.participants[index].name, ())) for index in places[CLIENT]
    )
    people = tuple(person_of(progress, index) for index in places[ADMIN])
    return Named(
        federation, project.name, project.description or "", progress.document.source.file, server, days, sites, people
    )


def _kept(progress: Progress, named: Named) -> tuple[Kept, ...]:
    lines = {
        said.name: progress.line("participants", index, "name")
        for index, said in enumerate(progress.project.participants)
    }
    found = [
        Kept(lines[named.server.was], named.server.was, named.server.name, "server"),
        *(Kept(lines[site.was], site.was, site.name, "site") for site in named.sites),
        *(Kept(lines[person.was], person.was, person.name, "person", person.role) for person in named.people),
    ]
    return tuple(sorted(found, key=lambda each: each.line))
