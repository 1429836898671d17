# SPDX-License-Identifier: Apache-2.0
"""What the authority has revoked: one file for each serial number, written once and never removed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from cloister.certificates import pem
from cloister.certificates.lock import exclusively
from cloister.errors import ProvisioningError, UsageError
from cloister.files import canonical_json, private_folder, write_once

if TYPE_CHECKING:
    from cloister.provisioning.authority import Authority

REVOKED_FOLDER = "revoked"
MAXIMUM_REASON_CHARACTERS = 200


@dataclass(frozen=True)
class Revoked:
    """A certificate that the authority has revoked.

    Attributes:
        name: whose it was.
        fingerprint: SHA-256 of the certificate.
        serial: its serial number.
        reason: why, in one line.
        revoked_at: aware time, to the second.
        superseded: whether its holder was given another one instead.
    """

    name: str
    fingerprint: str
    serial: int
    reason: str
    revoked_at: datetime
    superseded: bool


def revoke(
    authority: Authority, name: str, reason: str, now: datetime, *, superseded: bool = False, keep: str = ""
) -> tuple[Revoked, ...]:
    """Revoke every certificate of ``name`` that has not ended; nothing counts before the next roster is published.

    Args:
        authority: whose record it is; its key is not needed.
        name: whose certificates.
        reason: why, in one line of at most 200 characters.
        now: aware time.
        superseded: whether there is another one for the same holder.
        keep: fingerprint of the one certificate that stays.

    Returns:
        What was revoked just now.

    Raises:
        UsageError: where the reason is not one line.
    """
    if not reason.strip() or len(reason) > MAXIMUM_REASON_CHARACTERS or not reason.isprintable():
        raise UsageError(f"the reason is not one line of at most {MAXIMUM_REASON_CHARACTERS} characters")
    moment, made = now.astimezone(UTC).replace(microsecond=0), []
    with exclusively(authority.folder):
        folder = private_folder(authority.folder / REVOKED_FOLDER)
        pem.remove_drafts(folder / "*.json")
        for certificate in live_certificates(authority, name, now):
            fingerprint = pem.fingerprint(certificate)
            if fingerprint == keep:
                continue
            found = Revoked(name, fingerprint, certificate.serial_number, reason, moment, superseded)
            write_once(folder / f"{certificate.serial_number:040x}.json", _content(found))
            made.append(found)
    return tuple(made)


def live_certificates(authority: Authority, name: str, now: datetime) -> tuple[x509.Certificate, ...]:
    """The certificates of ``name`` that have neither ended nor been revoked, oldest first."""
    return living_by_name(authority, now).get(name, ())


def living_by_name(authority: Authority, now: datetime) -> dict[str, tuple[x509.Certificate, ...]]:
    """Everybody's certificates that have neither ended nor been revoked, by name, oldest first."""
    gone = {each.serial for each in revoked(authority.folder)}
    found: dict[str, list[x509.Certificate]] = {}
    for each in sorted(authority.issued(), key=lambda each: each.not_valid_before_utc):
        if each.serial_number not in gone and now <= each.not_valid_after_utc:
            found.setdefault(_name_of(each), []).append(each)
    return {name: tuple(certificates) for name, certificates in found.items()}


def revoked(folder: Path) -> tuple[Revoked, ...]:
    """Everything that the authority in ``folder`` has revoked.

    Raises:
        ProvisioningError: where a record cannot be read: what it says may not be forgotten.
    """
    found = []
    for path in sorted((folder / REVOKED_FOLDER).glob("*.json")):
        try:
            value = json.loads(path.read_bytes())
            moment = datetime.fromtimestamp(value["revoked_at"], UTC)
            found.append(
                Revoked(
                    str(value["name"]),
                    str(value["fingerprint"]),
                    int(path.stem, 16),
                    str(value["reason"]),
                    moment,
                    bool(value["superseded"]),
                )
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProvisioningError(f"`{path}` cannot be read", hint="restore it from your backup") from error
    return tuple(found)


def _content(entry: Revoked) -> bytes:
    return canonical_json(
        {
            "name": entry.name,
            "fingerprint": entry.fingerprint,
            "reason": entry.reason,
            "revoked_at": int(entry.revoked_at.timestamp()),
            "superseded": entry.superseded,
        }
    )


def _name_of(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
