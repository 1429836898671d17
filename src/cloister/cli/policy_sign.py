# SPDX-License-Identifier: Apache-2.0
"""`cloister policy sign`: put an officer's signature beside a policy."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.officers import left_alone, officer_for, sign_one, signable
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.cli.policy_names import policy_names
from cloister.errors import UsageError

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
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Sign policies with an officer's key.

    Without names, every policy for which a key lies on this machine and that is not signed as it stands, unless it has
    ended or was revoked.
    """
    del as_json
    repo = repository(folder)
    local, now, out = federation_of(repo), datetime.now(UTC), output()
    chosen = policy_names(repo, names) if names else signable(repo, local, officer)
    if not chosen:
        hint = "run it where the officer's key is; `cloister provision` makes keys"
        raise UsageError("no key of an officer who may sign a policy lies on this machine", hint=hint)
    who = {name: officer_for(local, name, officer) for name in chosen}
    signed = []
    for name, each in who.items():
        if not names and (why := left_alone(repo, local, name, now)):
            out.say(f"{repo.policies[name].source.file} {why}")
            continue
        new = sign_one(repo, local, name, each, now)
        out.say(f"{new.by} signed version {new.version} of {repo.policies[name].source.file}")
        signed.append(vars(new))
    out.result({"signed": signed})
