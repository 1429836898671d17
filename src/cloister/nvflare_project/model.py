# SPDX-License-Identifier: Apache-2.0
"""A plain NVFlare project file, as releases 2.1 to 2.9 read it (`nvflare provision -p project.yml`).

NVFlare takes any key and leaves unknown ones unread. Here every key that a release has read has its field, with its
type where something is made of it; any other is a mistake, because whoever wrote it meant something by it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from cloister.documents import Model

SERVER, CLIENT, ADMIN, RELAY, OVERSEER = "server", "client", "admin", "relay", "overseer"
"""The types of participant; releases to 2.7 had the last one."""

DEFAULT_PORT = 8002
"""Where a server listens that names no `fed_learn_port` (`nvflare/lighter/ctx.py`)."""


class ProjectParticipant(Model):
    """Server, client, admin, relay or overseer. What is `Any` has no counterpart and is dropped.

    Attributes:
        name: the common name in its certificate; of a server also the host where it names none.
        type: which of the five.
        org: `O` in its certificate.
        role: what an admin may do; `lighter/templates/master_template.yml`, `default_authz`.
        roles: the same in a list, before release 2.2.
        fed_learn_port: where the server listens.
        default_host: what others dial to reach the server.
        host_names: further names in the server's certificate.
    """

    name: str = Field(min_length=1)
    type: Literal["server", "client", "admin", "relay", "overseer"]
    org: str = Field(min_length=1)
    role: str | None = None
    roles: tuple[str, ...] | None = None
    fed_learn_port: int | None = Field(default=None, ge=1, le=65535)
    default_host: str | None = None
    host_names: str | tuple[str, ...] | None = None

    admin_port: Any = None
    allow_log_streaming: Any = None
    api_root: Any = None
    auth_identity: Any = None
    capacity: Any = None
    cc_config: Any = None
    cc_config_dict: Any = None
    cc_enabled: Any = None
    cc_issuers: Any = None
    components: Any = None
    connect_to: Any = None
    connection_security: Any = None
    custom_ca_cert: Any = None
    description: Any = None
    edge_service_port: Any = None
    enable_byoc: Any = None
    listening_host: Any = None
    parent: Any = None
    port: Any = None
    protocol: Any = None
    use_aio: Any = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """`host_names` as a list, which NVFlare also takes as one word."""
        named = self.host_names
        return () if named is None else (named,) if isinstance(named, str) else named


class Built(Model):
    """An entry that NVFlare makes an object of: a builder, or the packager.

    Attributes:
        path: the Python class.
        args: what it is made with.
    """

    path: str = Field(min_length=1)
    args: dict[str, Any] | None = None


class Study(Model):
    """Who may work on what together; from release 2.8, API version 4.

    Attributes:
        site_orgs: clients by organisation.
        admins: people.
    """

    site_orgs: dict[str, tuple[str, ...]] | None = None
    admins: tuple[str, ...] | None = None


class Project(Model):
    """The whole file.

    Attributes:
        api_version: 4 is 3 with studies.
        name: of the project; the common name in the root certificate.
        description: for people.
        participants: everybody.
        builders: what makes start-up kits; NVFlare calls them in this order.
        packager: what wraps them.
        edge: makes participants by itself, for tests (`nvflare/lighter/tree_prov.py`).
        studies: by name.
    """

    api_version: int
    name: str = Field(min_length=1)
    description: str | None = None
    participants: tuple[ProjectParticipant, ...] = Field(min_length=1)
    builders: tuple[Built, ...] | None = None
    packager: Built | None = None
    edge: Any = None
    studies: dict[str, Study | None] | None = None

    # A participant that does not say asks its project.
    allow_log_streaming: Any = None
    connection_security: Any = None
    custom_ca_cert: Any = None

    @field_validator("api_version")
    @classmethod
    def _is_known(cls, value: int) -> int:
        if value not in (3, 4):
            raise ValueError(f"is {value}; 3 and 4 are read, as NVFlare 2.9 does")
        return value
