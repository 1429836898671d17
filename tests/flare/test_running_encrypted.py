# SPDX-License-Identifier: Apache-2.0
"""A real federation whose keys are all encrypted: it runs a job, and shows neither keys, passphrase nor tokens."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives import serialization

from cloister.certificates import identities, passphrase, pem
from cloister.certificates.identity import lifetime
from cloister.certificates.keys import is_encrypted
from cloister.certificates.passphrase import FILE, VARIABLE
from cloister.flare.opened_key import NUMBER, PATH
from cloister.provisioning import Authority, hand_out
from cloister.provisioning.renewal import install_certificate, read_renewal, request_renewal
from cloister.trust import trust_in_force
from tests.federation_folder import SITES, make_federation
from tests.flare.live import Live
from tests.key_watch import Report, Watching
from tests.leaks import holding, in_the_clear, key_files

pytestmark = pytest.mark.flare

SECRET = "a passphrase that stands nowhere else"
_TRAINER = "cloister.training"
_TOKENS = ("NVFLARE_JOB_AUTH_TOKEN", "NVFLARE_JOB_TOKEN_SIGNATURE")


@dataclass
class Seen:
    """What was seen of the federation's processes while a job ran.

    Attributes:
        words: arguments and environment of each, by name of the process and what it is.
        trainers: of each trainer: environment and where its descriptors lead to.
        opened: names of those that had an opened key.
        tokens: what NVFlare gave its job processes to prove themselves with.
    """

    words: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    trainers: dict[int, tuple[bytes, list[str]]] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    tokens: set[bytes] = field(default_factory=set)

    def look(self, process: psutil.Process) -> None:
        folder = Path(f"/proc/{process.pid}")
        arguments, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        name = f"{process.pid} {arguments.decode()}"
        if name not in self.words or environment:
            self.words[name] = arguments, environment
        leads = []
        for each in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                leads.append(str(each.readlink()))
        if _TRAINER in name:
            self.trainers[process.pid] = environment, leads
        elif any("cloister-key" in lead for lead in leads):
            self.opened.add(name)
        for line in environment.split(b"\0"):
            variable, _, value = line.partition(b"=")
            if variable.decode() in _TOKENS and value not in arguments:  # the server's own is the job's identifier
                self.tokens.add(value)


@dataclass
class World:
    """A federation that has run a job, and what was seen meanwhile."""

    live: Live
    seen: Seen
    phase: str
    watched: Report

    def secrets(self) -> list[bytes]:
        """What must be nowhere: the passphrase, the opened keys, NVFlare's tokens."""
        keys = [line for path in key_files(self.live.root) for line in in_the_clear(path)]
        return [SECRET.encode(), *keys, *self.seen.tokens]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        secret = tmp_path_factory.mktemp("secret") / "passphrase"
        secret.write_text(SECRET + "\n", encoding="utf-8")
        secret.chmod(0o600)
        passphrase.forget()
        patch.setenv(FILE, str(secret))
        live, temporary = (
            Live(make_federation(tmp_path_factory.mktemp("encrypted"))),
            tmp_path_factory.mktemp("temporary"),
        )
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", None)
        earlier, watching = os.umask(0), Watching(live.root, temporary)
        watched = watching.__enter__()
        try:
            live.cli("provision")
            live.cli("policy", "sign")
            with pytest.MonkeyPatch.context() as weakest:
                weakest.delenv(FILE)
                weakest.setenv(VARIABLE, SECRET)  # the worst place is taken, to see that nobody inherits it
                live.cli("up")
            seen = Seen()
            with live.session() as session:
                job_id = live.submit()
                while not (view := session.job(job_id)).finished:
                    for process in with_children(live):
                        with contextlib.suppress(OSError, psutil.Error):
                            seen.look(process)
                    time.sleep(0.2)
            live.cli("job", "fetch", job_id)
            yield World(live, seen, str(view.status), watched)
        finally:
            live.cli("down", expect=None)
            watching.__exit__()
            os.umask(earlier)
            passphrase.forget()


def with_children(live: Live) -> list[psutil.Process]:
    found = {process.pid: process for process in live.processes()}
    for process in list(found.values()):
        with contextlib.suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    return list(found.values())


