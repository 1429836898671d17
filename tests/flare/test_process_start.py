# SPDX-License-Identifier: Apache-2.0
"""What a server's or a site's process is started with, and what of a passphrase's goes along."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import PrivateKey, passphrase
from cloister.certificates.passphrase import CREDENTIALS, DESCRIPTOR, FILE, VARIABLE, Passphrase
from cloister.errors import ProvisioningError
from cloister.flare import processes
from cloister.flare.process_start import Start, start_of
from cloister.flare.processes import LocalFederation
from cloister.roster import Federation
from tests.federation_folder import default_roster

SECRET = "a passphrase that is long enough"


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey(rsa.generate_private_key(65537, 3072))


@pytest.fixture(autouse=True)
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A passphrase, in the worst of places."""
    for name in (FILE, CREDENTIALS, DESCRIPTOR):
        monkeypatch.delenv(name, raising=False)
    passphrase.forget()
    monkeypatch.setenv(VARIABLE, SECRET)
    yield
    passphrase.forget()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "alpha" / "startup").mkdir(parents=True)
    return tmp_path / "alpha"


def begin(workspace: Path) -> Start:
    return start_of("site", workspace, workspace.parent, 8002, "mark")


def test_the_passphrase_stands_in_no_variable_and_no_argument(workspace: Path, key: PrivateKey) -> None:
    key.write(workspace / "startup" / "client.key")
    start = begin(workspace)
    assert start.passphrase is not None
    assert start.passphrase.reveal() == SECRET.encode()
    assert not [word for word in (*start.command, *start.environment.values()) if SECRET in word]
    assert not {VARIABLE, FILE, CREDENTIALS} & set(start.environment)
    assert SECRET not in repr(start)


def test_a_key_of_another_or_none_does_not_start(
    workspace: Path, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace / "startup" / "client.key"
    key.write(path, Passphrase(b"another one's passphrase"))
    with pytest.raises(ProvisioningError, match="does not open with the passphrase"):
        begin(workspace)
    path.unlink()
    assert passphrase.own() is not None
    passphrase.forget()  # the variable is gone by now
    key.write(path)
    monkeypatch.setenv(VARIABLE, SECRET)
    with pytest.raises(ProvisioningError, match="is not encrypted, although a passphrase is given for it"):
        begin(workspace)


def test_up_hands_it_to_the_process_on_a_pipe(tmp_path: Path, key: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    roster = Federation.model_validate_json(json.dumps(default_roster()))
    local = LocalFederation(tmp_path / "federation", roster)
    local.state.make()
    (local.state.site("alpha") / "startup").mkdir(parents=True)
    key.write(local.state.site("alpha") / "startup" / "client.key")
    look = "import os, sys; sys.stdout.write(os.read(0, 100).decode() + ' ' + os.environ[sys.argv[1]])"

    def trivial(*arguments: str | Path | int) -> Start:
        start = start_of(*arguments)  # type: ignore[arg-type]
        return Start([start.command[0], "-c", look, DESCRIPTOR], start.environment, start.folder, start.passphrase)

    monkeypatch.setattr(processes, "start_of", trivial)
    running = local._spawn("alpha", 8002)
    psutil.Process(running.pid).wait(20)
    assert local.state.log("alpha").read_text() == f"{SECRET} 0"
