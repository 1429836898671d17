# SPDX-License-Identifier: Apache-2.0
"""Tables of databases that run as servers, and where the passwords for them are found.

A document never holds a password: it names an environment variable of the site's processes, or a file at the site.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from cloister.documents import Model
from cloister.documents.patterns import in_words
from cloister.names import ColumnName, Line
from cloister.silos.paths import PathText

_VARIABLE = in_words(
    r"^[A-Za-z_][A-Za-z0-9_]{0,126}$", "the name of an environment variable, such as `WARD_DATABASE_PASSWORD`"
)
_HOST = in_words(
    r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}|/[^\x00-\x1f\x7f,]{0,100})$",
    "a host's name or address, or the folder of the server's socket, which begins with `/`",
)

Tls = Literal["verify-full", "require", "unsafe-none"]
"""How the way to a server is protected.

`verify-full`: encrypted, and the server's certificate is for its host and signed by the authority. `require`:
encrypted, to whoever answers. `unsafe-none`: readable to whoever sits between.
"""


class PasswordPlace(Model):
    """Where a password is found, at the site.

    Attributes:
        environment: an environment variable of the site's processes.
        file: a file that nobody but its owner may read.
    """

    environment: Annotated[str, StringConstraints(pattern=_VARIABLE)] | None = None
    file: PathText | None = None

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.environment is None) == (self.file is None):
            raise ValueError("needs either `environment` or `file`, which say where the password is found")
        return self


class PostgresqlDatabase(Model):
    """A database of a PostgreSQL server, and how it is reached.

    Attributes:
        host: name or address, or the folder of the server's socket.
        port: TCP port; also the end of the socket's name.
        database: its name.
        schema_: where in it the tables lie.
        user: who reads.
        password: where that user's password is found; None where the server asks for none.
        tls: how the way there is protected; a socket of this machine needs none.
        tls_authority: file with the certificates of the authorities that may have signed the server's, PEM; this
            machine's own where not given.
        connect_seconds: how long is waited for the server to answer a call, and for a table that others hold locked.
        statement_seconds: how long a server may say nothing before reading is given up.
    """

    host: Annotated[str, StringConstraints(pattern=_HOST)]
    port: int = Field(default=5432, ge=1, le=65_535)
    database: Line
    schema_: ColumnName = Field(default="public", alias="schema")
    user: Line
    password: PasswordPlace | None = None
    tls: Tls = "verify-full"
    tls_authority: PathText | None = None
    connect_seconds: int = Field(default=10, ge=1, le=600)
    statement_seconds: int = Field(default=600, ge=1, le=86_400)

    @property
    def is_socket(self) -> bool:
        """Whether the server is reached through a socket of this machine."""
        return self.host.startswith("/")

    @property
    def shown(self) -> str:
        """Where the server is, for messages."""
        if self.is_socket:
            return f"{self.host}/.s.PGSQL.{self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @model_validator(mode="after")
    def _authority_has_something_to_verify(self) -> Self:
        if self.tls_authority is not None and (self.is_socket or self.tls != "verify-full"):
            raise ValueError("may state `tls_authority` only with `tls: verify-full` and a host that is no socket")
        return self


class PostgresqlConnector(PostgresqlDatabase):
    """A table, or a view, of a PostgreSQL database."""

    kind: Literal["postgresql"]
    table: ColumnName