def test_every_key_is_encrypted_and_the_job_is_done(world: World) -> None:
    found = key_files(world.live.root)
    assert len(found) == 1 + 1 + len(SITES) + len(world.live.local.federation.people)
    assert all(is_encrypted(path) for path in found)
    assert "COMPLETED" in world.phase
    reports = world.live.json("audit", "verify")
    assert all(report["broken"] is None for report in reports)


def test_server_sites_and_their_jobs_have_opened_it_and_no_trainer_has(world: World) -> None:
    opened = world.seen.opened
    for words in ("cloister.flare.start\0server", "cloister.flare.server_process"):
        assert any(words in name for name in opened), words
    for site in SITES:
        assert any("cloister.flare.start\0site" in name and f"/sites/{site}\0" in name for name in opened)
        assert any("cloister.flare.site_process" in name and f"/sites/{site}\0" in name for name in opened)
    assert len(world.seen.trainers) >= len(SITES)
    for environment, leads in world.seen.trainers.values():
        assert leads
        assert not [lead for lead in leads if "memfd" in lead or "client.key" in lead or lead.endswith("passphrase")]
        assert b"PASSPHRASE" not in environment


def test_no_process_shows_a_secret(world: World) -> None:
    seen = world.seen
    assert len(seen.words) >= 2 * (1 + len(SITES))
    assert len(seen.tokens) >= 2 * len(SITES)  # of NVFlare's own job processes, in whose environment they stand
    secrets = world.secrets()
    mine = [secret for secret in secrets if secret not in seen.tokens]
    for name, (arguments, environment) in seen.words.items():
        assert not [secret for secret in [b"PRIVATE KEY", *secrets] if secret in arguments], name
        assert not [secret for secret in [b"PRIVATE KEY", FILE.encode(), *mine] if secret in environment], name
    for environment, _ in seen.trainers.values():
        assert not [secret for secret in secrets if secret in environment]


def test_no_file_holds_a_secret(world: World) -> None:
    """Logs, kits, rosters, the mailbox, jobs, results, documents: everything in the federation's folder."""
    assert len([path for path in world.live.root.rglob("*") if path.is_file()]) > 100
    assert holding(world.live.root, world.secrets()) == []


def test_a_renewed_key_is_opened_by_who_runs(world: World) -> None:
    """By the site's process, under the same number, and the site stays connected with its new certificate."""
    live, now = world.live, datetime.now(UTC)
    state, federation = live.local.state, live.local.federation
    workspace = state.site("alpha")
    identity = next(each for each in identities(federation) if each.name == "alpha")
    process = live.process_of("cloister.flare.start", str(workspace))
    there = Path(f"/proc/{process.pid}/fd/{NUMBER}")
    before = there.read_bytes()
    authority = Authority.open(state.folder / "authority")
    request = request_renewal(workspace, identity, now, new_key=True)
    csr = read_renewal(request, trust_in_force(workspace), now).csr_pem
    certificate = authority.sign(csr, identity, lifetime(federation, identity), now)
    hand_out(authority, federation, state.folder, now)
    assert install_certificate(workspace, identity, certificate, now)
    assert is_encrypted(workspace / "startup" / "client.key")
    deadline = time.monotonic() + 30
    while there.read_bytes() == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    opened = serialization.load_pem_private_key(there.read_bytes(), None)
    assert opened.public_key() == pem.read_certificate(workspace / "startup" / "client.crt").public_key()
    time.sleep(5)
    with live.session() as session:
        assert session.connected_sites() == list(SITES)
        job_id = live.submit()
        view = live.wait(session, job_id, lambda view: view.finished)
    assert "COMPLETED" in str(view.status)
    live.cli("job", "fetch", job_id)
    assert set(live.sites_of_result(job_id)) == set(SITES)


def test_no_key_was_readable_by_others_at_any_moment(world: World) -> None:
    """From the first command on, under a umask that takes nothing away."""
    assert {Path(path).name for path in world.watched.keys} >= {
        "authority.key",
        "server.key",
        "client.key",
        "split.key",
    }
    assert world.watched.looks > 1000
    assert world.watched.exposed == set()


def test_the_path_in_the_kit_is_the_one_in_memory(world: World) -> None:
    for site in SITES:
        kit = world.live.local.state.site(site) / "startup" / "fed_client.json"
        assert f'"ssl_private_key": "{PATH}"' in kit.read_text(encoding="utf-8")
