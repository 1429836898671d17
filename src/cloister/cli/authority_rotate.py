# SPDX-License-Identifier: Apache-2.0
"""`cloister authority rotate`: hand over to the authority's next generation, in three steps."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.certificates import pem
from cloister.cli.authority_here import AuthorityHere
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.errors import ProvisioningError, UsageError
from cloister.provisioning.publication import latest_roster
from cloister.provisioning.rotation import announce, finish, not_renewed
from cloister.provisioning.rotation import switch as switch_over


def rotate(
    switch: Annotated[bool, typer.Option("--switch", help="Second step: the next authority signs.")] = False,
    ending: Annotated[bool, typer.Option("--finish", help="Third step: the old one is trusted no more.")] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Finish although somebody has not been renewed yet.")
    ] = False,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Hand over to a new authority while the federation runs.

    Without an option, the first step: a next authority is made and trusted beside the present one.
    """
    del as_json
    if switch and ending:
        raise UsageError("--switch and --finish are two steps")
    here, now, out = AuthorityHere.at(folder), datetime.now(UTC), output()
    if ending:
        after = finish(here.authority, here.federation, now, anyway=anyway)
        said = "the old authority is trusted no more"
    elif switch:
        after = switch_over(here.authority, here.federation, now)
        said = "the next authority signs from now on; everybody renews at their next sync"
    else:
        after = announce(here.authority, here.federation, now)
        said = "the next authority is trusted beside the present one; once everybody has this roster: --switch"
    latest = latest_roster(after)
    if latest is None:
        raise ProvisioningError("the roster that was published just now cannot be read")
    AuthorityHere(here.root, here.state, here.federation, after).distribute(latest[0], out)
    out.say(said)
    waiting = not_renewed(after, here.federation, now) if len(after.roots) > 1 else ()
    roots = [pem.fingerprint(root) for root in after.roots]
    out.result({"authorities": roots, "roster": latest[1].version, "not_renewed": list(waiting)})
