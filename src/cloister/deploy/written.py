# SPDX-License-Identifier: Apache-2.0
"""Writes what was made, and nothing over what somebody has changed since.

`SHA256SUMS` lists what was written last, as sha256sum(1) reads it. A file that is another than listed there was edited
by hand; so was one that is not listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import UsageError
from cloister.files import private_folder, sha256_of, write_atomically

SUMS = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


@dataclass(frozen=True)
class Written:
    """What became of each file; names are relative to the folder.

    Attributes:
        made: new, or made anew.
        kept: already as they should be.
    """

    made: tuple[str, ...]
    kept: tuple[str, ...]


def write_files(folder: Path, files: Mapping[str, str], *, force: bool = False) -> Written:
    """Write ``files`` into ``folder``: all of them, or none where one was edited by hand.

    Args:
        folder: made where it is missing; only the owner may read the files.
        files: content by path inside the folder.
        force: whether to replace files that were edited by hand.

    Raises:
        UsageError: where a file was edited by hand; nothing is written then.
    """
    listed = _listed(folder)
    contents = {name: text.encode() for name, text in files.items()}
    there = {name: content for name in contents if (content := _content(folder / name)) is not None}
    kept = [name for name, content in there.items() if content == contents[name]]
    edited = [name for name in there if name not in kept and listed.get(name) != sha256_of(there[name])]
    if edited and not force:
        hint = "move it elsewhere, or have it replaced with --force"
        also = f", and {len(edited) - 1} more" if len(edited) > 1 else ""
        raise UsageError(f"`{folder / edited[0]}` was written or changed by somebody else{also}", hint=hint)
    for name, content in contents.items():
        path = folder / name
        if not path.parent.is_dir():  # one that is there keeps the mode that somebody gave it
            private_folder(path.parent)
        if name not in kept:
            write_atomically(path, content)
    others = {name: digest for name, digest in listed.items() if (folder / name).is_file()}
    sums = others | {name: sha256_of(content) for name, content in contents.items()}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items(), key=lambda each: each[0]))
    write_atomically(folder / SUMS, lines.encode())
    return Written(tuple(name for name in contents if name not in kept), tuple(kept))


def _listed(folder: Path) -> dict[str, str]:
    text = (_content(folder / SUMS) or b"").decode(errors="replace")
    return {match[2]: match[1] for line in text.splitlines() if (match := _LINE.fullmatch(line))}


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
