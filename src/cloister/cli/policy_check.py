# SPDX-License-Identifier: Apache-2.0
"""`cloister policy check`: are the policies valid, and is each of their rules tried by a case?"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from cloister.cli.options import FolderOption, JsonOption, output, repository
from cloister.cli.policy_names import NamesArgument, policy_names
from cloister.documents import Document
from cloister.errors import InvalidDocumentsError, Problem
from cloister.policies import Policy
from cloister.policies.endings import ends_on
from cloister.repository import coverage_problems

_SOON_DAYS = 30


def check(names: NamesArgument = None, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Validate policies and their cases.

    Also whether a case tries each of their rules. Warns of what ends soon. Starts nothing.
    """
    del as_json
    repo = repository(folder)
    wanted = policy_names(repo, names)
    if problems := coverage_problems(repo, frozenset(wanted)):
        raise InvalidDocumentsError(problems)
    today = datetime.now(UTC).date()
    warnings = [warning for name in wanted for warning in _endings(repo.policies[name], today)]
    out = output()
    for warning in warnings:
        out.say(f"{warning}")
    count = "1 policy" if len(wanted) == 1 else f"{len(wanted)} policies"
    out.say(f"{count} valid, each rule tried by cases that allow and cases that deny: {', '.join(wanted)}")
    out.result({"policies": list(wanted), "valid": True, "warnings": [vars(warning) for warning in warnings]})


def _endings(document: Document[Policy], today: date) -> list[Problem]:
    found = []
    for what, path, until in ends_on(document.value):
        days = (until - today).days
        if days > _SOON_DAYS:
            continue
        said = f"{what} ended on {until}" if days < 0 else f"{what} ends on {until}, in {days} days"
        found.append(Problem(document.source.file, document.source.line(path), said, "renew it, or take it out"))
    return found
