# SPDX-License-Identifier: Apache-2.0
"""A server or a site as something that a machine keeps running: what it reads, dials and may use up."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cloister.errors import ProvisioningError, UsageError
from cloister.roster import ROSTER, Federation
from cloister.silos import (
    Capacity,
    Connector,
    DicomConnector,
    NiftiConnector,
    OmopConnector,
    PostgresqlDatabase,
    Silo,
)

SITE_OVERHEAD_GIB = 4.0
"""Memory of a site's own two processes beside the trainer's: NVFlare's, and the job's, which writes the view."""

SERVER_MEMORY_GIB = 8.0
"""Memory of a server where nothing else is said: updates wait in files, whatever the number of sites."""

_TASKS = 512  # NVFlare's processes, with their threads


@dataclass(frozen=True)
class Database:
    """A database that a site dials.

    Attributes:
        host: name or address, or the folder of a socket.
        port: TCP port.
    """

    host: str
    port: int


@dataclass(frozen=True)
class Service:
    """What is kept running.

    Attributes:
        kind: which of the two.
        name: in the roster.
        organisation: who runs it.
        federation: the federation's name.
        host: the name or address that sites dial.
        port: the server's TCP port.
        memory_gib: the most that all its processes may use together, GiB.
        tasks: processes and threads that may exist at once.
        documents: the documents that its processes read, as text by path in the federation's folder.
        reads: files and folders of records and base models, as the silo document writes them.
        passwords: files that hold a database's password, as the silo document writes them.
        databases: that it dials.
    """

    kind: Literal["server", "site"]
    name: str
    organisation: str
    federation: str
    host: str
    port: int
    memory_gib: float
    tasks: int
    documents: Mapping[str, str]
    reads: tuple[str, ...] = ()
    passwords: tuple[str, ...] = ()
    databases: tuple[Database, ...] = ()

    @property
    def is_server(self) -> bool:
        """Whether it is the server; otherwise it is a site."""
        return self.kind == "server"

    @property
    def unit(self) -> str:
        """What it is called on its machine."""
        return f"cloister-{self.name}"

    @property
    def workspace(self) -> str:
        """The folder of its keys and of all that it writes, in the federation's folder."""
        return ".cloister/server" if self.is_server else f".cloister/sites/{self.name}"

    @property
    def memory_mib(self) -> int:
        """`memory_gib` in whole MiB, as service managers count."""
        return round(self.memory_gib * 1024)

    def check_can_be_dialled(self) -> None:
        """See that the server's host means the same machine inside a container.

        Raises:
            ProvisioningError: where it does not.
        """
        if is_this_machine(self.host):
            hint = f"write the server's own name or address as `host` in {ROSTER}, and provision"
            raise ProvisioningError(
                f"sites dial `{self.host}`, which inside a container is the container itself", hint=hint
            )


def server_service(federation: Federation, documents: Mapping[str, str], memory_gib: float | None) -> Service:
    """The federation's server.

    Args:
        federation: the roster.
        documents: what its processes read.
        memory_gib: the most it may use; `SERVER_MEMORY_GIB` where None.

    Raises:
        ProvisioningError: where its port is not fixed.
    """
    server = federation.server
    return Service(
        kind="server",
        name=server.name,
        organisation=server.organisation,
        federation=federation.federation,
        host=server.host,
        port=_port(federation),
        memory_gib=memory_gib or SERVER_MEMORY_GIB,
        tasks=_TASKS,
        documents=documents,
    )


def site_service(federation: Federation, silo: Silo, documents: Mapping[str, str], memory_gib: float | None) -> Service:
    """A site.

    Args:
        federation: the roster.
        silo: what the site brings; its `capacity` is what one job may use, and one job runs at a time.
        documents: what its processes read.
        memory_gib: the most it may use; `capacity.memory_gib` and `SITE_OVERHEAD_GIB` where None.

    Raises:
        UsageError: where the roster has no such site.
        ProvisioningError: where the server's port is not fixed, or a password is looked for in an environment that a
            service's jobs do not have.
    """
    entry = federation.site(silo.site)
    if entry is None:
        raise UsageError(f"`{silo.site}` is not a site of the roster", hint=f"see sites in {ROSTER}")
    capacity: Capacity = silo.capacity
    connectors = [dataset.connector for dataset in silo.datasets.values()]
    databases = [database for each in connectors if (database := _database(each)) is not None]
    return Service(
        kind="site",
        name=silo.site,
        organisation=entry.organisation,
        federation=federation.federation,
        host=federation.server.host,
        port=_port(federation),
        memory_gib=memory_gib or capacity.memory_gib + SITE_OVERHEAD_GIB,
        tasks=_TASKS + 2 * capacity.processes,  # between two looks of its watchdog a trainer may have twice as many
        documents=documents,
        reads=_unique([path for each in connectors for path in _paths(each)] + _base_models(silo)),
        passwords=_unique([path for each in databases for path in _password(each)]),
        databases=tuple(dict.fromkeys(Database(each.host, each.port) for each in databases)),
    )


def is_this_machine(host: str) -> bool:
    """Whether ``host`` means whatever machine asks."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _port(federation: Federation) -> int:
    port = federation.server.port
    if not isinstance(port, int):
        hint = f"write a number as `server.port` in {ROSTER}, such as 8002"
        raise ProvisioningError("the server's port is `auto`, and a service needs one that stays", hint=hint)
    return port


def _paths(connector: Connector) -> list[str]:
    if isinstance(connector, OmopConnector):
        source = connector.source
        return _of_database(source) if isinstance(source, PostgresqlDatabase) else [source.path]
    if isinstance(connector, PostgresqlDatabase):
        return _of_database(connector)
    table = connector.table if isinstance(connector, DicomConnector | NiftiConnector) else None
    return [connector.path, *([table] if table else [])]


def _database(connector: Connector) -> PostgresqlDatabase | None:
    found = connector.source if isinstance(connector, OmopConnector) else connector
    return found if isinstance(found, PostgresqlDatabase) else None


def _of_database(database: PostgresqlDatabase) -> list[str]:
    return [path for path in (database.tls_authority, database.host if database.is_socket else None) if path]


def _password(database: PostgresqlDatabase) -> list[str]:
    place = database.password
    if place is None:
        return []
    if place.file is None:
        # The processes of a site get a handful of variables, so that none of a shell's reaches a job.
        raise ProvisioningError(
            f"the password for `{database.shown}` is looked for in the environment, and a site's jobs do not get it",
            hint="name a file instead, as `password.file`",
        )
    return [place.file]


def _base_models(silo: Silo) -> list[str]:
    return [place.path for place in silo.base_models.values()]


def _unique(paths: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(paths)))
