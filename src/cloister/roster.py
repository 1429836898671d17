# SPDX-License-Identifier: Apache-2.0
"""The document `provisioning/federation.yaml`: who takes part, in which role, and how long trust lasts.

The authority signs certificates from this document alone; whoever is not in it gets none.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from cloister.documents import Model
from cloister.names import PersonName, SiteName, Word

ROSTER = "provisioning/federation.yaml"
"""Where the document lies in a federation's folder."""

MOST_SITES = 200
"""How many sites a federation may have."""

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$")]


PORT_IS_LOCAL = "`port` is `auto`, which only the server's own machine knows, and sites are to dial `{host}`"
"""What is wrong with a roster whose server's port is none that anybody else could know."""

PORT_HINT = "give `server.port` a number that the sites' firewalls let through, such as 8002"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Role(StrEnum):
    """What a person may be."""

    DATA_SCIENTIST = "data-scientist"
    COMPLIANCE_OFFICER = "compliance-officer"
    IT_ADMIN = "it-admin"


class Server(Model):
    """The coordinating server.

    Attributes:
        name: common name in its certificate.
        organisation: who runs it.
        host: the name or address that sites dial; also in the certificate's SAN.
        other_hosts: further names or addresses for the SAN.
        port: TCP port, or `auto`: a free one is chosen at the first start and remembered.
    """

    name: SiteName
    organisation: Word
    host: HostName = "localhost"
    other_hosts: tuple[HostName, ...] = ()
    port: Annotated[int, Field(ge=1024, le=65535)] | Literal["auto"] = "auto"

    @property
    def port_is_local(self) -> bool:
        """Whether sites are to dial another machine and the port is one that only that machine knows."""
        return self.port == "auto" and not _is_loopback(self.host)


class Authority(Model):
    """The certificate authority.

    Attributes:
        key_bits: RSA modulus in bits; NVFlare 2.9 signs jobs with RSA only.
        valid_days: how long its own certificate lasts.
        roster_days: how long a signed roster, and the revocation list in it, counts as fresh. Sites take no jobs under
            a stale one, because a server could keep a newer one from them.
        approvers: names of the people who may approve a request; where there are none, whoever holds the authority's
            key approves alone.
        approvals: how many of them must have approved a request before the authority signs.
    """

    key_bits: Literal[3072, 4096] = 3072
    valid_days: int = Field(default=3650, ge=1, le=7300)
    roster_days: int = Field(default=90, ge=1, le=825)
    approvers: tuple[PersonName, ...] = Field(default=(), max_length=20)
    approvals: int = Field(default=1, ge=1, le=20)

    @model_validator(mode="after")
    def _enough_approvers(self) -> Self:
        if self.approvals > max(1, len(set(self.approvers))):
            raise ValueError(f"asks for {self.approvals} approvals and names {len(set(self.approvers))} approvers")
        return self


class Lifetimes(Model):
    """How many days each kind of certificate lasts, never beyond the authority's own.

    Attributes:
        server_days: the server's.
        site_days: a site's.
        person_days: a person's.
        key_days: how old a private key may be before the next renewal makes a new one; a renewal before that keeps it.
    """

    server_days: int = Field(default=365, ge=1, le=825)
    site_days: int = Field(default=365, ge=1, le=825)
    person_days: int = Field(default=180, ge=1, le=825)
    key_days: int = Field(default=365, ge=1, le=3650)


class SiteEntry(Model):
    """A site that may join.

    Attributes:
        name: common name in its certificate.
        organisation: who runs it.
        officers: names of the people who may sign the site's policy; where there are none, nobody may, and the site
            takes no jobs.
    """

    name: SiteName
    organisation: Word
    officers: tuple[PersonName, ...] = Field(default=(), max_length=20)


class Person(Model):
    """A person who may speak to the server.

    Attributes:
        name: written like a mail address.
        organisation: who they act for; policies may grant by it.
        role: what they may be; policies may grant by it.
    """

    name: PersonName
    organisation: Word
    role: Role


class Federation(Model):
    """The whole document.

    Attributes:
        federation: its name.
        server: the coordinating server.
        authority: the certificate authority.
        lifetimes: of certificates.
        sites: who may train.
        people: who may speak to the server.
        baseline_officers: names of the people who may sign the baseline; where there are none, no site takes jobs.
    """

    federation: Word
    server: Server
    authority: Authority = Authority()
    lifetimes: Lifetimes = Lifetimes()
    sites: tuple[SiteEntry, ...] = Field(min_length=1, max_length=MOST_SITES)
    people: tuple[Person, ...] = Field(min_length=1, max_length=1000)
    baseline_officers: tuple[PersonName, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [self.server.name, *(site.name for site in self.sites), *(person.name for person in self.people)]
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise ValueError(f"names `{'`, `'.join(repeated)}` twice; every name stands for one identity")
        people = {person.name for person in self.people}
        if unknown := [name for name in self.authority.approvers if name not in people]:
            raise ValueError(f"`authority.approvers` names `{unknown[0]}`, who is not among `people`")
        return self

    def site(self, name: str) -> SiteEntry | None:
        """The site called ``name``, if the roster has it."""
        return next((site for site in self.sites if site.name == name), None)

    def person(self, name: str) -> Person | None:
        """The person called ``name``, if the roster has them."""
        return next((person for person in self.people if person.name == name), None)
