# SPDX-License-Identifier: Apache-2.0
"""Replacing a participant's key and certificate together, so that a crash leaves the old pair or the new one.

NVFlare reads the two from two files, and no file system replaces two at once. So the new ones are first laid down
whole, in `renewal/ready/`, which appears by one rename; then they are copied into `startup/`. Whoever starts a process
or looks at the kit calls `settle` before, which finishes what was begun.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cloister.certificates import pem
from cloister.certificates.lock import exclusively
from cloister.errors import ProvisioningError
from cloister.files import private_folder, sync_folder, write_atomically

FOLDER = "renewal"
_READY = "ready"


def replace_files(workspace: Path, files: Mapping[str, bytes]) -> None:
    """Replace files in the `startup/` of ``workspace``: all of them, sooner or later, or none.

    The caller holds the lock of the folder `renewal/`, and has called `settle_under_lock` before it looked at them.

    Args:
        workspace: of the participant.
        files: the new content by name; it has been judged already.

    Raises:
        ProvisioningError: where something cannot be written. The old files count then, or `settle` brings the new ones.
    """
    folder = workspace / FOLDER
    settle_under_lock(workspace)
    draft = Path(tempfile.mkdtemp(dir=folder, prefix=f".{_READY}."))
    for name, content in files.items():
        write_atomically(draft / name, content)
    sync_folder(draft)
    draft.rename(folder / _READY)
    sync_folder(folder)
    settle_under_lock(workspace)


def settle(workspace: Path) -> bool:
    """Finish a replacement that was begun in ``workspace``; whether there was one.

    Raises:
        ProvisioningError: where something cannot be written.
    """
    folder = workspace / FOLDER
    if not (folder / _READY).exists() and not any(folder.glob(f".{_READY}.*")):
        return False
    with exclusively(workspace / FOLDER):
        return settle_under_lock(workspace)


def was_interrupted(workspace: Path) -> bool:
    """Whether a replacement was begun in ``workspace`` that `settle` would finish."""
    return (workspace / FOLDER / _READY).exists()


def settle_under_lock(workspace: Path) -> bool:
    """The same as `settle`, where the caller holds the lock of the folder."""
    ready = workspace / FOLDER / _READY
    pem.remove_drafts(ready)
    if not ready.exists():
        return False
    startup = private_folder(workspace / "startup")
    for path in sorted(ready.iterdir(), reverse=True):  # the key before the certificate, which is judged beside it
        if path.is_symlink() or not path.is_file():
            raise ProvisioningError(f"`{path}` is not a file that a renewal writes", hint="remove it")
        pem.remove_drafts(startup / path.name)
        write_atomically(startup / path.name, path.read_bytes())
    done = Path(tempfile.mkdtemp(dir=ready.parent, prefix=f".{_READY}.")) / "done"
    ready.rename(done)
    sync_folder(ready.parent)
    shutil.rmtree(done.parent)
    return True
