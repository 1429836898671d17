# SPDX-License-Identifier: Apache-2.0
"""`cloister policy revoke`: take a policy's version back, also from jobs that run under it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.officers import anchors_of, key_of, officer_for
from cloister.cli.options import FolderOption, JsonOption, federation_of, output, repository
from cloister.cli.policy_names import policy_of
from cloister.cli.policy_sign import OfficerOption
from cloister.errors import DeniedError, UsageError
from cloister.files import private_folder, sha256_of, write_atomically
from cloister.governance.revocation import (
    MAXIMUM_REASON_CHARACTERS,
    Revocation,
    is_reason,
    read_revocation,
    revocation_file,
    revoked_already,
    sign_revocation,
)


def revoke(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Whose policy; or `baseline`.")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, in one line; people whose jobs stop read it.")
    ],
    version: Annotated[int, typer.Option("--version", min=0, help="Which version; the one in the file if 0.")] = 0,
    officer: OfficerOption = "",
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take a policy's version back.

    No job starts under it, and running ones stop at their next gate.
    """
    del as_json
    repo = repository(folder)
    local, now = federation_of(repo), datetime.now(UTC)
    policy, text = policy_of(repo, site), reason.strip()
    name = policy.value.policy
    if not is_reason(text):
        raise UsageError(f"a reason is one line of 1 to {MAXIMUM_REASON_CHARACTERS} characters")
    current = policy.value.version
    if version > current:
        raise UsageError(f"{policy.source.at('version')}: there is no version {version} yet")
    number = version or current
    by = officer_for(local, name, officer)
    anchors = anchors_of(local)
    if before := revoked_already(repo.root, name, number, anchors):
        message = f"version {number} of the policy of `{name}` is already revoked by `{before.by}`: {before.reason}"
        raise DeniedError(message, hint="a revocation stays as it was signed")
    revocation = Revocation(name, number, sha256_of(policy.text) if number == current else None, text)
    path = revocation_file(repo.root, name, number)
    content = sign_revocation(revocation, *key_of(local, by), now)
    read_revocation(content, path.name, anchors)  # one that no site could read would stop every version
    private_folder(path.parent)
    write_atomically(path, content, mode=0o644)
    out = output()
    shown = path.relative_to(repo.root).as_posix()
    out.say(f"{by} revoked version {number} of {policy.source.file}: {shown}")
    if number == current:
        out.say("the site takes jobs again under a higher version that is signed")
    out.result({"policy": name, "version": number, "by": by, "reason": text, "file": shown})
