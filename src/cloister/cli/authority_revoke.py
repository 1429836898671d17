# SPDX-License-Identifier: Apache-2.0
"""`cloister authority revoke`: take certificates back, at once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.certificates import pem
from cloister.cli.authority_here import AuthorityHere
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.errors import UsageError
from cloister.provisioning.revoking import live_certificates, revoked
from cloister.provisioning.revoking import revoke as take_back


def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose certificates.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, in one line; everybody reads it.")],
    keep_newest: Annotated[
        bool, typer.Option("--keep-newest", help="Revoke all but the last that was issued.")
    ] = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Revoke a participant's certificates.

    Publishes the roster that says so: a live connection ends, queued jobs are refused. Revoking again publishes again.
    """
    del as_json
    here, now, out = AuthorityHere.at(folder), datetime.now(UTC), output()
    living = live_certificates(here.authority, name, now)
    known = {each.name for each in revoked(here.authority.folder)}
    if not living and name not in known:
        raise UsageError(f"`{name}` has no certificate of this authority", hint="see: cloister authority list")
    keep = pem.fingerprint(living[-1]) if keep_newest and living else ""
    taken = take_back(here.authority, name, reason, now, superseded=keep_newest, keep=keep)
    version = here.publish(out)
    number = "one certificate" if len(taken) == 1 else f"{len(taken)} certificates"
    out.say(f"revoked {number} of `{name}`" if taken else f"nothing of `{name}` was left to revoke")
    out.result({"name": name, "revoked": [each.fingerprint for each in taken], "roster": version})
