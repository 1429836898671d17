# SPDX-License-Identifier: Apache-2.0
"""`cloister policy diff`: which decisions change where the old policies become the new ones?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.options import FolderOption, JsonOption, output, repository
from cloister.documents import Document, load
from cloister.errors import UsageError
from cloister.policies import BASELINE, Policies, Policy, Request
from cloister.policies.cases import CASES
from cloister.policies.change import Question, changes
from cloister.policies.trial import person_of, trials
from cloister.repository import Repository, code_digest
from cloister.roster import Role

OldArgument = Annotated[Path, typer.Argument(metavar="OLD", help="A policy's file, or a folder of policies.")]
NewArgument = Annotated[Path, typer.Argument(metavar="NEW", help="The same, as it is to become.")]

_Documents = Mapping[str, Document[Policy]]
_PoliciesOf = Callable[[str], Policies | None]


def diff(old: OldArgument, new: NewArgument, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Say which decisions change, not which lines.

    Over all cases and jobs of the repository: answered by the policies in OLD, and by those in NEW.
    """
    del as_json
    repo = repository(folder)
    before, after = _read(old), _read(new)
    names = before.keys() | after.keys()
    if not (old.is_dir() or new.is_dir()) and len(names) != 1:
        raise UsageError(
            f"`{old}` and `{new}` are not the policy of one site", hint="name two files of the same policy"
        )
    sites = frozenset(repo.silos) if BASELINE in names else frozenset(names & repo.silos.keys())
    asked = [question for question in _questions(repo) if question.request.site in sites]
    found = changes(asked, _policies_of(repo, names, before), _policies_of(repo, names, after))
    out = output()
    for change in found:
        out.say(change.sentence())
    count = "1 decision changes" if len(found) == 1 else f"{len(found)} decisions change"
    out.say(f"{count} of {len(asked)}")
    out.result({"asked": len(asked), "changes": [change.to_json() for change in found]})


def _read(path: Path) -> _Documents:
    """The policies at ``path``, by the name that each gives itself."""
    if not path.exists():
        raise UsageError(f"there is no `{path}`", hint="name a policy's file, or a folder of policies")
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.yaml") if Path(CASES).name not in file.relative_to(path).parts)
    documents: dict[str, Document[Policy]] = {}
    for document in (load(file, Policy) for file in files):
        name, file = document.value.policy, document.source.file
        if name in documents:
            hint = f"the other is `{documents[name].source.file}`; keep one"
            raise UsageError(f"`{file}` is a second policy of `{name}`", hint=hint)
        documents[name] = document
    if not documents:
        raise UsageError(f"`{path}` holds no policies", hint="name a policy's file, or a folder of policies")
    return documents


def _policies_of(repo: Repository, names: AbstractSet[str], given: _Documents) -> _PoliciesOf:
    """The policies of a site where those called ``names`` are ``given``, or missing, and all others are here."""
    documents = {name: document for name, document in repo.policies.items() if name not in names} | dict(given)

    def of(site: str) -> Policies | None:
        if site not in documents or BASELINE not in documents:
            return None
        return Policies(documents[site], documents[BASELINE])

    return of


def _questions(repo: Repository) -> Iterator[Question]:
    roster, now = repo.federation.value, datetime.now(UTC)
    for trial in trials(repo.cases, repo.jobs, repo.silos_with_policy(), roster):
        yield Question(f"case `{trial.case.case}` ({trial.place})", trial.request, trial.now)
    for name, job in repo.jobs.items():
        for person in roster.people:
            if person.role is Role.DATA_SCIENTIST:
                for site in filter(repo.silos.__contains__, repo.sites_of(job.value)):
                    who = person_of(roster, person.name)
                    request = Request(site, who, job, repo.silos[site], code=code_digest(repo.root, job.value))
                    yield Question(f"job `{name}` from {person.name} today", request, now)
