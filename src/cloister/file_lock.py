# SPDX-License-Identifier: Apache-2.0
"""One process at a time: a lock (flock(2)) that dies with its holder, and is never waited for without end."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloister.files import PRIVATE_FILE

WAIT_SECONDS = 10.0
"""How long a lock is waited for where the caller says nothing else."""

_POLL_SECONDS = 0.02


@contextmanager
def locked(path: Path, seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock file ``path``, made if it is missing; its folder must be there. The file stays, and holds nothing.

    A thread of the same process waits as another process does.

    Args:
        path: the lock file. A symbolic link is refused.
        seconds: how long another holder is waited for.

    Raises:
        OSError: where the file cannot be opened.
        TimeoutError: where another held the lock for all that time; an `OSError` too.
    """
    # It is opened for writing, since a lock over NFS needs a descriptor that may write.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)  # whatever the umask left of it when it was made
        lock(descriptor, seconds)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def lock(descriptor: int, seconds: float = WAIT_SECONDS, *, shared: bool = False) -> None:
    """Lock an open file until ``descriptor`` is closed.

    Args:
        descriptor: of the file.
        seconds: how long another holder is waited for.
        shared: whether others may hold it as well, as long as none holds it alone.

    Raises:
        TimeoutError: where another held the lock for all that time.
    """
    deadline = time.monotonic() + seconds
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    while True:
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds it") from error
            time.sleep(_POLL_SECONDS)
        else:
            return
