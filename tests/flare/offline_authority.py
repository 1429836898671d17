# SPDX-License-Identifier: Apache-2.0
"""An authority that was taken away from the machines that run: it reaches them through a person's session alone."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from cloister.certificates import Identity, PrivateKey, identities, pem, profile, startup_folder
from cloister.documents import load
from cloister.files import write_atomically
from cloister.flare.session import PersonSession
from cloister.provisioning import Authority, KitPaths
from cloister.provisioning.authority import AUTHORITY_FOLDER
from cloister.provisioning.granting import grant_renewals
from cloister.provisioning.publication import publish
from cloister.provisioning.revoking import revoke
from cloister.roster import ROSTER, Federation
from cloister.trust import trust_in_force

SECONDS = 60.0


@dataclass
class OfflineAuthority:
    """The authority of the federation in ``root``, in a folder of its own.

    Attributes:
        root: the federation's folder.
        folder: where the authority is now.
        refused: why requests were not answered.
        held_back: names of those whose requests are left lying.
    """

    root: Path
    folder: Path
    refused: dict[str, str] = field(default_factory=dict)
    held_back: set[str] = field(default_factory=set)

    @classmethod
    def taken_from(cls, root: Path, folder: Path) -> OfflineAuthority:
        shutil.move(root / ".cloister" / AUTHORITY_FOLDER, folder)
        return cls(root, folder)

    @property
    def authority(self) -> Authority:
        return Authority.open(self.folder)

    @property
    def federation(self) -> Federation:
        return load(self.root / ROSTER, Federation).value

    @property
    def state(self) -> Path:
        return self.root / ".cloister"

    def workspace(self, name: str) -> Path:
        identity = next(each for each in identities(self.federation) if each.name == name)
        return startup_folder(self.state, identity).parent

    def certificate_of(self, name: str) -> x509.Certificate:
        return pem.read_certificate(self._entry(name)[1].certificate)

    def publish(self) -> bytes:
        return publish(self.authority, self.federation, datetime.now(UTC))

    def revoke(self, name: str, reason: str) -> bytes:
        """Revoke everything of ``name``; returns the roster that says so."""
        revoke(self.authority, name, reason, datetime.now(UTC))
        return self.publish()

    def answer(self, session: PersonSession) -> set[str]:
        """Carry requests to the authority and its answers back; returns who was given a certificate."""
        requests = {name: content for name, content in session.collect().items() if name not in self.held_back}
        if not requests:
            return set()
        granted, refused = grant_renewals(self.authority, self.federation, requests, datetime.now(UTC))
        self.refused |= {name: str(error) for name, error in refused.items()}
        taken = session.deposit([self.publish()], granted)
        assert taken["refused"] == {}, taken
        return set(granted)

    def issue(self, name: str, begin: datetime, lifetime: timedelta) -> bytes:
        """A recorded certificate of ``name`` for the key that it has; it counts once the next roster is published."""
        identity, paths = self._entry(name)
        return self.authority.sign(PrivateKey.load(paths.key).request(identity), identity, lifetime, begin)

    def lay_down(self, name: str, certificate: bytes) -> None:
        """Put a certificate where the key of ``name`` is, as somebody with a new kit does."""
        write_atomically(self._entry(name)[1].certificate, certificate)

    def _entry(self, name: str) -> tuple[Identity, KitPaths]:
        identity = next(each for each in identities(self.federation) if each.name == name)
        return identity, KitPaths.of(self.workspace(name) / "startup", identity)

    def sign_by_a_side_door(self, name: str) -> bytes:
        """A certificate of ``name`` that the authority signed and has no record of."""
        identity, paths = self._entry(name)
        authority, key = self.authority, PrivateKey.load(paths.key).public_key
        builder = profile.leaf_builder(identity, key, authority.certificate, timedelta(days=30), datetime.now(UTC))
        return pem.certificate_pem(authority.key_of(authority.certificate).certify(builder))

    def latest(self) -> bytes:
        """The roster that was published last."""
        return max((self.folder / "rosters").glob("[0-9]*.json")).read_bytes()

    def wait_for_roster(self, *names: str) -> None:
        """Wait until everybody named has the latest roster."""
        version = max(int(path.stem) for path in (self.folder / "rosters").glob("[0-9]*.json"))
        wait(lambda: all(trust_in_force(self.workspace(name)).version == version for name in names), "the roster")


def wait(until: object, what: str, seconds: float = SECONDS) -> float:
    """Wait until something is true; returns how many seconds that took."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        if until():  # type: ignore[operator]
            return time.monotonic() - begun
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s")
