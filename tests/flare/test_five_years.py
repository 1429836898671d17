# SPDX-License-Identifier: Apache-2.0
"""Five years of a federation, day by day, with a clock that the test moves; what runs is what runs at real sites.

Certificates of ninety days, keys of a year, an authority whose key is offline and whose operator comes by twice a
week, participants who are away for weeks at a time, one authority that hands over to the next, and two revocations. No
file is edited. Every day each participant who is there must get through to the server, and the server to them; and
every week a growing crowd of people with bad certificates must not.
"""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
import typer.main
import typer.testing
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner

from cloister.certificates import PrivateKey, identities, lifetime, pem
from cloister.cli.main import app
from cloister.errors import CertificateError
from cloister.flare.letters import exchange_letters
from cloister.flare.mailbox import Mailbox
from cloister.flare.trust_watch import TrustWatch
from cloister.flare.upkeep import exchange_at_server
from cloister.provisioning import Authority
from cloister.roster import Federation
from cloister.trust.mailbox import grants_in, put_request, requests_in, rosters_after
from tests.flare.handshake_at import shake_hands
from tests.provisioning.remote import Machine, machines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

BEGIN = datetime(2027, 1, 4, 9, 0, tzinfo=UTC)
YEARS = 5
SERVER, OPERATOR, STOLEN, LEAVER = "coordinator", "ivan@research.example", "hospital-river", "lea@research.example"
DOCUMENT: Mapping[str, Any] = {
    "federation": "five-years",
    "server": {"name": SERVER, "organisation": "institute", "host": "localhost", "port": 8002},
    "authority": {"roster_days": 30},
    "lifetimes": {"server_days": 90, "site_days": 90, "person_days": 90, "key_days": 365},
    "sites": [
        {"name": "hospital-north", "organisation": "north"},
        {"name": STOLEN, "organisation": "river"},
        {"name": "hospital-hill", "organisation": "hill"},
    ],
    "people": [
        {"name": LEAVER, "organisation": "institute", "role": "data-scientist"},
        {"name": OPERATOR, "organisation": "institute", "role": "it-admin"},
    ],
}


@dataclass
class Thief:
    """Somebody with files that must not count; or that count until a day.

    Attributes:
        what: how they came by them.
        files: key, certificate and roots.
        good_until: up to when the files count as well.
    """

    what: str
    files: tuple[Path, Path, Path]
    good_until: datetime | None = None


