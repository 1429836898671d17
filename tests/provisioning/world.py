# SPDX-License-Identifier: Apache-2.0
"""The small federation of these tests, and the questions they ask of its files."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from cloister.certificates import Identity, identities
from cloister.roster import Federation

SERVER, SITE, PERSON = "coordinator", "hospital-north", "ada@research.example"


def federation(**changes: Any) -> Federation:
    """Server, one site and one person; ``changes`` replace whole keys of the document."""
    document: dict[str, Any] = {
        "federation": "trial",
        "server": {
            "name": SERVER,
            "organisation": "institute",
            "host": "localhost",
            "other_hosts": ("127.0.0.1", "fl.research.example", "localhost"),
        },
        "sites": ({"name": SITE, "organisation": "northfield"},),
        "people": ({"name": PERSON, "organisation": "institute", "role": "data-scientist"},),
    }
    return Federation.model_validate_json(json.dumps(document | changes))


def identity(roster: Federation, name: str) -> Identity:
    return next(each for each in identities(roster) if each.name == name)


def modes(folder: Path) -> dict[str, int]:
    """Permission bits of everything in ``folder``, itself included, by relative path."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in (folder, *folder.rglob("*"))}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def drafts(folder: Path) -> list[str]:
    """What half-finished writes left: every hidden thing but the locks."""
    return [str(path) for path in folder.rglob(".*") if path.name != ".lock"]


def private_keys(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if name.endswith(".key") and "/." not in name}


def issued_count(state: Path) -> int:
    return len(list((state / "authority" / "issued").iterdir()))
