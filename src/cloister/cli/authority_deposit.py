# SPDX-License-Identifier: Apache-2.0
"""`cloister authority deposit`: bring rosters and certificates to the server's mailbox."""

from __future__ import annotations

from pathlib import Path

from cloister.cli.authority_here import AuthorityHere
from cloister.cli.options import FolderOption, JsonOption, PersonOption, federation_here, output
from cloister.errors import DeniedError
from cloister.flare.session import connect
from cloister.provisioning.authority import AUTHORITY_FOLDER
from cloister.trust.mailbox import FOLDER, drop_grant, grants_in, rosters_after


def deposit(person: PersonOption, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Bring what the authority signed to the server.

    Over the session of an it-admin whose key is here.
    """
    del as_json
    here, local, out = AuthorityHere.at(folder), federation_here(folder), output()
    mailbox = here.state.folder / AUTHORITY_FOLDER / FOLDER
    rosters, grants = rosters_after(mailbox, 0), grants_in(mailbox)
    with connect(local.state.person(person), person) as session:
        taken = session.deposit(rosters, grants)
    for name in taken["grants"]:  # once is enough: later it would have ended, and be refused
        drop_grant(mailbox, name)
    left = ", ".join(sorted(taken["grants"])) or "none"
    out.say(f"version {taken['roster']} of the roster is in force at the server; certificates left there: {left}")
    out.result({"taken": taken, "grants": sorted(grants)})
    if refused := dict(taken["refused"]):
        what, why = next(iter(refused.items()))
        raise DeniedError(f"the server does not take {len(refused)} of what was brought, such as `{what}`: {why}")
