# SPDX-License-Identifier: Apache-2.0
"""The kinds of name that documents give things, each a pattern that is safe in a path, a certificate and a log."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from cloister.documents.patterns import in_words

# NVFlare addresses its own processes by these words, so no site or server may bear one.
_RESERVED = frozenset({"server", "client", "admin", "simulator", "all", "baseline"})


def _not_reserved(value: str) -> str:
    if value in _RESERVED:
        raise ValueError(f"may not be the reserved word `{value}`")
    return value


_WORD = in_words(
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    "1 to 63 lower-case letters, digits and inner hyphens, such as `care-improvement`",
)
_PERSON = in_words(
    r"^[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?@[a-z0-9][a-z0-9.-]{0,30}$",
    "written like a mail address in lower case, such as `ada@research.example`, at most 32 characters on each side",
)
_COLUMN = in_words(r"^[A-Za-z][A-Za-z0-9_]{0,62}$", "1 to 63 letters, digits and underscores that begin with a letter")
_SHA256 = in_words(r"^[0-9a-f]{64}$", "a SHA-256: 64 digits and lower-case letters from a to f")
_MODULE = in_words(
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+){0,5}$",
    "the last parts of a layer's name, such as `query` or `attention.self.query`",
)
ONE_LINE = in_words(r"^[^\x00-\x1f\x7f]+$", "one line of text")

Word = Annotated[str, StringConstraints(pattern=_WORD)]
"""Lower-case letters, digits and inner hyphens, at most 63 characters (RFC 1123 label)."""

SiteName = Annotated[Word, AfterValidator(_not_reserved)]
"""A site or server; also the common name in its certificate."""

PersonName = Annotated[str, StringConstraints(pattern=_PERSON, max_length=63)]
"""A person, written like a mail address; also the common name in the certificate (at most 64 characters, RFC 5280)."""

ColumnName = Annotated[str, StringConstraints(pattern=_COLUMN)]
"""A column of a dataset."""

Sha256 = Annotated[str, StringConstraints(pattern=_SHA256)]
"""Lower-case hexadecimal SHA-256."""

ModulePath = Annotated[str, StringConstraints(pattern=_MODULE, max_length=80)]
"""The last parts of a layer's name inside the base model, such as `query` or `attention.self.query`."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=ONE_LINE)]
"""One line of text for people."""
