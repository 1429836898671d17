# SPDX-License-Identifier: Apache-2.0
"""What cases say of other documents: rules, sites, jobs and people that must be there, and changes that make a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cloister.documents import Document, KeyPath
from cloister.errors import InvalidDocumentsError, Problem
from cloister.policies import RULES
from cloister.policies.cases import Case, Cases, numbered, patched
from cloister.policies.trial import default_submitter
from cloister.repository.references import Folders, nearest
from cloister.roster import ROSTER

_RULES = tuple(rule.id for rule in RULES)


def case_problems(cases: Mapping[str, Document[Cases]], folders: Folders) -> Iterator[Problem]:
    """Every name in a case that nobody bears, and every change that makes of a job what is none."""
    for rule, document in cases.items():
        if rule not in _RULES:
            hint = nearest(rule, _RULES, "name the file after a rule of docs/policies.md")
            yield Problem(document.source.file, 0, f"is named after no rule `{rule}`", hint)
    for _, document, index, case in numbered(cases):
        yield from _case(document, index, case, folders)


def _problem(document: Document[Cases], path: KeyPath, message: str, hint: str) -> Problem:
    return Problem(document.source.file, document.source.line(path), message, hint)


def _case(document: Document[Cases], index: int, case: Case, folders: Folders) -> Iterator[Problem]:
    here: KeyPath = ("cases", index)
    for number, site in enumerate(case.sites):
        if site not in folders.silos and folders.federation is not None and not folders.is_elsewhere(site):
            hint = nearest(site, folders.silos.documents, "name a site that has a silo")
            yield _problem(document, (*here, "sites", number), f"there is no site `{site}`", hint)
    for number, rule in enumerate(case.rules):
        if rule not in _RULES:
            hint = nearest(rule, _RULES, "name a rule of docs/policies.md")
            yield _problem(document, (*here, "rules", number), f"there is no rule `{rule}`", hint)
    yield from _submitter(document, here, case, folders)
    job = folders.jobs.documents.get(case.job)
    if job is not None:
        try:
            patched(job, document, index)
        except InvalidDocumentsError as error:
            yield from error.problems
    elif case.job not in folders.jobs:
        hint = nearest(case.job, folders.jobs.documents, "name a job that is in jobs/")
        yield _problem(document, (*here, "job"), f"there is no job `{case.job}`", hint)


def _submitter(document: Document[Cases], here: KeyPath, case: Case, folders: Folders) -> Iterator[Problem]:
    if folders.federation is None:
        return
    roster = folders.federation.value
    if case.submitter is None and default_submitter(roster) is None:
        message = "names no `submitter`, and the roster has not exactly one data scientist"
        yield _problem(document, here, message, "name one of its people")
    if isinstance(case.submitter, str) and roster.person(case.submitter) is None:
        people = [person.name for person in roster.people]
        hint = nearest(case.submitter, people, "give `name`, `organisation` and `role` for somebody who is not in it")
        yield _problem(document, (*here, "submitter"), f"person `{case.submitter}` is not in {ROSTER}", hint)
