# SPDX-License-Identifier: Apache-2.0
"""Is the state folder closed to others, and does it belong to whoever runs Cloister?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order

_OTHERS = 0o077
_SECRET_ENDINGS = (".key",)
_MOST = 10


@dataclass(frozen=True)
class Entry:
    """A file or folder.

    Attributes:
        path: where.
        mode: its type and permission bits.
        owner: number of the user whose it is.
    """

    path: Path
    mode: int
    owner: int


def walk(state: Path, workspaces: Iterable[Path]) -> Iterator[Entry]:
    """The folders that must be closed, and every key in them; what NVFlare made below is closed by its parents.

    Raises:
        OSError: where one cannot be looked at.
    """
    folders = [state, state / "authority", *workspaces]
    folders += [folder / name for folder in folders[2:] for name in ("startup", "trust", "local")]
    for folder in folders:
        if not folder.exists():
            continue
        yield _entry(folder)
        yield from (_entry(path) for path in sorted(folder.iterdir()) if path.suffix in _SECRET_ENDINGS)


def _entry(path: Path) -> Entry:
    found = path.lstat()
    return Entry(path, found.st_mode, found.st_uid)


def judge_rights(entries: Iterable[Entry], user: int | None = None) -> Iterator[Finding]:
    """What is wrong with the rights of ``entries`` (pure).

    Args:
        entries: what was found.
        user: number of the user who runs Cloister; of this process where not given.
    """
    mine = os.geteuid() if user is None else user
    seen = tuple(entries)
    found = tuple(_wrong(seen, mine))
    yield from found[:_MOST]
    if not found:
        yield in_order(Topic.RIGHTS, f"{len(seen)} folders and keys of the state folder are closed to others")


def _wrong(entries: tuple[Entry, ...], user: int) -> Iterator[Finding]:
    for entry in entries:
        bits = stat.S_IMODE(entry.mode)
        if bits & _OTHERS and stat.S_ISDIR(entry.mode):
            message = f"the folder `{entry.path}` is open to others (mode {bits:04o})"
            yield Finding(
                "D1401", message, f"chmod 700 {entry.path}; if somebody may have read a key in it, renew that"
            )
        elif bits & _OTHERS and not stat.S_ISLNK(entry.mode):
            message = f"`{entry.path}` can be read by others (mode {bits:04o})"
            yield Finding("D1402", message, f"chmod 600 {entry.path}, and make a new key if somebody may have read it")
        if entry.owner != user:
            message = f"`{entry.path}` belongs to user {entry.owner}, and this is user {user}"
            hint = "run Cloister as the user whose the files are, such as the service's own, or `chown -R` the folder"
            yield Finding("D1403", message, hint)
