# SPDX-License-Identifier: Apache-2.0
"""A federation whose authority's key is the test's, so that it can sign what it never would."""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import Anchors, Identity, PrivateKey, identities, profile
from cloister.certificates.crl import RevokedCertificate, make_crl
from cloister.certificates.pem import certificate_pem, fingerprint
from cloister.provisioning import Authority
from cloister.provisioning.authority import CERTIFICATE_FILE, KEY_FILE
from cloister.trust import Revocation, Trust, read_roster
from cloister.trust.signed_roster import sign_roster
from tests.provisioning.world import PERSON, SERVER, SITE, federation
from tests.trust.chains.draft import Draft, moment

LIFETIME = timedelta(days=10)
NAMES = {"server": SERVER, "site": SITE, "person": PERSON}

__all__ = ["NAMES", "PERSON", "SERVER", "SITE", "World", "pem", "rechained"]


def pem(der: bytes) -> bytes:
    """Anything, as if it were a certificate."""
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64)) if der else ""
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n".encode()


def revocation_reasons() -> tuple[str, str]:
    return "the laptop was stolen", "another key"


@dataclass(frozen=True)
class World:
    """A federation, and one of its entries.

    Attributes:
        who: whose certificate bad ones are made from.
        root_key: the authority's.
        leaf_key: of everybody in the federation.
        other_key: somebody else's.
        now: aware time, to the second.
        root: the authority.
        trust: the roster in force.
        certificates: everybody's, by name.
        revoked_pem: of ``who``, that was taken back.
        superseded_pem: of ``who``, that was taken back for another.
    """

    who: Identity
    root_key: rsa.RSAPrivateKey
    leaf_key: rsa.RSAPrivateKey
    other_key: rsa.RSAPrivateKey
    now: datetime
    root: x509.Certificate
    trust: Trust
    certificates: dict[str, x509.Certificate]
    revoked_pem: bytes
    superseded_pem: bytes

    def entry(self, name: str) -> Identity:
        return next(each for each in identities(self.trust.federation) if each.name == name)

    @property
    def good(self) -> x509.Certificate:
        """The right certificate of ``who``."""
        return self.certificates[self.who.name]

    @cached_property
    def draft(self) -> Draft:
        return Draft.of(self.good)

    @property
    def der(self) -> bytes:
        return self.good.public_bytes(serialization.Encoding.DER)

    @property
    def roster(self) -> bytes:
        """The signed roster in force."""
        return sign_roster(self.trust, PrivateKey(self.root_key), self.root)

    def authority(self, folder: Path) -> Authority:
        """The authority, laid down in a folder."""
        folder.mkdir(mode=0o700)
        PrivateKey(self.root_key).write(folder / KEY_FILE)
        (folder / CERTIFICATE_FILE).write_bytes(certificate_pem(self.root))
        return Authority.open(folder)

    def dated(self, begin: datetime, end: datetime) -> Draft:
        return replace(self.draft, begin=moment(begin), end=moment(end))

    @property
    def pem(self) -> bytes:
        return certificate_pem(self.good)

    @property
    def pem_of_site(self) -> bytes:
        return certificate_pem(self.certificates[SITE])

    @property
    def site_subject(self) -> bytes:
        return self.certificates[SITE].subject.public_bytes()


def make_root(key: rsa.RSAPrivateKey, now: datetime, days: int = 3650) -> x509.Certificate:
    return profile.root_builder("trial", key.public_key(), days, now).sign(key, hashes.SHA256())


def make_leaf(
    who: Identity, key: rsa.RSAPrivateKey, root: x509.Certificate, root_key: rsa.RSAPrivateKey, now: datetime
) -> x509.Certificate:
    return profile.leaf_builder(who, key.public_key(), root, LIFETIME, now).sign(root_key, hashes.SHA256())


def make_world(name: str, rsa_keys: tuple[rsa.RSAPrivateKey, ...], now: datetime) -> World:
    """The federation, seen as the entry called ``name``."""
    root_key, leaf_key, other_key = rsa_keys
    root, roster = make_root(root_key, now), federation()
    everybody = {who.name: make_leaf(who, leaf_key, root, root_key, now) for who in identities(roster)}
    who = next(each for each in identities(roster) if each.name == name)
    revoked, superseded = (make_leaf(who, leaf_key, root, root_key, now) for _ in range(2))
    gone = [RevokedCertificate(revoked.serial_number, now), RevokedCertificate(superseded.serial_number, now, True)]
    pins = {name: frozenset({fingerprint(each)}) for name, each in everybody.items()}
    reasons = zip((revoked, superseded), revocation_reasons(), strict=True)
    trust = Trust(
        roster,
        7,
        now,
        now + timedelta(days=90),
        Anchors.of(root),
        (make_crl(root, PrivateKey(root_key), 7, gone, (now, now + timedelta(days=90))),),
        pins,
        tuple(Revocation(name, fingerprint(each), reason, now) for each, reason in reasons),
    )
    read = read_roster(sign_roster(trust, PrivateKey(root_key), root), (root,))
    return World(
        who,
        root_key,
        leaf_key,
        other_key,
        now,
        root,
        read,
        everybody,
        certificate_pem(revoked),
        certificate_pem(superseded),
    )


def rechained(world: World) -> World:
    """The same federation, after its authority has handed over to another generation and was dropped."""
    root = make_root(world.other_key, world.now)
    everybody = {
        name: make_leaf(world.entry(name), world.leaf_key, root, world.other_key, world.now)
        for name in world.certificates
    }
    dates = (world.now, world.now + timedelta(days=90))
    trust = replace(
        world.trust,
        version=8,
        anchors=Anchors.of(root),
        crls=(make_crl(root, PrivateKey(world.other_key), 8, (), dates),),
        pins={name: frozenset({fingerprint(each)}) for name, each in everybody.items()},
        revocations=(),
    )
    read = read_roster(sign_roster(trust, PrivateKey(world.other_key), root), (root,))
    return replace(
        world, root=root, root_key=world.other_key, other_key=world.root_key, trust=read, certificates=everybody
    )
