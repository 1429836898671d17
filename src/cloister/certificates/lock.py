# SPDX-License-Identifier: Apache-2.0
"""One writer at a time: two provisionings of one folder must not make two keys for one name."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloister.certificates.pem import reason
from cloister.errors import ProvisioningError
from cloister.files import PRIVATE_FILE, private_folder

_LOCK_FILE = ".lock"


@contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Make ``folder`` private and hold its lock (flock(2)), waiting for another holder; the lock dies with its process.

    Raises:
        ProvisioningError: if the file system refuses something, here or in the body.
    """
    try:
        private_folder(folder)
        # A file and not the folder itself: NFS locks need a descriptor that may write.
        descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        with os.fdopen(descriptor, "r+b"):
            os.fchmod(descriptor, PRIVATE_FILE)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
    except OSError as error:
        place = f" `{error.filename}`" if error.filename else ""
        hint = f"nothing is half-made; mend the cause and provision `{folder}` again"
        raise ProvisioningError(f"cannot write{place}: {reason(error)}", hint=hint) from error