@dataclass
class Years:
    """The world.

    Attributes:
        root: everybody's folders.
        federation: the roster's document.
        now: what time it is.
        away: until when each participant is away.
        gone: who does not come back.
        thieves: who tries to get in.
        watches: everybody's look at their roster.
        seen: what was counted.
    """

    root: Path
    federation: Federation
    now: datetime = BEGIN
    away: dict[str, datetime] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    thieves: list[Thief] = field(default_factory=list)
    watches: dict[str, TrustWatch] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def everybody(self) -> Mapping[str, Machine]:
        return machines(self.root, self.federation)

    @property
    def server(self) -> Machine:
        return self.everybody[SERVER]

    def watch(self, machine: Machine) -> TrustWatch:
        """The roster in force at somebody's, as the process that runs there for years has it."""
        name = machine.identity.name
        return self.watches.setdefault(name, TrustWatch(machine.workspace, lambda: self.now))

    def cli(self, folder: str, *arguments: str, status: int = 0) -> Any:
        """One command in somebody's folder, as at a keyboard."""
        done = CliRunner().invoke(app, [*arguments, "-C", str(self.root / folder), "--json"])
        found = 0 if done.exception is None else getattr(done.exception, "exit_status", done.exit_code)
        assert int(found) == status, f"{arguments}: {done.exception!r}\n{done.output}"
        return json.loads(done.stdout) if done.stdout.strip().startswith("{") else None

    def authority(self) -> Authority:
        return Authority.open(self.root / "authority" / ".cloister" / "authority")

    def enrol(self, name: str, *more: str) -> None:
        """Key, request, approval by telephone, kit, joining: five commands."""
        kind = self.everybody[name].identity.kind
        self.cli(name, kind, "init", name, *more)
        request = self.root / "post" / f"{name}.json"
        key = self.cli(name, kind, "request", name, "--out", str(request))["key_sha256"]
        made = self.cli(
            "authority", "authority", "approve", str(request), "--fingerprint", key, "--out", str(self.root / "post")
        )
        fingerprint = self.authority().fingerprint
        self.cli(name, kind, "join", made["approved"][0]["kit"], "--fingerprint", fingerprint)

    def carry(self) -> None:
        """The operator: requests from the server to the authority, answers, and back."""
        with_authority = self.root / "authority" / ".cloister" / "authority" / "mailbox"
        mailbox = Mailbox(self.server.workspace, self.watch(self.server))
        for name, content in requests_in(mailbox.folder).items():
            put_request(with_authority, name, content)
        refused = self.cli("authority", "authority", "approve", "--renewals")["refused"]
        assert set(refused) <= self.gone, refused
        brought = {
            "rosters": [content.decode() for content in rosters_after(with_authority, 0)],
            "grants": {name: content.decode() for name, content in grants_in(with_authority).items()},
        }
        mailbox.deposit(self.everybody[OPERATOR].identity, brought)

    def is_away(self, name: str) -> bool:
        return self.now < self.away.get(name, BEGIN)

    def connect(self, machine: Machine) -> None:
        """One participant's day: through to the server, and its letters. The server itself has its own."""
        name, server = machine.identity.name, self.server
        watch, mailbox = self.watch(machine), Mailbox(server.workspace, self.watch(server))
        if name == SERVER:
            changed = exchange_letters(name, watch, lambda body: exchange_at_server(mailbox, machine.identity, body))
        else:
            shown = machine.paths.certificate.read_bytes()
            try:
                assert self.watch(server).holder(shown) == machine.identity
                assert watch.holder(server.paths.certificate.read_bytes()) == server.identity
            except CertificateError as error:
                raise AssertionError(f"{self.now:%Y-%m-%d}: `{name}` was refused: {error}") from error
            self.seen["good"] += 1
            changed = exchange_letters(name, watch, lambda body: mailbox.sync(machine.identity, body))
        if changed:
            self.seen[f"renewed {machine.identity.kind}"] += 1
            machine.works(self.now)
        assert not watch.trust().is_stale(self.now), f"{self.now:%Y-%m-%d}: the roster of `{name}` is stale"

    def keep_copy(self, name: str, what: str, good_until: datetime | None = None) -> None:
        """Somebody copies the files of ``name``, and keeps them."""
        folder = self.root / "thieves" / str(len(self.thieves))
        folder.mkdir(parents=True)
        paths = self.everybody[name].paths
        found = tuple(Path(shutil.copy2(path, folder)) for path in (paths.key, paths.certificate, paths.root))
        self.thieves.append(Thief(what, (found[0], found[1], found[2]), good_until))

    def make_rogue(self, what: str, authority: Authority, *, recorded: bool) -> None:
        """A key and a certificate for a site, signed with an authority's key and in no record."""
        who = self.everybody["hospital-north"].identity
        folder = self.root / "thieves" / str(len(self.thieves))
        folder.mkdir(parents=True)
        key = PrivateKey.generate()
        key.write(folder / "client.key")
        content = authority.sign(key.request(who), who, lifetime(self.federation, who), self.now)
        serial = pem.parse_certificate(content, "rogue").serial_number
        if not recorded:
            (authority.folder / "issued" / f"{serial:040x}.pem").unlink()
        (folder / "client.crt").write_bytes(content)
        shutil.copy2(self.server.paths.root, folder / "rootCA.pem")
        self.thieves.append(Thief(what, (folder / "client.key", folder / "client.crt", folder / "rootCA.pem")))

    def try_thieves(self) -> None:
        """Nobody of them gets past both OpenSSL and the server's look at the roster."""
        paths = self.server.paths
        server = (paths.key, paths.certificate, paths.root)
        for thief in self.thieves:
            if thief.good_until is not None and self.now <= thief.good_until:
                continue
            # A thief knows the roots, as anybody may.
            through = shake_hands(server, (thief.files[0], thief.files[1], paths.root), self.now)
            try:
                self.watch(self.server).holder(thief.files[1].read_bytes())
            except CertificateError:
                through = False
            assert not through, f"{self.now:%Y-%m-%d}: {thief.what} got in"
            self.seen["bad"] += 1

    def try_tls(self) -> None:
        """Everybody who is there shakes hands with the server by OpenSSL, at the time that it is here."""
        paths = self.server.paths
        server = (paths.key, paths.certificate, paths.root)
        for name, machine in self.everybody.items():
            if name not in self.gone and name != SERVER and not self.is_away(name):
                own = machine.paths
                assert shake_hands(server, (own.key, own.certificate, own.root), self.now), (
                    f"{self.now:%Y-%m-%d}: {name}"
                )
                self.seen["handshakes"] += 1


