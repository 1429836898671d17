# SPDX-License-Identifier: Apache-2.0
"""The roster in force at one participant: `trust/roster.json` in its workspace, taken up from whoever brings a newer.

A roster is taken up only where an authority that is trusted up to now signed it and its version is higher. The roots
for NVFlare and TLS, `startup/rootCA.pem`, follow it: the roster is written first, beside the roots that its forerunner
names, so that after a crash in between it still verifies, and `settle_roots` writes the roots again at every start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from cloister.certificates import pem
from cloister.certificates.anchors import ROOT_FILE, read_roots, roots_pem
from cloister.envelope import MAXIMUM_BYTES
from cloister.errors import CloisterError, ProvisioningError, SignatureError
from cloister.file_lock import locked
from cloister.files import private_folder, read_regular, write_atomically
from cloister.trust.former_roots import keep_former_roots
from cloister.trust.signed_roster import Trust, read_roster

FOLDER = "trust"
_FILE = "roster.json"
_HINT = "whoever runs the authority hands out a new kit: see `cloister authority publish`"


def roster_file(workspace: Path) -> Path:
    """Where the roster in force lies in a participant's workspace."""
    return workspace / FOLDER / _FILE


def trust_in_force(workspace: Path) -> Trust:
    """The roster in force at the participant whose workspace it is.

    Raises:
        ProvisioningError: where there is none, or it cannot be read.
        SignatureError: where no authority that is trusted here signed it.
    """
    path = roster_file(workspace)
    roots = read_roots(workspace / "startup" / ROOT_FILE)
    try:
        content = read_regular(path, MAXIMUM_BYTES)
    except FileNotFoundError as error:
        raise ProvisioningError(f"the signed roster `{path}` is missing", hint=_HINT) from error
    except OSError as error:
        raise ProvisioningError(f"the signed roster `{path}` cannot be read", hint=_HINT) from error
    try:
        return read_roster(content, roots)
    except SignatureError as error:
        raise SignatureError(f"`{path}`: {error.message}", hint=error.hint or _HINT) from error


def take_up(workspace: Path, content: bytes) -> Trust | None:
    """Put a newer roster in force; None where it is the one that is, or an older one.

    Raises:
        CloisterError: where it is not a roster that counts here; nothing is written then.
    """
    with _lock(workspace):
        current = _current(workspace)
        trusted = current.anchors.roots if current else read_roots(workspace / "startup" / ROOT_FILE)
        found = read_roster(content, trusted)
        if current is not None:
            if found.federation.federation != current.federation.federation:
                raise SignatureError(f"the roster is that of the federation `{found.federation.federation}`")
            if found.version <= current.version:
                return None
            settle_roots(workspace, current)  # the newer one may be signed by an authority that this one names first
            _keep_former(workspace, current, found)
        pem.remove_drafts(roster_file(workspace))
        write_atomically(roster_file(workspace), content)
        settle_roots(workspace, found)
        return found


def take_up_first(workspace: Path, content: bytes, root: x509.Certificate) -> Trust:
    """Put the first roster in force at a participant who has learnt by another way that ``root`` is the authority.

    A roster that is in force already stays where it is newer.

    Raises:
        CloisterError: where ``root`` did not sign the roster, or the one in force is another authority's.
    """
    private_folder(workspace / "startup")
    with _lock(workspace):
        for path in (workspace / "startup" / ROOT_FILE, roster_file(workspace)):
            pem.remove_drafts(path)
        found = read_roster(content, (root,))
        try:
            current = _current(workspace)
        except CloisterError:  # damaged; whoever holds the root's fingerprint may begin again
            current = None
        if current is not None:
            if root not in current.anchors.roots:
                hint = "a workspace belongs to one federation; use another folder"
                raise SignatureError("another authority's roster is in force here", hint=hint)
            if found.version <= current.version:
                return current
            settle_roots(workspace, current)
            _keep_former(workspace, current, found)
        else:
            write_atomically(workspace / "startup" / ROOT_FILE, roots_pem((root,)))
        pem.remove_drafts(roster_file(workspace))
        write_atomically(roster_file(workspace), content)
        settle_roots(workspace, found)
        return found


def settle_roots(workspace: Path, trust: Trust) -> None:
    """See that `rootCA.pem` holds the authorities of the roster in force."""
    path = workspace / "startup" / ROOT_FILE
    wanted = roots_pem(trust.anchors.roots)
    if not path.is_file() or path.read_bytes() != wanted:
        pem.remove_drafts(path)
        write_atomically(path, wanted)


def _keep_former(workspace: Path, current: Trust, found: Trust) -> None:
    """Remember what ``found`` trusts no more, before it is in force."""
    gone = tuple(root for root in current.anchors.roots if root not in found.anchors.roots)
    if gone:
        keep_former_roots(workspace, gone)


def _current(workspace: Path) -> Trust | None:
    if not roster_file(workspace).exists():
        return None
    return trust_in_force(workspace)


@contextmanager
def _lock(workspace: Path) -> Iterator[None]:
    try:
        private_folder(workspace / FOLDER)
        with locked(workspace / FOLDER / ".lock"):
            yield
    except OSError as error:
        message = f"cannot write the roster in `{workspace / FOLDER}`: {pem.reason(error)}"
        raise ProvisioningError(message, hint="mend the cause and do it again; the one that is there stays") from error
