# SPDX-License-Identifier: Apache-2.0
"""The documents `policies/cases/<rule>.yaml`: what sites are to answer to what, written down before it is asked.

A case is a job of the repository with a few changes, a submitter and a moment, and the answer that is expected. It is
decided by the same `decide` as every job, so a case that holds is a promise about the policy as it stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from cloister.documents import Document, KeyPath, Model, Source, checked
from cloister.files import canonical_json
from cloister.jobs import Job
from cloister.names import Line, PersonName, Sha256, SiteName, Word
from cloister.policies.request import Leaving, Submitter, ViewFacts

CASES = "policies/cases"
"""Where the documents lie in a federation's folder."""


class CaseSubmitter(Model):
    """Somebody who need not be in the roster.

    Attributes:
        name: as a certificate would say it.
        organisation: who they act for.
        role: what they may be.
    """

    name: Line
    organisation: Word
    role: Word


class CaseView(Model):
    """A view, counted.

    Attributes:
        records: those to train on.
        classes: the same by label.
        validation: those kept from training.
        validation_classes: the same by label.
        people: different people that the records to train on are about.
        identifying: by column of free text, the texts in which somebody seems to be named.
    """

    records: int = Field(ge=0)
    classes: dict[Line, int] = Field(default_factory=dict)
    validation: int = Field(default=0, ge=0)
    validation_classes: dict[Line, int] = Field(default_factory=dict)
    people: int | None = Field(default=None, ge=0)
    identifying: dict[Line, int] = Field(default_factory=dict)


class CaseLeaving(Model):
    """What is about to leave in one round.

    Attributes:
        bytes: tensors and message together.
        bytes_before: what left in earlier rounds of the same job.
        norm: Euclidean (L2) norm of the update.
        metrics: numbers by name.
        tensors: parts of the update.
        records: those that the round trained on.
        smallest_count: the smallest count above 0 in the descriptions of features that leave.
    """

    bytes: int = Field(ge=0)
    bytes_before: int = Field(default=0, ge=0)
    norm: float | None = None
    metrics: dict[Line, float] = Field(default_factory=dict)
    tensors: tuple[Line, ...] = ()
    records: int | None = Field(default=None, ge=0)
    smallest_count: int | None = Field(default=None, ge=1)


def _kind_of_submitter(value: Any) -> str:
    return "mapping" if isinstance(value, dict | CaseSubmitter) else "name"


Asking = Annotated[
    Annotated[PersonName, Tag("name")] | Annotated[CaseSubmitter, Tag("mapping")], Discriminator(_kind_of_submitter)
]


def _in_utc(value: datetime | None) -> datetime | None:
    if value is not None and value.utcoffset() != timedelta(0):
        raise ValueError("must be a moment in UTC, such as 2026-06-01T12:00:00Z")
    return value


class Case(Model):
    """One request, and the answer that is expected.

    Attributes:
        case: what it shows, as one line.
        sites: who is asked; each must answer so.
        job: name of a job in `jobs/`.
        with_: `with`, changes to that job: mapping by mapping, a list as a whole, an empty value takes a key out.
        submitter: a person of the roster, or anybody; the roster's only data scientist where not given.
        now: the moment, UTC; the file's where not given.
        view: the job's view; not yet written where not given.
        leaving: what is about to leave; nothing where not given.
        code: SHA-256 of training code that the job brings.
        expect: the answer.
        rules: with `deny`, exactly the rules that deny; with `allow`, exactly those that are waived.
    """

    case: Line
    sites: tuple[SiteName, ...] = Field(min_length=1, max_length=200)
    job: Word
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    submitter: Asking | None = None
    now: datetime | None = None
    view: CaseView | None = None
    leaving: CaseLeaving | None = None
    code: Sha256 | None = None
    expect: Literal["allow", "deny"]
    rules: tuple[Word, ...] = ()

    _moment = field_validator("now")(_in_utc)

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if self.expect == "deny" and not self.rules:
            raise ValueError("expects `deny` and names no `rules` that deny")
        return self


class Cases(Model):
    """The whole document.

    Attributes:
        now: the moment of every case that names none, UTC.
        cases: each is run at each of its sites.
    """

    now: datetime
    cases: tuple[Case, ...] = Field(max_length=1000)

    _moment = field_validator("now")(_in_utc)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if not self.cases:  # not `min_length`, which would also complain of a list whose every entry has a mistake
            raise ValueError("holds no cases")
        names = [case.case for case in self.cases]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two cases called `{name}`")
        return self


@dataclass(frozen=True)
class PatchedSource(Source):
    """Where a changed job's values stand: what the case changes in the case's file, all else in the job's.

    Attributes:
        patch: key paths of the job that the case changes, with their place.
    """

    patch: Mapping[KeyPath, str] = field(default_factory=dict)

    def at(self, *path: str | int) -> str:
        """``file:line`` of the value at ``path``, in the file that it comes from."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.patch:
                return self.patch[path[:length]]
        return super().at(*path)


def patched(job: Document[Job], cases: Document[Cases], index: int) -> Document[Job]:
    """``job`` with the changes of the case at ``index``.

    Raises:
        InvalidDocumentsError: where what comes out is no job; the problems name lines of the cases' file.
    """
    case, here = cases.value.cases[index], ("cases", index, "with")
    if not case.with_:
        return job
    lines = {path[3:]: line for path, line in cases.source.lines.items() if path[:3] == here}
    said = job.value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    tree = merged(said, case.with_)
    there = {path: line for path, line in lines.items() if _leads_to(tree, path) is not _NOTHING}
    value = checked(tree, Job, Source(cases.source.file, there))
    # What the case takes out is its change too; a mapping that it only passes through is the job's.
    places = {
        path: f"{cases.source.file}:{line}"
        for path, line in lines.items()
        if path and not isinstance(_leads_to(tree, path), Mapping)
    }
    source = PatchedSource(job.source.file, job.source.lines, places)
    return Document(value, source, canonical_json(tree))


def merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``tree`` with ``changes`` laid over it, mapping by mapping (RFC 7396, JSON merge patch)."""
    result = dict(tree)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = json.loads(json.dumps(value))
    return result


_NOTHING = object()


def _leads_to(tree: Any, path: KeyPath) -> Any:
    for part in path:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return _NOTHING
    return tree


def facts(case: Case) -> tuple[ViewFacts | None, Leaving | None]:
    """What ``case`` says of view and update, as rules are given it."""
    said, out = case.view, case.leaving
    view = None
    if said is not None:
        view = ViewFacts(
            said.records, said.classes, said.validation, said.validation_classes, said.people, said.identifying
        )
    if out is None:
        return view, None
    return view, Leaving(
        out.bytes, out.bytes_before, out.norm, out.metrics, out.tensors, out.records, out.smallest_count
    )


def stranger(submitter: CaseSubmitter) -> Submitter:
    """Somebody whom a case describes."""
    return Submitter(submitter.name, submitter.organisation, submitter.role)


def numbered(cases: Mapping[str, Document[Cases]]) -> Iterator[tuple[str, Document[Cases], int, Case]]:
    """Every case: rule that its file is named after, document, its number there, itself."""
    for rule, document in cases.items():
        for index, case in enumerate(document.value.cases):
            yield rule, document, index, case
