# SPDX-License-Identifier: Apache-2.0
"""The key that waits for its certificate beside the one that counts, so that either is whole at every moment."""

from __future__ import annotations

from pathlib import Path

from cloister.certificates import PrivateKey, pem
from cloister.certificates.keys import MINIMUM_BITS
from cloister.certificates.lock import exclusively
from cloister.provisioning.replacement import FOLDER

_FILE = "pending.key"


def pending_key_file(workspace: Path) -> Path:
    """Where it lies in a participant's workspace."""
    return workspace / FOLDER / _FILE


def pending_key(workspace: Path) -> PrivateKey | None:
    """The key that waits in ``workspace``, if one does.

    Raises:
        ProvisioningError: where it cannot be used.
    """
    path = pending_key_file(workspace)
    return PrivateKey.load(path) if path.exists() else None


def make_pending_key(workspace: Path) -> PrivateKey:
    """The key that waits in ``workspace``; made where none does.

    Raises:
        ProvisioningError: where it cannot be used or written.
    """
    with exclusively(workspace / FOLDER):
        return make_under_lock(workspace)


def make_under_lock(workspace: Path) -> PrivateKey:
    """The same, where the caller holds the lock of the folder."""
    path = pending_key_file(workspace)
    pem.remove_drafts(path)
    if path.exists():
        return PrivateKey.load(path)
    key = PrivateKey.generate(MINIMUM_BITS)
    key.write(path)
    return key
