# SPDX-License-Identifier: Apache-2.0
"""The mailbox: one folder in which participants and the authority leave things for each other.

It lies at the server, as `mailbox/` in the server's workspace, because everybody can reach that one; the authority,
whose key is kept offline, comes by when it likes. Nothing in it is secret and nothing in it is believed: requests,
grants and rosters are signed, and whoever takes one up verifies it. So it may as well be a folder in git, or be copied.

    requests/NAME.json    the latest request for another certificate of a participant
    grants/NAME.pem       the latest certificate for a participant
    rosters/VERSION.json  signed rosters: the newest, and each with which the trusted authorities changed, so that
                          somebody who slept through a change of authority can follow it one by one
"""

from __future__ import annotations

import re
from pathlib import Path

from cloister.certificates import pem
from cloister.envelope import MAXIMUM_BYTES as MAXIMUM_ROSTER_BYTES
from cloister.envelope import unseal
from cloister.errors import ProvisioningError
from cloister.files import private_folder, read_regular, write_atomically
from cloister.trust.signed_roster import KIND

FOLDER = "mailbox"
MAXIMUM_LETTER_BYTES = 64 * 1024
"""The largest request or grant."""

_REQUESTS, _GRANTS, _ROSTERS = "requests", "grants", "rosters"
_MOST_ROSTERS = 64
# Those of the roster: words, and names like mail addresses; never a path.
_NAME = re.compile(r"[a-z0-9][a-z0-9@._-]{0,98}")
_ROSTER_FILE = re.compile(r"([0-9]{10})\.json")


def _place(folder: Path, kind: str, name: str, ending: str) -> Path:
    """Where something of a participant lies; the folders are made, for the owner alone.

    Raises:
        ProvisioningError: where ``name`` is nobody's.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise ProvisioningError("the mailbox takes letters of participants only")
    private_folder(folder)
    return private_folder(folder / kind) / f"{name}{ending}"


def _put(path: Path, content: bytes) -> None:
    if not 0 < len(content) <= MAXIMUM_LETTER_BYTES:
        raise ProvisioningError(f"a letter in the mailbox has at most {MAXIMUM_LETTER_BYTES // 1024} KiB")
    if _read(path, MAXIMUM_LETTER_BYTES) != content:
        pem.remove_drafts(path)
        write_atomically(path, content)


def _read(path: Path, maximum: int) -> bytes | None:
    """What lies at ``path``; None where nothing does, or something that is too large to count."""
    try:
        content = read_regular(path, maximum)
    except OSError:
        return None
    return content if len(content) <= maximum else None


def put_request(folder: Path, name: str, content: bytes) -> None:
    """Leave the request of ``name``; an earlier one is replaced.

    Raises:
        ProvisioningError: where it is too large, or ``name`` no participant's.
    """
    _put(_place(folder, _REQUESTS, name, ".json"), content)


def requests_in(folder: Path) -> dict[str, bytes]:
    """The requests that wait, by the name of whom the file says that they are; sorted."""
    found = {path.stem: _read(path, MAXIMUM_LETTER_BYTES) for path in sorted((folder / _REQUESTS).glob("*.json"))}
    return {name: content for name, content in found.items() if content and _NAME.fullmatch(name)}


def drop_request(folder: Path, name: str) -> None:
    """Take away the request of ``name``, if there is one."""
    _place(folder, _REQUESTS, name, ".json").unlink(missing_ok=True)


def put_grant(folder: Path, name: str, content: bytes) -> None:
    """Leave a certificate for ``name``, in PEM form, and take away the request that it answers.

    Raises:
        ProvisioningError: where it is too large, or ``name`` no participant's.
    """
    _put(_place(folder, _GRANTS, name, ".pem"), content)
    drop_request(folder, name)


def drop_grant(folder: Path, name: str) -> None:
    """Take away the certificate for ``name``, if there is one: it is where its holder gets it, or has it."""
    _place(folder, _GRANTS, name, ".pem").unlink(missing_ok=True)


def grant_for(folder: Path, name: str) -> bytes | None:
    """The latest certificate that was left for ``name``; None where none was."""
    return _read(_place(folder, _GRANTS, name, ".pem"), MAXIMUM_LETTER_BYTES)


def grants_in(folder: Path) -> dict[str, bytes]:
    """The latest certificate of each participant for whom one was left, by name; sorted."""
    found = {path.stem: _read(path, MAXIMUM_LETTER_BYTES) for path in sorted((folder / _GRANTS).glob("*.pem"))}
    return {name: content for name, content in found.items() if content and _NAME.fullmatch(name)}


def put_roster(folder: Path, content: bytes, version: int) -> None:
    """Keep a roster for others, and of those before it each that changed the authorities.

    Args:
        folder: the mailbox.
        content: the signed roster, whose signature counts.
        version: the roster's.
    """
    place = private_folder(private_folder(folder) / _ROSTERS)
    pem.remove_drafts(_roster_file(place, version))
    write_atomically(_roster_file(place, version), content)
    versions, kept = _versions(place), frozenset[str]()
    for each in versions[:-1]:
        roots = _roots_in(_read(_roster_file(place, each), MAXIMUM_ROSTER_BYTES))
        if roots == kept:
            _roster_file(place, each).unlink(missing_ok=True)
        kept = roots
    for each in _versions(place)[:-_MOST_ROSTERS]:
        _roster_file(place, each).unlink(missing_ok=True)


def _roots_in(content: bytes | None) -> frozenset[str]:
    """The authorities that a roster names; none where it cannot be read, and then it is of no use to anybody."""
    try:
        return frozenset(map(str, unseal(KIND, content or b"").value()["roots"]))
    except Exception:  # noqa: BLE001 - whatever it is, it is no roster, and only kept or not
        return frozenset()


def rosters_after(folder: Path, version: int) -> list[bytes]:
    """What somebody whose roster has ``version`` must take up, in this order; empty where there is nothing newer."""
    place = folder / _ROSTERS
    found = [_read(_roster_file(place, each), MAXIMUM_ROSTER_BYTES) for each in _versions(place) if each > version]
    return [content for content in found if content]


def newest_version(folder: Path) -> int:
    """The highest version of a roster in the mailbox; 0 where there is none."""
    return max(_versions(folder / _ROSTERS), default=0)


def _roster_file(place: Path, version: int) -> Path:
    return place / f"{version:010}.json"


def _versions(place: Path) -> list[int]:
    found = [_ROSTER_FILE.fullmatch(path.name) for path in place.glob("*.json")]
    return sorted(int(match[1]) for match in found if match)
