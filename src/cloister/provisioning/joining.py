# SPDX-License-Identifier: Apache-2.0
"""Joining with a kit: everything in it is judged first, then put in place; also again, with a later kit.

1. The authority has the fingerprint that was read out; it signed every file of the kit.
2. The kit is for the one who joins; its roster is that authority's and not stale; its certificate counts by that
   roster, now; and belongs to the key that is here.
3. Only then are roster and roots written, and the certificate last of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cloister.certificates import Identity, pem, startup_folder
from cloister.certificates.identity import Kind
from cloister.errors import ProvisioningError
from cloister.files import write_atomically
from cloister.provisioning.kit import KitPaths
from cloister.provisioning.kit_archive import CERTIFICATE, DOCUMENTS, ROSTER_IN_KIT, KitArchive, read_archive
from cloister.provisioning.renewal import install_certificate, key_is_here
from cloister.roster import ROSTER
from cloister.roster_text import roster_text
from cloister.trust import Trust, judge, read_roster
from cloister.trust.in_force import take_up_first


@dataclass(frozen=True)
class Joined:
    """What came of joining.

    Attributes:
        identity: who joined.
        trust: the roster in force now.
        not_after: aware time at which the certificate ends.
        documents: what was written of the documents, relative to the folder; one that was there stays as it is.
    """

    identity: Identity
    trust: Trust
    not_after: datetime
    documents: tuple[str, ...]


def join(root: Path, state: Path, kind: Kind, content: bytes, fingerprint: str, now: datetime) -> Joined:
    """Put a kit in place.

    Args:
        root: the folder of the documents.
        state: the state folder in it, with the key of whoever joins.
        kind: what joins; the kit says who.
        content: the kit.
        fingerprint: of the authority, learnt by another way.
        now: aware time.

    Raises:
        CloisterError: where anything does not fit; nothing is written then.
    """
    kit = read_archive(content, fingerprint)
    identity, trust = _judged(kit, kind, now)
    certificate = pem.parse_certificate(kit.files[CERTIFICATE], "certificate")
    startup = startup_folder(state, identity)
    _check_key(startup, identity, kit)
    in_force = take_up_first(startup.parent, kit.files[ROSTER_IN_KIT], kit.root)
    install_certificate(startup.parent, identity, kit.files[CERTIFICATE], now)
    documents = _write_documents(root, kit, trust)
    return Joined(identity, in_force, certificate.not_valid_after_utc, documents)


def _judged(kit: KitArchive, kind: Kind, now: datetime) -> tuple[Identity, Trust]:
    if kit.kind != kind:
        hint = f"cloister {kit.kind} join …"
        raise ProvisioningError(f"the kit is for the {kit.kind} `{kit.name}` and for no {kind}", hint=hint)
    trust = read_roster(kit.files[ROSTER_IN_KIT], (kit.root,))
    if trust.federation.federation != kit.federation:
        raise ProvisioningError("the kit's roster is another federation's")
    if trust.is_stale(now):
        message = f"the kit's roster is stale since {trust.next_update:%Y-%m-%d %H:%M} UTC"
        raise ProvisioningError(message, hint="have the authority make a new kit, or mend this machine's clock")
    identity = judge(pem.parse_certificate(kit.files[CERTIFICATE], "certificate"), trust, now)
    if (identity.kind, identity.name) != (kit.kind, kit.name):
        raise ProvisioningError(f"the kit's certificate is that of `{identity.name}`")
    return identity, trust


def _check_key(startup: Path, identity: Identity, kit: KitArchive) -> None:
    """See that the key which the certificate vouches for is here, before anything is written."""
    certificate = pem.parse_certificate(kit.files[CERTIFICATE], "certificate")
    if not key_is_here(startup.parent, KitPaths.of(startup, identity).key, certificate):
        hint = f"the request was made elsewhere, or anew since: cloister {identity.kind} request {identity.name}"
        raise ProvisioningError(f"the kit's certificate belongs to no key of `{identity.name}` here", hint=hint)


def _write_documents(root: Path, kit: KitArchive, trust: Trust) -> tuple[str, ...]:
    wanted = {} if (root / ROSTER).exists() else {ROSTER: roster_text(trust.federation)}
    brought = {name: kit.files[name] for name in DOCUMENTS if name in kit.files}
    if not any((root / name).exists() for name in brought):  # a policy of theirs and a signature of ours fit nobody
        wanted |= brought
    for name, content in wanted.items():
        (root / name).parent.mkdir(exist_ok=True)
        write_atomically(root / name, content, mode=0o644)
    return tuple(wanted)
