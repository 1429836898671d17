# SPDX-License-Identifier: Apache-2.0
"""How the federation's trust stands: who has what, for how long, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509

from cloister.errors import ProvisioningError
from cloister.provisioning import authority as authorities
from cloister.provisioning import keys, pem, profile
from cloister.provisioning.identity import Identity, Kind, identities, startup_folder
from cloister.provisioning.kit import Fault, Finding, Kit, faults, read_kit
from cloister.roster import Federation


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
    folder = state / "authority"
    lines: list[Standing] = []
    root: x509.Certificate | None = None
    if folder.exists():
        findings: list[Finding] = []
        try:
            root = pem.read_certificate(folder / authorities.CERTIFICATE_FILE)
        except ProvisioningError as error:
            findings.append(Finding(Fault.MISSING, error.message, error.hint))
        key_path = folder / authorities.KEY_FILE
        if key_path.is_file() and keys.is_loose(key_path):
            message = f"the authority's key `{key_path}` can be read by others"
            findings.append(Finding(Fault.KEY_EXPOSED, message, "make a new authority"))
        lines.append(authority_standing(federation, root, tuple(findings), now))
    kits = [(identity, read_kit(startup_folder(state, identity), identity)) for identity in identities(federation)]
    return lines + [kit_standing(identity, kit, root, now) for identity, kit in kits]


def kit_standing(identity: Identity, kit: Kit, root: x509.Certificate | None, now: datetime) -> Standing:
    """The line of one participant (pure)."""
    return Standing(identity.name, identity.kind, _days_left(kit.certificate, now), faults(kit, identity, now, root))


def authority_standing(
    federation: Federation, root: x509.Certificate | None, findings: tuple[Finding, ...], now: datetime
) -> Standing:
    """The line of the authority (pure)."""
    if root is not None and root.subject != profile.authority_subject(federation.federation):
        message = f"the authority is not that of the federation `{federation.federation}`"
        findings = (*findings, Finding(Fault.NOT_IN_ROSTER, message))
    if root is not None and not profile.is_root(root):
        findings = (*findings, Finding(Fault.NO_AUTHORITY, "the authority's certificate is not an authority's"))
    if root is not None and now > root.not_valid_after_utc:
        findings = (*findings, Finding(Fault.EXPIRED, f"the authority expired on {root.not_valid_after_utc:%Y-%m-%d}"))
    if root is not None and now < root.not_valid_before_utc:
        findings = (*findings, Finding(Fault.NOT_YET_VALID, "the authority is not valid yet", "check the clock"))
    return Standing(federation.federation, "authority", _days_left(root, now), findings)


def _days_left(certificate: x509.Certificate | None, now: datetime) -> int | None:
    return None if certificate is None else (certificate.not_valid_after_utc - now).days
