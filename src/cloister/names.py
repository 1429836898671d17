# SPDX-License-Identifier: Apache-2.0
"""The kinds of name that documents give things, each a pattern that is safe in a path, a certificate and a log."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

# NVFlare addresses its own processes by these words, so no site or server may bear one.
_RESERVED = frozenset({"server", "client", "admin", "simulator", "all", "baseline"})


def _not_reserved(value: str) -> str:
    if value in _RESERVED:
        raise ValueError(f"may not be the reserved word `{value}`")
    return value


Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""Lower-case letters, digits and inner hyphens, at most 63 characters (RFC 1123 label)."""

SiteName = Annotated[Word, AfterValidator(_not_reserved)]
"""A site or server; also the common name in its certificate."""

PersonName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?@[a-z0-9][a-z0-9.-]{0,30}$", max_length=63)
]
"""A person, written like a mail address; also the common name in the certificate (at most 64 characters, RFC 5280)."""

ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
"""A column of a dataset."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""Lower-case hexadecimal SHA-256."""

ModulePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+){0,5}$", max_length=80)]
"""The last parts of a layer's name inside the base model, such as `query` or `attention.self.query`."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""One line of text for people."""
