# SPDX-License-Identifier: Apache-2.0
"""Authorities that a participant has trusted once: `trust/former-roots.pem` in its workspace.

They open nothing any more. An audit log is read from its first line on, and its checkpoints were signed over the years
under each of them.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from cloister.certificates import pem
from cloister.certificates.anchors import ROOT_FILE, read_roots, roots_pem
from cloister.files import write_atomically

_FILE = Path("trust") / "former-roots.pem"
_MOST = 30  # of at most 2 KiB each, and one in some years


def keep_former_roots(workspace: Path, roots: tuple[x509.Certificate, ...]) -> None:
    """Remember ``roots``, which are trusted no more.

    Raises:
        ProvisioningError: where what is remembered already cannot be read.
        OSError: where it cannot be written.
    """
    before = _former_roots(workspace)
    kept = tuple(dict.fromkeys((*before, *roots)))[-_MOST:]
    if kept != before:
        pem.remove_drafts(workspace / _FILE)
        write_atomically(workspace / _FILE, roots_pem(kept))


def roots_of_the_past(workspace: Path) -> tuple[x509.Certificate, ...]:
    """Every authority that is trusted in ``workspace`` or was, for what was signed in the past.

    Raises:
        ProvisioningError: where one of the files cannot be read.
    """
    return (*read_roots(workspace / "startup" / ROOT_FILE), *_former_roots(workspace))


def _former_roots(workspace: Path) -> tuple[x509.Certificate, ...]:
    path = workspace / _FILE
    if not path.exists():
        return ()
    return pem.parse_certificates(pem.read(path)[0], str(path), most=_MOST)
