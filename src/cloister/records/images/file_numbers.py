# SPDX-License-Identifier: Apache-2.0
"""Refusals of pictures without the names of their files.

Folders and files of pictures are often named after patients, and a refusal is told to the server. So its message has a
number where the name was, and the name is a note of the exception (PEP 678): what is shown at the site alone, such as
`data check`, may show `__notes__` as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cloister.errors import RecordsError
from cloister.records.images.image_folder import ImageFolder


class FileNumbers:
    """The numbers of the files in ``folder``: from 1, in the order of `ImageFolder.names`.

    The folder is walked when the first number is asked for, which is when something is refused.
    """

    def __init__(self, folder: ImageFolder) -> None:
        self._folder = folder
        self._numbers: dict[str, int] | None = None

    def label(self, shown: str) -> str:
        """What messages call a file instead of `ImageFolder.shown_file`'s words."""
        if self._numbers is None:
            names = map(self._folder.shown_file, self._folder.names())
            self._numbers = {name: number for number, name in enumerate(names, start=1)}
        number = self._numbers.get(shown)
        return f"a file of `{self._folder.shown}`" if number is None else f"file {number} of `{self._folder.shown}`"


def without_names(
    error: RecordsError, folder: ImageFolder, label: Callable[[str], str], keep: str | None = None
) -> RecordsError:
    """``error``, to be raised in its place, with labels where its message names files of ``folder``.

    Args:
        error: a refusal.
        folder: whose files' names are taken out.
        label: what stands for a file, by what messages called it.
        keep: a path that the silo document itself names, and that is no secret therefore.
    """
    named = re.compile(rf"`({re.escape(folder.shown_file(''))}[^`]*)`")
    notes: list[str] = []

    def put(found: re.Match[str]) -> str:
        if found[1] == keep:
            return found[0]
        notes.append(f"{label(found[1])} is `{found[1]}`")
        return label(found[1])

    told = RecordsError(named.sub(put, error.message), hint=error.hint)
    for note in dict.fromkeys(notes):
        told.add_note(note)
    return told
