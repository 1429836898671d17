# SPDX-License-Identifier: Apache-2.0
"""What the authority has made goes to whoever is on this machine: rosters to workspaces, letters to the mailbox.

Where the server is on this machine, its mailbox is used. Otherwise the authority has one of its own, `mailbox/` in its
folder, which travels: `cloister authority collect` fills it and `cloister authority deposit` empties it, or people copy
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cloister.certificates.anchors import ROOT_FILE
from cloister.certificates.identity import identities, startup_folder
from cloister.provisioning.authority import AUTHORITY_FOLDER, Authority
from cloister.roster import Federation
from cloister.trust import read_roster
from cloister.trust.in_force import take_up_first
from cloister.trust.mailbox import FOLDER, put_grant, put_roster


def mailbox_of(state: Path) -> Path:
    """The mailbox on this machine: the server's, or the authority's own."""
    server = state / "server"
    return (server if (server / "startup" / ROOT_FILE).exists() else state / AUTHORITY_FOLDER) / FOLDER


def distribute(
    authority: Authority, federation: Federation, state: Path, roster: bytes, grants: Mapping[str, bytes] | None = None
) -> None:
    """Give ``roster`` to every workspace in ``state``, and put it and ``grants`` into the mailbox.

    Args:
        authority: who signed it.
        federation: the document.
        state: the state folder.
        roster: the signed roster.
        grants: certificates in PEM form by name; the roster lists them already, so it comes first.

    Raises:
        CloisterError: where a workspace belongs to another authority, or something cannot be written.
    """
    mailbox = mailbox_of(state)
    put_roster(mailbox, roster, read_roster(roster, authority.roots).version)
    for identity in identities(federation):
        workspace = startup_folder(state, identity).parent
        if (workspace / "startup" / ROOT_FILE).exists():
            take_up_first(workspace, roster, authority.stating)
    for name, certificate in (grants or {}).items():
        put_grant(mailbox, name, certificate)
