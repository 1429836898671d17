# SPDX-License-Identifier: Apache-2.0
"""`cloister authority init`: make the federation's authority on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cloister.cli.authority_here import AuthorityHere
from cloister.cli.enrolment import spoken
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.documents import load
from cloister.errors import ProvisioningError
from cloister.flare.state import State
from cloister.provisioning.authority import AUTHORITY_FOLDER, Authority
from cloister.repository import find_root
from cloister.roster import PORT_HINT, PORT_IS_LOCAL, ROSTER, Federation


def init(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Make the authority's key and certificate here."""
    del as_json
    out = output()
    root = find_root(folder.resolve())
    federation = load(root / ROSTER, Federation, name=ROSTER).value
    if federation.server.port_is_local:  # said now, before it stands in a signed roster and everybody's kit
        raise ProvisioningError(PORT_IS_LOCAL.format(host=federation.server.host), hint=PORT_HINT)
    state = State(root)
    state.make()
    with out.busy("making the authority's key …"):
        authority = Authority.create(state.folder / AUTHORITY_FOLDER, federation, datetime.now(UTC))
    here = AuthorityHere(root, state, federation, authority)
    out.say(
        f"made the authority of `{federation.federation}`, until {authority.certificate.not_valid_after_utc:%Y-%m-%d}"
    )
    version = here.publish(out)
    out.say(f"its fingerprint, to read to everybody who joins:\n{spoken(authority.fingerprint)}")
    out.say(f"keep {authority.folder} offline, and a backup of it")
    out.result({"federation": federation.federation, "fingerprint": authority.fingerprint, "roster": version})
