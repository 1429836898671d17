# SPDX-License-Identifier: Apache-2.0
"""`cloister policy check`: are the policies valid, and is each of their rules tried by a case?"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from cloister.cli.officers import SOON_DAYS, anchors_of, lapses_soon
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.cli.policy_names import NamesArgument, policy_names
from cloister.documents import Document
from cloister.errors import CloisterError, InvalidDocumentsError, Problem
from cloister.governance.in_force import check_signature
from cloister.governance.policy_signature import ENDING
from cloister.policies import Policy
from cloister.policies.endings import ends_on
from cloister.repository import Repository, coverage_problems


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
    warnings += [warning for name in wanted for warning in _unsafe(repo.policies[name])]
    warnings += [warning for name in wanted for warning in _lapsing(repo, repo.policies[name])]
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
        if days > SOON_DAYS:
            continue
        said = f"{what} ended on {until}" if days < 0 else f"{what} ends on {until}, in {days} days"
        found.append(Problem(document.source.file, document.source.line(path), said, "renew it, or take it out"))
    return found


def _unsafe(document: Document[Policy]) -> list[Problem]:
    if document.value.sandbox != "unsafe-none":
        return []
    said = "sandbox: unsafe-none: training code runs there without isolation"
    return [Problem(document.source.file, document.source.line(("sandbox",)), said, "write `sandbox: required`")]


def _lapsing(repo: Repository, document: Document[Policy]) -> list[Problem]:
    """That the policy's signature ends soon; what is no signature is told by `cloister policy verify`."""
    local, now = federation_of(repo), datetime.now(UTC)
    try:
        signed = check_signature(repo.root, document, local.federation, anchors_of(local), now)
    except CloisterError:
        return []
    said = lapses_soon(document, signed, now.date())
    hint = "renew the certificate, then sign the policy again"
    return [Problem(f"{document.source.file}{ENDING}", 0, said, hint)] if said else []
