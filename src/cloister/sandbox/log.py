# SPDX-License-Identifier: Apache-2.0
"""The site's own file for what a trainer says on its standard error.

It may quote records, so only its owner reads it. It cannot grow without end, and it cannot carry control characters
to the terminal of the person who reads it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import IO

from cloister.errors import SandboxError
from cloister.files import PRIVATE_FILE

MAXIMUM_BYTES = 10 * 10**6
NOTES_BYTES = 10**5
"""Of them; what a trainer prints does not crowd out why it was ended."""

_NOTE_CHARACTERS = 4000  # some of a note may be the trainer's own
_READ_BYTES = 1 << 16
_CONTROL = bytes(code for code in (*range(32), 127) if code not in b"\n\t")
_PRINTABLE = bytes.maketrans(_CONTROL, b"?" * len(_CONTROL))


class Log:
    """A file of at most 10 MB, appended to.

    Args:
        path: the file; made with mode 0600 where it is missing.

    Raises:
        SandboxError: where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE)
            self._file = os.fdopen(descriptor, "ab", buffering=0)
            os.fchmod(descriptor, PRIVATE_FILE)
            self._left = MAXIMUM_BYTES - os.fstat(descriptor).st_size
        except OSError as error:
            raise SandboxError(f"the trainer's log `{path}` cannot be written") from error
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Add one line of the site's own, cut where it is long."""
        self._append(f"[sandbox] {text[:_NOTE_CHARACTERS]}\n".encode().translate(_PRINTABLE))

    def pump(self, stream: IO[bytes] | None) -> None:
        """Copy ``stream`` in a thread of its own until it ends; what is beyond the limit is read and dropped."""
        if stream is not None:
            threading.Thread(target=self._pump, args=(stream,), name="sandbox-log", daemon=True).start()

    def _pump(self, stream: IO[bytes]) -> None:
        with stream:
            while piece := stream.read(_READ_BYTES):
                self._append(piece.translate(_PRINTABLE), spared=NOTES_BYTES)

    def _append(self, piece: bytes, *, spared: int = 0) -> None:
        with self._lock:
            kept = piece[: max(0, self._left - spared)]
            self._left -= len(kept)
            # A full disk must not stop the pump: the trainer would block on its standard error.
            with contextlib.suppress(OSError):
                self._file.write(kept)
