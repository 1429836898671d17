# SPDX-License-Identifier: Apache-2.0
"""Who may hold a certificate: the roster's entries as one kind of value, and where each one's files lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from cloister.roster import Federation, Person, Role, Server, SiteEntry

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
    return (_of_server(federation.server), *map(_of_site, federation.sites), *map(_of_person, federation.people))


def identity_of(federation: Federation, name: str) -> Identity | None:
    """Whom the roster calls ``name``, if anybody; without making a value of everybody, as it is asked often."""
    if name == federation.server.name:
        return _of_server(federation.server)
    if (site := federation.site(name)) is not None:
        return _of_site(site)
    person = federation.person(name)
    return None if person is None else _of_person(person)


def _of_server(server: Server) -> Identity:
    hosts = tuple(dict.fromkeys((server.host, *server.other_hosts)))
    return Identity(server.name, server.organisation, "server", hosts=hosts)


def _of_site(site: SiteEntry) -> Identity:
    return Identity(site.name, site.organisation, "site")


def _of_person(person: Person) -> Identity:
    return Identity(person.name, person.organisation, "person", person.role)


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
