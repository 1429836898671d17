# SPDX-License-Identifier: Apache-2.0
"""The authority states the roster: from the document, what it has issued and what it has revoked.

Every roster that was published stays in `rosters/`, written once under its version, so that two can never share one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from cloister.certificates import pem, profile
from cloister.certificates.anchors import Anchors
from cloister.certificates.crl import RevokedCertificate, make_crl
from cloister.certificates.identity import identities
from cloister.certificates.lock import exclusively
from cloister.envelope import MAXIMUM_BYTES
from cloister.errors import CloisterError, ProvisioningError
from cloister.files import private_folder, read_regular
from cloister.provisioning.authority import Authority
from cloister.provisioning.revoking import Revoked, revoked
from cloister.roster import Federation
from cloister.trust.signed_roster import Revocation, Trust, read_roster, sign_roster

ROSTERS_FOLDER = "rosters"
_CLOCK_SKEW = timedelta(minutes=5)


def publish(authority: Authority, federation: Federation, now: datetime) -> bytes:
    """Sign a new version of the roster.

    Args:
        authority: with its keys.
        federation: the document as it is now.
        now: aware time.

    Returns:
        The signed roster; it is recorded under `rosters/` already.

    Raises:
        ProvisioningError: where the authority is another federation's, its key is not here, or a record is damaged.
    """
    authority.check_serves(federation)
    with exclusively(authority.folder):
        version = latest_version(authority.folder) + 1
        content = sign_roster(
            _stated(authority, federation, version, now), authority.key_of(authority.stating), authority.stating
        )
        if len(content) > MAXIMUM_BYTES:
            raise ProvisioningError(f"the roster is larger than {MAXIMUM_BYTES >> 20} MiB, which nobody would read")
        read_roster(content, authority.roots)  # one that nobody could read must not leave this folder
        folder = private_folder(authority.folder / ROSTERS_FOLDER)
        pem.remove_drafts(folder / "*.json")
        pem.write_once(folder / f"{version:08d}.json", content)
    return content


def publish_if_needed(authority: Authority, federation: Federation, now: datetime) -> bytes:
    """The latest roster if it still says what is true and its first half lasts; otherwise a new version.

    Raises:
        ProvisioningError: as `publish` does, where a new one is needed.
    """
    latest = latest_roster(authority)
    if latest is not None:
        content, trust = latest
        fresh = now < trust.issued_at + (trust.next_update - trust.issued_at) / 2
        if fresh and now >= trust.issued_at - _CLOCK_SKEW and _says_the_same(trust, authority, federation, now):
            return content
    return publish(authority, federation, now)


def latest_version(folder: Path) -> int:
    """The version of the latest roster of the authority in ``folder``; 0 where there is none."""
    return max((int(path.stem) for path in (folder / ROSTERS_FOLDER).glob("[0-9]*.json")), default=0)


def latest_roster(authority: Authority) -> tuple[bytes, Trust] | None:
    """The latest roster that was published, if there is one and it verifies under ``authority`` as it is now."""
    version = latest_version(authority.folder)
    if version == 0:
        return None
    try:
        content = read_regular(authority.folder / ROSTERS_FOLDER / f"{version:08d}.json", MAXIMUM_BYTES)
        return content, read_roster(content, authority.roots)
    except (OSError, CloisterError):  # damaged, or of an authority that has handed over: the next version mends it
        return None


def _says_the_same(trust: Trust, authority: Authority, federation: Federation, now: datetime) -> bool:
    wanted = _stated(authority, federation, trust.version, now, with_lists=False)
    said = replace(trust, issued_at=wanted.issued_at, next_update=wanted.next_update, crls=())
    revoked_serials = {(root, serial) for root, serial in said.anchors.revoked}
    return revoked_serials == wanted.anchors.revoked and replace(said, anchors=Anchors(said.anchors.roots)) == replace(
        wanted, anchors=Anchors(wanted.anchors.roots)
    )


def _stated(
    authority: Authority, federation: Federation, version: int, now: datetime, *, with_lists: bool = True
) -> Trust:
    """What is true now; with the signed revocation lists only where they are asked for, since they need the keys."""
    begin = now.astimezone(UTC).replace(microsecond=0)
    end = begin + timedelta(days=federation.authority.roster_days)
    known = authority.issued()
    taken_back = _of_the_living(revoked(authority.folder), known, now)
    by_root = {root: [each for each in taken_back if each.serial in _serials(known, root)] for root in authority.roots}
    crls: tuple[bytes, ...] = ()
    if with_lists:
        crls = tuple(
            make_crl(
                root,
                authority.key_of(root),
                version,
                [RevokedCertificate(each.serial, each.revoked_at, each.superseded) for each in entries],
                (begin, end),
            )
            for root, entries in by_root.items()
        )
    gone = frozenset((pem.fingerprint(root), each.serial) for root, entries in by_root.items() for each in entries)
    return Trust(
        federation,
        version,
        begin,
        end,
        Anchors(authority.roots, gone),
        crls,
        _pins(authority, federation, known, {each.serial for each in taken_back}, now),
        tuple(Revocation(each.name, each.fingerprint, each.reason, each.revoked_at) for each in taken_back),
    )


def _of_the_living(
    entries: tuple[Revoked, ...], known: tuple[x509.Certificate, ...], now: datetime
) -> tuple[Revoked, ...]:
    """Without those that have ended: an ended certificate is refused for that (RFC 5280, 5.2.1 and 3.3)."""
    alive = {each.serial_number for each in known if now <= each.not_valid_after_utc + timedelta(days=1)}
    return tuple(each for each in entries if each.serial in alive)


def _serials(known: tuple[x509.Certificate, ...], root: x509.Certificate) -> frozenset[int]:
    return frozenset(each.serial_number for each in known if profile.is_issued_by(each, root))


def _pins(
    authority: Authority,
    federation: Federation,
    known: tuple[x509.Certificate, ...],
    gone: set[int],
    now: datetime,
) -> dict[str, frozenset[str]]:
    anchors, pins = Anchors(authority.roots), dict[str, set[str]]()
    entries = {profile.subject(identity): identity for identity in identities(federation)}
    for each in known:
        identity = entries.get(each.subject)
        if identity is None or each.serial_number in gone or now > each.not_valid_after_utc:
            continue
        if anchors.issuer_of(each) is not None and not profile.departures(each, identity):
            pins.setdefault(identity.name, set()).add(pem.fingerprint(each))
    return {name: frozenset(found) for name, found in pins.items()}
