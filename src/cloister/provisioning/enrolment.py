# SPDX-License-Identifier: Apache-2.0
"""A participant's own part of enrolment: a key that is made where it stays, and the request for its certificate.

The authority answers with a kit (`cloister.provisioning.granting`), which its holder joins with
(`cloister.provisioning.joining`). A request is public and may travel by mail; the fingerprint of its key must not.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from cloister.certificates import passphrase, pem
from cloister.certificates.anchors import Anchors
from cloister.certificates.identity import Identity, startup_folder
from cloister.certificates.keys import MINIMUM_BITS, PrivateKey
from cloister.certificates.lock import exclusively
from cloister.errors import ProvisioningError
from cloister.files import private_folder
from cloister.provisioning.kit import Kit, KitPaths, faults
from cloister.provisioning.pending_key import make_pending_key, pending_key


def request_certificate(state: Path, identity: Identity) -> bytes:
    """Make the key of ``identity`` where it has none, and a request for its certificate in PEM form.

    Raises:
        ProvisioningError: if the key that is there is unsafe or unusable.
    """
    with exclusively(state):
        key = make_key(state, identity) or own_key(state, identity)
        waiting = pending_key(startup_folder(state, identity).parent)
        return (waiting or key).request(identity)


def init_key(state: Path, identity: Identity, *, encrypted: bool = False, replace_key: bool = False) -> bool:
    """Make the key of ``identity`` where it has none; whether it was made.

    Args:
        state: the state folder.
        identity: whose.
        encrypted: whether the key is to be encrypted at rest.
        replace_key: whether to make another where there is one, which takes its place when its certificate comes.

    Raises:
        ProvisioningError: where it is to be encrypted and there is no passphrase, or something cannot be written.
    """
    if encrypted and passphrase.own() is None:
        hint = f"name a file that holds it: {passphrase.FILE}=/path/to/file"
        raise ProvisioningError("the key is to be encrypted, and there is no passphrase", hint=hint)
    with exclusively(state):
        made = make_key(state, identity) is not None
    if made or not replace_key:
        return made
    make_pending_key(startup_folder(state, identity).parent)
    return True


def make_key(state: Path, identity: Identity) -> PrivateKey | None:
    """Make folders and key of ``identity``, for the owner alone; None if there is a key, which is left as it is.

    The caller holds the lock of ``state``.
    """
    startup = startup_folder(state, identity)
    for folder in reversed([parent for parent in (startup, *startup.parents) if parent.is_relative_to(state)]):
        private_folder(folder)
    paths = KitPaths.of(startup, identity)
    for path in (paths.key, paths.certificate, paths.root):
        pem.remove_drafts(path)
    if paths.key.exists() or paths.key.is_symlink():
        return None
    key = PrivateKey.generate(MINIMUM_BITS)
    key.write(paths.key)
    return key


def own_key(state: Path, identity: Identity) -> PrivateKey:
    """The key that ``identity`` has.

    Raises:
        ProvisioningError: if it is missing, unsafe or unusable.
    """
    return PrivateKey.load(KitPaths.of(startup_folder(state, identity), identity).key)


def needs_certificate(kit: Kit, identity: Identity, anchors: Anchors, now: datetime) -> bool:
    """Whether ``kit`` needs a new certificate: none there is right, or its last tenth has begun (pure).

    The files beside the certificate are not judged. A certificate that ends with the authority is not renewed early,
    because the next one would end then as well.
    """
    certificate = kit.certificate
    if certificate is None or faults(replace(kit, roots=anchors.roots, findings=()), identity, now, anchors):
        return True
    end = certificate.not_valid_after_utc
    last_tenth = end - (end - certificate.not_valid_before_utc) / 10
    return now >= last_tenth and end < anchors.roots[0].not_valid_after_utc
