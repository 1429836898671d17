# SPDX-License-Identifier: Apache-2.0
"""What becomes of NVFlare's names, which may hold more kinds of letters than a name here.

Letters become lower case; underscores, and the dots of a server's name, become hyphens. Nothing is shortened and no
two names become one: what cannot be kept so is refused, because a name is an identity.
`nvflare/apis/utils/format_check.py` has NVFlare's patterns.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from cloister.documents.patterns import words_of
from cloister.names import PersonName, SiteName, Word

_WORD: TypeAdapter[str] = TypeAdapter(Word)
_SITE: TypeAdapter[str] = TypeAdapter(SiteName)
_PERSON: TypeAdapter[str] = TypeAdapter(PersonName)
SERVER_NAME = "coordinator"
"""What a server is called whose name is the word `server`, by which NVFlare addresses its processes."""


class UnfitNameError(ValueError):
    """A name that cannot be kept; the message is the end of a sentence that begins with the name."""


def word(name: str) -> str:
    """An organisation or a project as it is called here.

    Raises:
        UnfitNameError: where it cannot be.
    """
    return _fitting(_WORD, name.lower().replace("_", "-").strip("-"))


def site(name: str) -> str:
    """A client as it is called here; see `word`."""
    return _fitting(_SITE, name.lower().replace("_", "-").strip("-"))


def server(name: str) -> str:
    """A server, which NVFlare calls by its host name, as it is called here; see `word`."""
    if name.lower() == "server":
        return SERVER_NAME
    return _fitting(_SITE, name.lower().replace("_", "-").replace(".", "-").strip("-"))


def person(name: str) -> str:
    """An admin as they are called here; see `word`."""
    return _fitting(_PERSON, name.lower())


def _fitting(kind: TypeAdapter[str], name: str) -> str:
    try:
        return kind.validate_python(name)
    except ValidationError as error:
        item: Any = error.errors(include_url=False)[0]
        if item["type"] == "string_pattern_mismatch":
            raise UnfitNameError(f"a name here is {words_of(item['ctx']['pattern'])}") from error
        if item["type"] == "string_too_long":
            raise UnfitNameError(f"a name here has at most {item['ctx']['max_length']} characters") from error
        raise UnfitNameError("that is a word by which NVFlare addresses its own processes, and no name here") from error
