# SPDX-License-Identifier: Apache-2.0
"""A machine of one site, `alpha`, and the server's and the authority's own, which lie elsewhere."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cloister.certificates import Identity, PrivateKey, identities, pem, profile
from cloister.certificates.crl import RevokedCertificate, make_crl
from cloister.doctor import CODES, Finding, Here, Level, Section, asked_for, examine
from cloister.documents import load
from cloister.files import write_json
from cloister.provisioning import Authority
from cloister.roster import ROSTER, Federation
from cloister.trust import Revocation, Trust, read_roster, roster_file
from cloister.trust.signed_roster import sign_roster
from tests.doctor import listeners

SITE = "alpha"


@dataclass
class World:
    """Where everything lies.

    Attributes:
        root: the site's machine: documents and the site's own workspace.
        server: the server's workspace.
        authority: the authority.
        strangers: an authority of another federation.
        keys: keys that belong to nobody.
        port: where the server is said to be.
    """

    root: Path
    server: Path
    authority: Authority
    strangers: Authority
    keys: tuple[PrivateKey, ...]
    port: int | None = None

    @property
    def document(self) -> Federation:
        return load(self.root / ROSTER, Federation, name=ROSTER).value

    @property
    def workspace(self) -> Path:
        return self.root / ".cloister" / "sites" / SITE

    @property
    def startup(self) -> Path:
        return self.workspace / "startup"

    @property
    def certificate_file(self) -> Path:
        return self.startup / "client.crt"

    def here(self, **changes: Any) -> Here:
        plain = Here(self.root, self.document, frozenset(), datetime.now(UTC), {})
        return replace(plain, **changes)

    def sections(self, name: str = SITE, **changes: Any) -> list[Section]:
        here = self.here(**changes)
        return list(examine(here, asked_for(here, name), lambda _: contextlib.nullcontext()))

    def findings(self, name: str = SITE, **changes: Any) -> list[Finding]:
        return [finding for section in self.sections(name, **changes) for finding in section.findings]

    def listens_on(self, port: int | None) -> None:
        """Have the site look for its server at ``port``."""
        self.port = port
        path = self.root / ".cloister" / "port.json"
        path.unlink(missing_ok=True)
        if port is not None:
            write_json(path, {"port": port})

    def identity(self, name: str) -> Identity:
        return next(each for each in identities(self.document) if each.name == name)

    def certify(
        self,
        identity: Identity,
        key: PrivateKey,
        *,
        begun: timedelta = timedelta(),
        lasting: timedelta = timedelta(days=365),
        by: Authority | None = None,
    ) -> bytes:
        """A certificate of ``identity`` that was signed ``begun`` ago, in PEM form."""
        authority = by or self.authority
        issuer = authority.certificate
        when = datetime.now(UTC) - begun
        signs = min(when, datetime.now(UTC))
        builder = profile.leaf_builder(identity, key.public_key, issuer, lasting, signs)
        if begun < timedelta():  # the future, where the authority's own rule would not let anybody sign
            builder = profile.leaf_builder(identity, key.public_key, issuer, lasting, when)
        return pem.certificate_pem(authority.key_of(issuer).certify(builder))

    @property
    def trust(self) -> Trust:
        return read_roster(roster_file(self.workspace).read_bytes(), self.authority.roots)

    def publish(self, **changes: Any) -> None:
        """Put another roster in force at the site, signed by the authority; of ``changes``, `revoked` is serials."""
        root, now = self.authority.certificate, datetime.now(UTC)
        revoked = [RevokedCertificate(serial, now) for serial in changes.pop("revoked", ())]
        key = self.authority.key_of(root)
        crl = make_crl(root, key, 9, revoked, (now - timedelta(hours=1), now + timedelta(days=90)))
        stated = replace(self.trust, crls=(crl,), version=self.trust.version + 1, **changes)
        roster_file(self.workspace).write_bytes(sign_roster(stated, key, root))

    def renamed_pins(self, name: str, pins: frozenset[str]) -> Mapping[str, frozenset[str]]:
        return {**self.trust.pins, name: pins}

    def revoke(self, name: str, reason: str) -> None:
        certificate = pem.read_certificate(self.certificate_file)
        words = Revocation(name, pem.fingerprint(certificate), reason, datetime.now(UTC).replace(microsecond=0))
        self.publish(revoked=[certificate.serial_number], revocations=(words,))

    @contextlib.contextmanager
    def serving(self, said: bytes = listeners.SETTINGS, *, waits: bool = False, **kit: Path) -> Iterator[int]:
        """The federation's server, with its own files or those of ``kit``."""
        startup = self.server / "startup"
        tls = listeners.context(
            kit.get("certificate", startup / "server.crt"),
            kit.get("key", startup / "server.key"),
            kit.get("root", startup / "rootCA.pem"),
        )
        with listeners.listening(listeners.federation(tls, said, waits=waits)) as port:
            self.listens_on(port)
            yield port

    def server_certificate(self, **how: Any) -> Path:
        """Another certificate for the server's own key, which the roster does not know."""
        identity = replace(self.identity("coordinator"), hosts=how.pop("hosts", ("localhost", "127.0.0.1")))
        key = PrivateKey.load(self.server / "startup" / "server.key")
        path = self.server / "other.crt"
        path.write_bytes(self.certify(how.pop("identity", identity), key, **how))
        return path


def codes(findings: list[Finding], *, least: Level = Level.PROBLEM) -> set[str]:
    """The codes of findings that are as grave as ``least``, or graver."""
    order = list(Level)
    return {each.code for each in findings if order.index(CODES[each.code].level) >= order.index(least)}


def make_world(pristine: Path, folder: Path, keys: tuple[PrivateKey, ...], strangers: Authority) -> World:
    """The site's machine, split off from a federation that was provisioned in one place."""
    root = Path(shutil.copytree(pristine, folder / "machine"))
    state = root / ".cloister"
    for name in ("server", "authority"):
        shutil.move(state / name, folder / name)
    shutil.rmtree(state / "sites" / "beta")
    return World(root, folder / "server", Authority.open(folder / "authority"), strangers, keys)
