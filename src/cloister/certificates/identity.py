# SPDX-License-Identifier: Apache-2.0
"""Who may hold a certificate: the roster's entries as one kind of value, and where each one's files lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from cloister.roster import Federation, Role

Kind = Literal["server", "site", "person"]


@dataclass(frozen=True)
class Identity:
    """One entry of the roster.

    Attributes:
        name: common name in the certificate.
        organisation: whom it acts for; `O` in the certificate.
        kind: what it is.
        role: what a person may be; None for machines.
        hosts: names and addresses that the server answers to, the dialled one first; empty for the others.
    """

    name: str
    organisation: str
    kind: Kind
    role: Role | None = None
    hosts: tuple[str, ...] = ()


def identities(federation: Federation) -> tuple[Identity, ...]:
    """Everybody whom the roster names: the server, then sites, then people, each in the document's order."""
    server = federation.server
    hosts = tuple(dict.fromkeys((server.host, *server.other_hosts)))
    return (
        Identity(server.name, server.organisation, "server", hosts=hosts),
        *(Identity(site.name, site.organisation, "site") for site in federation.sites),
        *(Identity(person.name, person.organisation, "person", person.role) for person in federation.people),
    )


def lifetime(federation: Federation, identity: Identity) -> timedelta:
    """How long a certificate of ``identity``'s kind lasts."""
    lifetimes = federation.lifetimes
    days = {"server": lifetimes.server_days, "site": lifetimes.site_days, "person": lifetimes.person_days}
    return timedelta(days=days[identity.kind])


def startup_folder(state: Path, identity: Identity) -> Path:
    """The folder with ``identity``'s key, certificate and the authority's certificate."""
    if identity.kind == "server":
        return state / "server" / "startup"
    return state / ("sites" if identity.kind == "site" else "people") / identity.name / "startup"
