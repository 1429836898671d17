# SPDX-License-Identifier: Apache-2.0
"""Which submissions were used: a site, or the server, takes each one once, however often and however late it comes.

A signed manifest is as good the second time as it was the first, so whoever has one could send it again. Its nonce is
therefore remembered, for ever, in a file beside the participant's other state. A job's identifier is remembered with
it: under one identifier a site serves one job.

SQLite (https://www.sqlite.org/transactional.html) makes a claim atomic across processes, and durable before it is
answered: `synchronous=EXTRA` is FULL and also syncs the folder, so that no rollback journal comes back after a power
cut. A file that is there and is not what was written (emptied, damaged, of something else) denies; it is never begun
anew. Only where there is no file at all is one made.

A claim reads a few pages, however many submissions there were. The whole file is looked through once, as the
participant's process starts: damage that comes later to pages that no claim reads is found at the next start.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from cloister.errors import DeniedError
from cloister.files import PRIVATE_FILE, private_folder, sync_folder

FILE = "replay.sqlite"

_WAIT_SECONDS = 10.0
_MARK = 0x436C_6F31  # SQLite's application_id: "Clo1"; an emptied file, or one of something else, does not bear it
_TABLE = "CREATE TABLE used (nonce TEXT PRIMARY KEY NOT NULL, job_id TEXT UNIQUE, at TEXT NOT NULL) STRICT"
_HINT = "nothing can be said of jobs that were used before; docs/threat-model.md says what the file is for"


class ReplayCache:
    """The submissions that were used.

    Args:
        folder: the participant's workspace; the file lies in it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def check(self) -> None:
        """Look through the whole file, in time proportional to its size; a file that is not there has nothing wrong.

        Raises:
            DeniedError: where it is not what was written.
        """
        try:
            if not self._path.exists():
                return
            with contextlib.closing(self._opened()) as database:
                self._check_mark(database)
                # Not `quick_check`, which does not compare the indexes, by which a claim looks, with the table.
                if database.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
                    raise sqlite3.DatabaseError("damaged")
        except (sqlite3.Error, OSError) as error:
            raise self._unusable() from error

    def claim(self, nonce: str, job_id: str | None, now: datetime) -> None:
        """Use a submission up.

        Args:
            nonce: the manifest's.
            job_id: NVFlare's identifier; None where the job has none yet.
            now: aware time, written beside it for whoever looks into the file.

        Raises:
            DeniedError: where it, or the identifier, was used before, or the cache cannot tell.
        """
        try:
            if not self._path.exists():
                self._begin()
            with contextlib.closing(self._opened()) as database, database:
                database.execute("BEGIN IMMEDIATE")
                self._check_mark(database)
                used = database.execute(
                    "SELECT nonce = ? FROM used WHERE nonce = ? OR job_id = ?", (nonce, nonce, job_id)
                ).fetchall()
                if used:
                    what = "this submission" if any(same for (same,) in used) else "the job's identifier"
                    hint = "submit the job again: each submission counts once"
                    raise DeniedError(f"{what} was used before", hint=hint)
                database.execute("INSERT INTO used VALUES (?, ?, ?)", (nonce, job_id, now.astimezone(UTC).isoformat()))
        except (sqlite3.Error, OSError) as error:
            raise self._unusable() from error

    def _unusable(self) -> DeniedError:
        return DeniedError(f"the replay cache `{self._path}` cannot be read or written", hint=_HINT)

    def _opened(self) -> sqlite3.Connection:
        """A connection to the file, which is never made by opening it; the caller writes transactions itself."""
        where = f"{self._path.absolute().as_uri()}?mode=rw"
        database = sqlite3.connect(where, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)
        database.execute("PRAGMA synchronous=EXTRA")
        return database

    def _check_mark(self, database: sqlite3.Connection) -> None:
        (mark,) = database.execute("PRAGMA application_id").fetchone()
        if mark != _MARK:
            raise sqlite3.DatabaseError("of something else")

    def _begin(self) -> None:
        """Put an empty cache in place, whole or not at all; where another process was first, its file stays."""
        folder = private_folder(self._path.parent)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE}.")
        os.close(handle)
        try:
            with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as database:
                database.execute("PRAGMA synchronous=EXTRA")
                database.execute(f"PRAGMA application_id={_MARK}")
                database.execute(_TABLE)
            Path(name).chmod(PRIVATE_FILE)
            with contextlib.suppress(FileExistsError):
                self._path.hardlink_to(name)
        finally:
            Path(name).unlink(missing_ok=True)
        sync_folder(folder)