@pytest.fixture(autouse=True)
def built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the command line once, and prove the primes of each key once: both take a good part of a second."""
    monkeypatch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
    monkeypatch.setattr(serialization, "load_pem_private_key", functools.cache(serialization.load_pem_private_key))


@pytest.fixture
def years(tmp_path: Path) -> Years:
    federation = Federation.model_validate_json(json.dumps(DOCUMENT))
    found = Years(tmp_path, federation)
    for name in ("authority", "post", *(each.name for each in identities(federation))):
        (tmp_path / name / "provisioning").mkdir(parents=True)
        (tmp_path / name / "provisioning" / "federation.yaml").write_text(json.dumps(DOCUMENT))
    return found


def test_five_years_without_a_hand_on_a_file(years: Years, tmp_path: Path) -> None:
    chance = random.Random(2027)
    first_roots: set[str] = set()
    handing_over = ""
    with time_machine.travel(BEGIN, tick=False) as clock:
        years.cli("authority", "authority", "init")
        first_roots = {pem.fingerprint(root) for root in years.authority().roots}
        for name in years.everybody:
            years.enrol(name)
        years.make_rogue("a signature of the authority that nobody recorded", years.authority(), recorded=False)
        other = Authority.create(tmp_path / "other", years.federation, BEGIN)
        years.make_rogue("an authority of the same name", other, recorded=True)
        years.carry()
        for day in range(1, YEARS * 365 + 1):
            years.now = BEGIN + timedelta(days=day)
            clock.move_to(years.now, tick=False)
            handing_over = _what_happens(years, day, handing_over)
            if day % 3 == 0 and (requests_in(years.server.workspace / "mailbox") or day % 15 == 0):
                years.carry()
            for name, machine in years.everybody.items():
                if name not in years.gone and not years.is_away(name):
                    before = machine.paths.certificate.read_bytes()
                    years.connect(machine)
                    if name != SERVER and machine.paths.certificate.read_bytes() != before and chance.random() < 0.2:
                        _keep_earlier(years, machine, before)
                if name not in (SERVER, OPERATOR) and chance.random() < 0.01:
                    years.away[name] = years.now + timedelta(days=chance.randint(2, 24))
            if day % 7 == 0:
                years.try_tls()
                years.try_thieves()
    (tmp_path / "seen.json").write_text(json.dumps(years.seen))
    assert handing_over == "over"
    assert first_roots.isdisjoint(pem.fingerprint(root) for root in years.authority().roots)
    assert years.seen["good"] > 5000
    assert years.seen["bad"] > 3000
    assert years.seen["handshakes"] > 700
    assert years.seen["renewed site"] > 60
    _check_keys_were_renewed(years)


def _what_happens(years: Years, day: int, handing_over: str) -> str:
    """The events of these years, by the day; returns how far the authority has handed over."""
    if day == 400:
        years.keep_copy(STOLEN, "whoever stole the laptop of a hospital")
        years.cli("authority", "authority", "revoke", STOLEN, "--reason", "its laptop was stolen")
        years.enrol(STOLEN, "--replace")
        years.away.pop(STOLEN, None)
        years.carry()
    if day == 1300:
        years.keep_copy(LEAVER, "somebody who was dismissed")
        years.cli("authority", "authority", "revoke", LEAVER, "--reason", "has left the institute")
        years.gone.add(LEAVER)
        years.carry()
    if day == 900:
        years.cli("authority", "authority", "rotate")
        years.carry()
        return "announced"
    if day == 940:
        years.cli("authority", "authority", "rotate", "--switch")
        years.carry()
        return "switched"
    if handing_over == "switched" and day % 7 == 0:
        waiting = years.cli("authority", "authority", "list")
        assert len(waiting["authorities"]) == 2
        if not _not_renewed(years):
            for name in ("hospital-north", "hospital-hill"):
                years.keep_copy(name, f"an old copy of {name}", years.now + timedelta(days=365))
            years.cli("authority", "authority", "rotate", "--finish")
            years.carry()
            return "over"
    return handing_over


def _not_renewed(years: Years) -> bool:
    from cloister.provisioning.rotation import not_renewed

    authority = years.authority()
    # Those who have a new certificate may not have fetched it yet: nobody is to be locked out.
    fetched = all(
        pem.read_certificate(machine.paths.certificate).issuer == authority.certificate.subject
        and authority.anchors.issuer_of(pem.read_certificate(machine.paths.certificate)) == authority.certificate
        for name, machine in years.everybody.items()
        if name not in years.gone
    )
    return bool(not_renewed(authority, years.federation, years.now)) or not fetched


def _keep_earlier(years: Years, machine: Machine, certificate: bytes) -> None:
    """Somebody kept a certificate from before a renewal: it counts until it ends, and not a day longer."""
    until = pem.parse_certificate(certificate, "earlier").not_valid_after_utc
    years.keep_copy(machine.identity.name, f"a certificate of {machine.identity.name} that has ended", until)
    years.thieves[-1].files[1].write_bytes(certificate)


def _check_keys_were_renewed(years: Years) -> None:
    """Each key is at most a year and a renewal old."""
    for name, machine in years.everybody.items():
        if name not in years.gone:
            since = json.loads((machine.workspace / "renewal" / "key.json").read_bytes())["since"]
            assert years.now - datetime.fromtimestamp(since, UTC) < timedelta(days=365 + 90), name
