# SPDX-License-Identifier: Apache-2.0
"""The three steps by which a participant gets a certificate without its key going anywhere.

1. `request_certificate`, at the participant: make the key if there is none, and a request.
2. `grant_certificate`, at the authority: look the name up in the roster and sign.
3. `accept_certificate`, at the participant: check certificate and root, and lay them beside the key.

Requests, certificates and the root are public and may travel by mail; the root's fingerprint must be compared by
another way, because whoever can replace the root can replace everything.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from cloister.certificates import passphrase, pem
from cloister.certificates.anchors import Anchors
from cloister.certificates.identity import Identity, identities, lifetime, startup_folder
from cloister.certificates.keys import MINIMUM_BITS, PrivateKey, read_public_key
from cloister.certificates.lock import exclusively
from cloister.certificates.request import requested_name
from cloister.errors import ProvisioningError
from cloister.files import private_folder, write_atomically
from cloister.provisioning.authority import Authority
from cloister.provisioning.kit import Kit, KitPaths, faults
from cloister.provisioning.pending_key import make_pending_key, pending_key
from cloister.roster import Federation


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


def grant_certificate(federation: Federation, authority: Authority, csr_pem: bytes, now: datetime) -> bytes:
    """Sign a request for whoever it names, if the roster has them.

    Raises:
        ProvisioningError: if the roster does not have the name, or the request is refused.
    """
    if not authority.serves(federation):
        raise ProvisioningError(f"the authority in `{authority.folder}` is not that of `{federation.federation}`")
    name = requested_name(csr_pem)
    identity = next((each for each in identities(federation) if each.name == name), None)
    if identity is None:
        hint = "whoever may join must first be written into provisioning/federation.yaml"
        raise ProvisioningError("the request names somebody who is not in the roster", hint=hint)
    return authority.sign(csr_pem, identity, lifetime(federation, identity), now)


def accept_certificate(
    state: Path, identity: Identity, certificate_pem: bytes, root_pem: bytes, root_fingerprint: str, now: datetime
) -> None:
    """Lay a certificate and its root beside the key, once both are known to be right.

    Args:
        state: the participant's state folder, which holds its key.
        identity: the participant.
        certificate_pem: its certificate.
        root_pem: the authority's certificate.
        root_fingerprint: SHA-256 of the authority's certificate, hexadecimal, learned by another way than ``root_pem``.
        now: aware time to judge validity at.

    Raises:
        ProvisioningError: if anything does not fit; nothing is written then.
    """
    root = pem.parse_certificate(root_pem, "authority's certificate")
    certificate = pem.parse_certificate(certificate_pem, "certificate")
    if pem.fingerprint(root) != root_fingerprint.lower().replace(":", ""):
        hint = "compare the fingerprint with the authority's people by telephone"
        raise ProvisioningError("the authority's certificate does not have the expected fingerprint", hint=hint)
    paths = KitPaths.of(startup_folder(state, identity), identity)
    with exclusively(state):
        kit = Kit(paths, read_public_key(paths.key), certificate, (root,))
        if found := faults(kit, identity, now):
            raise ProvisioningError(found[0].message, hint=found[0].hint)
        write_atomically(paths.root, pem.certificate_pem(root))
        write_atomically(paths.certificate, pem.certificate_pem(certificate))


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
