# SPDX-License-Identifier: Apache-2.0
"""What an authority does while processes run: another certificate for a key, and the roster that lists it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cloister.certificates import PrivateKey, identities
from cloister.flare.state import State
from cloister.provisioning import Authority
from cloister.provisioning.publication import publish
from cloister.repository import load_repository


def renewed(root: Path, name: str) -> bytes:
    """Another certificate of a participant for its key, recorded by the authority."""
    state, federation = State(root), load_repository(root).federation.value
    identity = next(each for each in identities(federation) if each.name == name)
    workspace = state.server if identity.kind == "server" else state.site(name)
    stem = "server" if identity.kind == "server" else "client"
    request = PrivateKey.load(workspace / "startup" / f"{stem}.key").request(identity)
    authority = Authority.open(state.folder / "authority")
    return authority.sign(request, identity, timedelta(days=30), datetime.now(UTC))


def new_roster(root: Path) -> bytes:
    federation = load_repository(root).federation.value
    return publish(Authority.open(State(root).folder / "authority"), federation, datetime.now(UTC))
