# SPDX-License-Identifier: Apache-2.0
"""The whole federation's trust on one machine, made true to the roster as often as one asks.

1. A key is made where there is none and never replaced.
2. A certificate that is right stays. One that is missing, wrong, of another authority, unlike the roster, or in the
   last tenth of its life is replaced by a new one for the same key, unless the key was revoked: whoever was put out
   stays out until there is another key.
3. Everybody has the roster that the authority signed, in which all these certificates stand.
4. Each file appears whole or not at all, and only after all that it rests on; so an interrupted call is finished by
   the next one.
5. What the roster no longer names is reported and not touched: deleting keys is for people.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509

from cloister.certificates import pem, profile
from cloister.certificates.anchors import roots_pem
from cloister.certificates.identity import Identity, identities, lifetime, startup_folder
from cloister.certificates.keys import PrivateKey
from cloister.certificates.lock import exclusively
from cloister.errors import ProvisioningError
from cloister.files import write_atomically
from cloister.provisioning.authority import AUTHORITY_FOLDER, CERTIFICATE_FILE, Authority
from cloister.provisioning.distribution import distribute
from cloister.provisioning.enrolment import make_key, needs_certificate, own_key
from cloister.provisioning.kit import read_kit
from cloister.provisioning.publication import publish_if_needed
from cloister.provisioning.revoking import revoked
from cloister.roster import Federation
from cloister.trust import roster_file

_MOST_WORKERS = 8


@dataclass(frozen=True)
class Issued:
    """One participant's certificate.

    Attributes:
        identity: whose it is.
        path: where it lies.
        not_after: aware time of its end.
        fingerprint: SHA-256, 64 lower-case hexadecimal digits.
        created: whether it was signed just now, and not found right.
        revoked: whether it stays although it was revoked, because there is no other key.
    """

    identity: Identity
    path: Path
    not_after: datetime
    fingerprint: str
    created: bool
    revoked: bool = False


def provision(federation: Federation, state: Path, now: datetime) -> tuple[Issued, ...]:
    """Make the trust in ``state`` what the roster says; see this module's rules.

    Args:
        federation: the roster.
        state: the federation's state folder; made, with mode 0700, if missing.
        now: aware time.

    Returns:
        Everybody's certificate, in the order of `identities`.

    Raises:
        ProvisioningError: if something in ``state`` is unsafe or belongs to another federation, or cannot be written.
    """
    everybody = identities(federation)
    for identity in everybody:
        profile.leaf_extensions(identity)  # a host that cannot be certified is refused before anything is made
    with exclusively(state):
        _check_everybody_belongs_here(everybody, state)
        authority = _authority(federation, state / AUTHORITY_FOLDER, now)
        # Finding primes is most of the work, and it runs outside the interpreter's lock.
        with ThreadPoolExecutor(min(_MOST_WORKERS, os.cpu_count() or 1)) as pool:
            made = list(pool.map(lambda identity: make_key(state, identity), everybody))
        gone = frozenset(
            (pem.fingerprint(root), each.serial) for each in revoked(authority.folder) for root in authority.roots
        )
        renewal = _Renewal(federation, state, authority, gone, now)
        issued = tuple(map(renewal.issue, everybody, made))
        hand_out(authority, federation, state, now)
        return issued


def hand_out(authority: Authority, federation: Federation, state: Path, now: datetime) -> bytes:
    """Give the roster, signed anew where it no longer says what is true, to everybody in ``state`` and the mailbox.

    Raises:
        ProvisioningError: where it has to be signed and cannot be.
    """
    content = publish_if_needed(authority, federation, now)
    distribute(authority, federation, state, content)
    return content


def _check_everybody_belongs_here(everybody: tuple[Identity, ...], state: Path) -> None:
    """See that everybody's keys are to lie here: not where somebody has joined, nor where others have elsewhere.

    Raises:
        ProvisioningError: where others have keys of their own elsewhere; theirs would be superseded.
    """
    workspaces = {identity: startup_folder(state, identity).parent for identity in everybody}
    absent = [identity for identity, workspace in workspaces.items() if not workspace.exists()]
    hint = "each makes their own key on their own machine: docs/three-machines.md"
    if not (state / AUTHORITY_FOLDER / CERTIFICATE_FILE).exists():
        joined = [identity.name for identity, workspace in workspaces.items() if roster_file(workspace).exists()]
        if joined and absent:
            message = f"`{joined[0]}` has joined a federation here, and its authority is on another machine"
            raise ProvisioningError(message, hint=hint)
    elif absent:
        known = {certificate.subject for certificate in Authority.open(state / AUTHORITY_FOLDER).issued()}
        if elsewhere := [each for each in absent if profile.subject(each) in known]:
            message = f"`{elsewhere[0].name}` has a certificate and no folder here: its key is on another machine"
            raise ProvisioningError(message, hint=f"{hint}; where it was here and is lost, make its folder again")


def _authority(federation: Federation, folder: Path, now: datetime) -> Authority:
    if not (folder / CERTIFICATE_FILE).exists():
        return Authority.create(folder, federation, now)
    authority = Authority.open(folder)
    if not authority.serves(federation):
        hint = "every federation has a state folder of its own"
        message = f"the authority in `{folder}` is not that of the federation `{federation.federation}`"
        raise ProvisioningError(message, hint=hint)
    return authority


@dataclass(frozen=True)
class _Renewal:
    """What one call works with.

    Attributes:
        federation: the roster.
        state: its state folder.
        authority: its authority.
        revoked: what it has revoked.
        now: aware time.
    """

    federation: Federation
    state: Path
    authority: Authority
    revoked: frozenset[tuple[str, int]]
    now: datetime

    def issue(self, identity: Identity, made: PrivateKey | None) -> Issued:
        """See that ``identity`` has the right certificate; ``made`` is its key if that is new."""
        kit = read_kit(startup_folder(self.state, identity), identity)
        if kit.public_key is None:
            own_key(self.state, identity)  # tells what is wrong with it
        anchors = replace(self.authority.anchors, revoked=self.revoked)
        if set(kit.roots) != set(anchors.roots):
            write_atomically(kit.paths.root, roots_pem(anchors.roots))
        certificate = kit.certificate
        if certificate is not None and not needs_certificate(kit, identity, anchors, self.now):
            return _issued(identity, kit.paths.certificate, certificate, created=False)
        key = made or own_key(self.state, identity)
        if certificate is not None and self.authority.has_taken_back(key.public_key):
            return replace(_issued(identity, kit.paths.certificate, certificate, created=False), revoked=True)
        lasting = lifetime(self.federation, identity)
        content = self.authority.sign(key.request(identity), identity, lasting, self.now)
        write_atomically(kit.paths.certificate, content)
        certificate = pem.parse_certificate(content, str(kit.paths.certificate))
        return _issued(identity, kit.paths.certificate, certificate, created=True)


def _issued(identity: Identity, path: Path, certificate: x509.Certificate, *, created: bool) -> Issued:
    return Issued(identity, path, certificate.not_valid_after_utc, pem.fingerprint(certificate), created)


def retired(federation: Federation, state: Path) -> tuple[Path, ...]:
    """The folders of sites and people whom ``state`` still knows and the roster no longer does, sorted."""
    known = {startup_folder(state, identity).parent for identity in identities(federation)}
    found = [path for kind in ("sites", "people") for path in (state / kind).glob("*") if path.is_dir()]
    return tuple(sorted(path for path in found if path not in known))
