# SPDX-License-Identifier: Apache-2.0
"""How the federation's trust stands: who has what, for how long, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509

from cloister.certificates import pem, profile
from cloister.certificates.anchors import Anchors
from cloister.certificates.identity import Identity, Kind, identities, startup_folder
from cloister.errors import CloisterError, ProvisioningError
from cloister.provisioning.authority import AUTHORITY_FOLDER, CERTIFICATE_FILE, KEY_FILE, Authority
from cloister.provisioning.kit import (
    Fault,
    Finding,
    Kit,
    KitPaths,
    faults,
    read_certificate,
    read_kit,
    read_public_key,
    root_faults,
)
from cloister.provisioning.renewal import is_overdue
from cloister.provisioning.revoking import revoked
from cloister.roster import Federation
from cloister.trust import Trust, roster_file, trust_in_force


@dataclass(frozen=True)
class Standing:
    """One line of the status table.

    Attributes:
        name: the participant, or the federation for its authority.
        kind: what it is.
        days_left: whole days until its certificate ends, negative once it has; None where it has none.
        findings: what is wrong, gravest first.
    """

    name: str
    kind: Kind | Literal["authority"]
    days_left: int | None
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Fault, ...]:
        """The findings in a word each, such as ``expired``; each is a string."""
        return tuple(dict.fromkeys(finding.fault for finding in self.findings))


def inspect(state: Path, federation: Federation, now: datetime) -> list[Standing]:
    """The standing of the authority and of everybody in the roster, as far as ``state`` holds their files.

    A machine that holds only its own kit has no authority folder; the kit's own root is believed there, and the
    authority has no line.
    """
    lines: list[Standing] = []
    anchors: Anchors | None = None
    if (state / AUTHORITY_FOLDER).exists():
        kit = _read_authority(state / AUTHORITY_FOLDER)
        anchors = _anchors_of(state / AUTHORITY_FOLDER) if kit.roots else None
        lines.append(authority_standing(federation, kit, now))
    for identity in identities(federation):
        startup = startup_folder(state, identity)
        trust, found = _roster_at(startup.parent, now)
        known = anchors or (trust.anchors if trust else None)
        standing = kit_standing(identity, read_kit(startup, identity), known, now)
        lines.append(replace(standing, findings=(*standing.findings, *found)))
    return lines


def _roster_at(workspace: Path, now: datetime) -> tuple[Trust | None, tuple[Finding, ...]]:
    """The roster in force in ``workspace``, if there is one, and what is wrong with it."""
    if not roster_file(workspace).exists():
        return None, ()
    try:
        trust = trust_in_force(workspace)
    except CloisterError as error:
        return None, (Finding(Fault.UNREADABLE, error.message, error.hint),)
    if not trust.is_stale(now):
        return trust, ()
    message = f"version {trust.version} of the roster is stale since {trust.next_update:%Y-%m-%d %H:%M} UTC"
    return trust, (Finding(Fault.STALE_ROSTER, message, "the authority signs another: cloister authority publish"),)


def _read_authority(folder: Path) -> Kit:
    paths = KitPaths(folder / KEY_FILE, folder / CERTIFICATE_FILE, folder / CERTIFICATE_FILE)
    findings: list[Finding] = []
    # A key that is not here is kept offline, as it should be.
    public_key = read_public_key(paths.key, findings) if paths.key.exists() else None
    root = read_certificate(paths.root, findings)
    return Kit(paths, public_key, root, () if root is None else (root,), tuple(findings))


def _anchors_of(folder: Path) -> Anchors | None:
    """The authority's generations and what they have revoked; None where its folder cannot be read."""
    try:
        authority = Authority.open(folder)
        gone = frozenset((pem.fingerprint(root), each.serial) for each in revoked(folder) for root in authority.roots)
    except ProvisioningError:
        return None
    return Anchors(authority.roots, gone)


def kit_standing(identity: Identity, kit: Kit, anchors: Anchors | None, now: datetime) -> Standing:
    """The line of one participant, whose roots must be those of ``anchors`` where they are known (pure)."""
    found = faults(kit, identity, now, anchors)
    if not found and kit.certificate is not None and is_overdue(kit.certificate, now):
        message = f"the certificate of `{identity.name}` is past two thirds of its lifetime"
        found = (Finding(Fault.OVERDUE, message, "see `cloister renew`, and ask whoever runs the authority"),)
    return Standing(identity.name, identity.kind, _days_left(kit.certificate, now), found)


def authority_standing(federation: Federation, kit: Kit, now: datetime) -> Standing:
    """The line of the authority, whose certificate is both certificate and root of ``kit`` (pure)."""
    return Standing(
        federation.federation, "authority", _days_left(kit.certificate, now), tuple(_findings(federation, kit, now))
    )


def _findings(federation: Federation, kit: Kit, now: datetime) -> Iterator[Finding]:
    yield from kit.findings
    root = kit.certificate
    if root is None:
        return
    if kit.public_key is not None and kit.public_key != root.public_key():
        yield Finding(Fault.OTHER_KEY, f"the certificate `{kit.paths.root}` does not belong to the key beside it")
    if root.subject != profile.authority_subject(federation.federation):
        message = f"the authority is not that of the federation `{federation.federation}`"
        yield Finding(Fault.NOT_IN_ROSTER, message, "every federation has a state folder of its own")
    yield from root_faults(kit.paths.root, root, now)


def _days_left(certificate: x509.Certificate | None, now: datetime) -> int | None:
    return None if certificate is None else (certificate.not_valid_after_utc - now).days
