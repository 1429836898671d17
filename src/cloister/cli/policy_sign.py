# SPDX-License-Identifier: Apache-2.0
"""`cloister policy sign`: put an officer's signature beside a policy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.officers import NewSignature, check_in_roster, left_alone, officer_for, sign_one, signable
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.cli.policy_names import policy_names
from cloister.documents import Document
from cloister.errors import CloisterError, InvalidDocumentsError, UsageError
from cloister.policies import Policy

PoliciesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Sites, or `baseline`; all where none is named.")
]
OfficerOption = Annotated[
    str,
    typer.Option("--as", metavar="OFFICER", help="Who you are; the officer whose key lies here if only one's does."),
]


def sign(
    names: PoliciesArgument = None,
    officer: OfficerOption = "",
    untested: Annotated[
        bool, typer.Option("--untested", help="Sign although cases do not hold, or a rule is tried by none.")
    ] = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Sign policies with an officer's key.

    Runs their cases first. Without names, every policy for which a key lies on this machine and that is not signed as
    it stands, unless it has ended or was revoked.
    """
    del as_json
    repo = repository(folder)
    local, now, out = federation_of(repo), datetime.now(UTC), output()
    check_in_roster(local.federation, officer)
    chosen = policy_names(repo, names) if names else signable(repo, local, officer)
    if not chosen:
        hint = "run it where the officer's key is; `cloister provision` makes keys"
        raise UsageError("no key of an officer who may sign a policy lies on this machine", hint=hint)
    signed: list[NewSignature] = []
    refused: dict[str, CloisterError] = {}
    for name in chosen:
        if not names and (why := left_alone(repo, local, name, now)):
            out.say(f"{repo.policies[name].source.file} {why}")
            continue
        try:
            by = officer_for(local, name, officer)
            new = sign_one(repo, local, name, by, now, untested=untested)
        except CloisterError as error:
            refused[name] = error
            continue
        signed.append(new)
        _tell(new, repo.policies[name], now)
    said = [{"policy": name, "problem": str(error)} for name, error in refused.items()]
    out.result({"signed": [vars(new) for new in signed], "refused": said})
    if refused:
        raise _worst(list(refused.values()))


def _tell(new: NewSignature, policy: Document[Policy], now: datetime) -> None:
    out = output()
    out.say(f"{new.by} signed version {new.version} of {policy.source.file}")
    if new.untested:
        out.say(f"UNTESTED: {new.untested}")
    if now.date() < policy.value.valid_from:
        out.say(f"it counts from {policy.value.valid_from}, and until then the site takes no jobs")


def _worst(refused: Sequence[CloisterError]) -> CloisterError:
    """All refusals as one with the highest exit status; the problems of documents are told together."""
    problems = [each for error in refused if isinstance(error, InvalidDocumentsError) for each in error.problems]
    others = [error for error in refused if not isinstance(error, InvalidDocumentsError)]
    found = [*others, *([InvalidDocumentsError(sorted(set(problems)))] if problems else [])]
    worst = max(found, key=lambda error: error.exit_status)
    for error in found:
        if error is not worst:
            output().say(f"not signed: {error}")
    return worst
