# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures: which files are in it, and a file that a cell names, without ever leaving the folder.

Links are not followed when the folder is walked. A name that a table gives may go over a link, as long as what it
leads to lies in the folder too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cloister.errors import RecordsError

_MAXIMUM_DEPTH = 32  # folders in folders; more is no export of anything


class ImageFolder:
    """The folder at ``path``.

    Attributes:
        path: where it lies.
        shown: how the silo document names it, for messages.
    """

    def __init__(self, path: Path, shown: str) -> None:
        self.path = path
        self.shown = shown

    def require(self) -> None:
        """Check that there is such a folder and that it can be read.

        Raises:
            RecordsError: naming the folder and what is wrong.
        """
        try:
            with os.scandir(self.path):
                return
        except FileNotFoundError as error:
            hint = "paths in a silo document start at the federation's folder"
            raise RecordsError(f"`{self.shown}` does not exist", hint=hint) from error
        except NotADirectoryError as error:
            hint = "name the folder in the silo document"
            raise RecordsError(f"`{self.shown}` is a file, not a folder", hint=hint) from error
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise RecordsError(f"`{self.shown}` cannot be opened: {reason}") from error

    def names(self) -> Iterator[str]:
        """Names of all regular files, relative to the folder with `/` between; each folder's own in order, then deeper.

        Raises:
            RecordsError: where a folder cannot be read, or lies too deep.
        """
        yield from self._names("", 0)

    def _names(self, inside: str, depth: int) -> Iterator[str]:
        if depth > _MAXIMUM_DEPTH:
            raise RecordsError(f"`{self.shown}` has more than {_MAXIMUM_DEPTH} folders inside each other")
        try:
            with os.scandir(self.path / inside) as entries:
                found = sorted(
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
                )
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise RecordsError(f"`{self.shown_file(inside)}` cannot be opened: {reason}") from error
        if not all(name.isprintable() for name, _ in found):
            hint = "rename it; a name is UTF-8"
            raise RecordsError(f"`{self.shown_file(inside)}` holds a file whose name cannot be printed", hint=hint)
        for name, is_folder in found:
            if not is_folder:
                yield inside + name
        for name, is_folder in found:
            if is_folder:
                yield from self._names(f"{inside}{name}/", depth + 1)

    def file(self, name: str) -> Path:
        """Where the file called ``name`` lies.

        Raises:
            RecordsError: where the name leads out of the folder, or to nothing that is a file.
        """
        shown = self.shown_file(name)
        parts = PurePosixPath(name)
        if not name.isprintable() or parts.is_absolute() or ".." in parts.parts:
            hint = "a name is relative to the folder, with `/` between folders, and without `..`"
            raise RecordsError(f"`{shown}` is no name of a file in `{self.shown}`", hint=hint)
        try:
            real = (self.path / parts).resolve(strict=True)
            inside = real.is_relative_to(self.path.resolve(strict=True))
            regular = stat.S_ISREG(real.stat().st_mode)
        except FileNotFoundError:
            raise RecordsError(f"`{shown}` does not exist", hint="the table and the folder must agree") from None
        except (OSError, RuntimeError, ValueError):  # a link that leads to itself; a name that is too long
            raise RecordsError(f"`{shown}` cannot be opened") from None
        if not inside:
            raise RecordsError(f"`{shown}` leads out of its folder", hint="copy the file there instead of linking it")
        if not regular:
            raise RecordsError(f"`{shown}` is not a file")
        return real

    def shown_file(self, name: str) -> str:
        """How messages call a file; what cannot be printed is replaced, and what is long is cut."""
        clean = "".join(letter if letter.isprintable() and letter != "`" else "?" for letter in name)
        return f"{self.shown.rstrip('/')}/{clean[:200]}"
