# SPDX-License-Identifier: Apache-2.0
"""A person's kit, written anew before each session: from the roster in force, so that a server that moved is found."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cloister.certificates import identities
from cloister.errors import FederationError, ProvisioningError
from cloister.flare.kit import person_files, write_kit
from cloister.flare.state import State
from cloister.provisioning import check_kit
from cloister.provisioning.replacement import settle
from cloister.roster import Federation
from cloister.trust import trust_in_force
from cloister.trust.in_force import settle_roots


def write_person_kit(workspace: Path, person: str) -> None:
    """Check the key and certificate of ``person`` and write their configuration.

    Raises:
        CloisterError: where they are not in order, or where the server is cannot be told.
    """
    if not (workspace / "startup" / "client.key").exists():
        hint = "join with a kit, or run `cloister provision` where the authority is"
        raise FederationError(f"`{person}` has no kit yet", hint=hint)
    settle(workspace)
    trust = trust_in_force(workspace)
    settle_roots(workspace, trust)
    identity = next((each for each in identities(trust.federation) if each.name == person), None)
    if identity is None or identity.kind != "person":
        raise ProvisioningError(f"`{person}` is not a person of version {trust.version} of the roster")
    check_kit(workspace / "startup", identity, datetime.now(UTC), trust.anchors)
    port = port_of(trust.federation, State(workspace.parents[2]))
    write_kit(workspace, person_files(trust.federation, person, workspace, port))


def port_of(federation: Federation, state: State) -> int:
    """The server's port: the document's, or the one that was chosen on this machine.

    Raises:
        ProvisioningError: where it was chosen on another.
    """
    if isinstance(federation.server.port, int):
        return federation.server.port
    port = state.remembered_port()
    if port is None:
        hint = "give `server.port` a number in provisioning/federation.yaml, or start the server here"
        raise ProvisioningError("the server's port is `auto`, and the server is not on this machine", hint=hint)
    return port
