# SPDX-License-Identifier: Apache-2.0
"""Whoever leaves takes along what NVFlare's own tools accept and start."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from cloister.certificates import identities
from cloister.documents import load
from cloister.errors import ProvisioningError
from cloister.flare import export
from cloister.flare.export import export_kits
from cloister.nvflare_project.plain import project_text
from cloister.provisioning import provision
from cloister.roster import Federation
from tests.federation_folder import OFFICER, PERSON, make_federation

pytestmark = pytest.mark.slow
NVFLARE = Path(sys.executable).with_name("nvflare")
SECONDS = 90


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A provisioned federation."""
    folder = make_federation(tmp_path_factory.mktemp("federation"))
    provision(roster_of(folder), folder / ".cloister", datetime.now(UTC))
    return folder


def roster_of(root: Path) -> Federation:
    return load(root / "provisioning" / "federation.yaml", Federation).value


def exported(root: Path, folder: Path, port: int = 8002, *, open_keys: bool = False) -> tuple[set[str], dict[str, str]]:
    folder.mkdir(mode=0o700)
    roster = roster_of(root)
    made, left = export_kits(roster, identities(roster), root / ".cloister", port, folder, open_keys=open_keys)
    return set(made), {each.name: each.why for each in left}


def environment(home: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(home), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def test_everybody_whose_key_is_here_has_a_kit_and_nothing_is_open_to_others(root: Path, tmp_path: Path) -> None:
    made, left = exported(root, tmp_path / "kits")
    assert made == {"coordinator", "alpha", "beta", "gamma", PERSON, OFFICER}
    assert left == {}
    everything = [tmp_path / "kits", *(tmp_path / "kits").rglob("*")]
    assert [path for path in everything if stat.S_IMODE(path.lstat().st_mode) & 0o077] == []
    assert [path.name for path in (tmp_path / "kits").iterdir()] != []
    assert not [path for path in (tmp_path / "kits").iterdir() if path.name.startswith((".", "tmp"))]


def test_kits_hold_the_keys_and_certificates_that_participants_have(root: Path, tmp_path: Path) -> None:
    exported(root, tmp_path / "kits")
    state, kits = root / ".cloister", tmp_path / "kits"
    for kit, startup, stem in (
        ("coordinator", state / "server" / "startup", "server"),
        ("alpha", state / "sites" / "alpha" / "startup", "client"),
        (PERSON, state / "people" / PERSON / "startup", "client"),
    ):
        for name in (f"{stem}.crt", "rootCA.pem"):
            assert (kits / kit / "startup" / name).read_bytes() == (startup / name).read_bytes()
        ours, theirs = (
            serialization.load_pem_private_key((folder / f"{stem}.key").read_bytes(), None)
            for folder in (startup, kits / kit / "startup")
        )
        assert ours.private_numbers() == theirs.private_numbers()  # type: ignore[union-attr]


def test_kits_have_what_nvflare_starts_from(root: Path, tmp_path: Path) -> None:
    exported(root, tmp_path / "kits", 9123)
    kits = tmp_path / "kits"
    server = json.loads((kits / "coordinator" / "startup" / "fed_server.json").read_text())
    client = json.loads((kits / "alpha" / "startup" / "fed_client.json").read_text())
    admin = json.loads((kits / PERSON / "startup" / "fed_admin.json").read_text())["admin"]
    assert server["servers"][0]["admin_port"] == 9123
    assert client["servers"][0]["service"] == {"target": "localhost:9123", "scheme": "grpc"}
    assert client["servers"][0]["identity"] == "coordinator"
    assert client["require_signed_jobs"] is server["require_signed_jobs"] is True
    assert (admin["username"], admin["host"], admin["port"]) == (PERSON, "localhost", 9123)
    for kit in ("coordinator", "alpha"):
        assert os.access(kits / kit / "startup" / "start.sh", os.X_OK)
    rights = json.loads((kits / "alpha" / "local" / "authorization.json").read_text())["permissions"]
    assert rights["data-scientist"] == rights["lead"]
    assert rights["compliance-officer"] == rights["member"]
    assert rights["it-admin"] == rights["project_admin"]


def test_whoever_has_no_key_here_has_no_kit(root: Path, tmp_path: Path) -> None:
    elsewhere = make_federation(tmp_path / "federation")
    (elsewhere / ".cloister" / "sites").mkdir(parents=True)
    (root / ".cloister" / "sites" / "alpha").rename(elsewhere / ".cloister" / "sites" / "alpha")
    try:
        made, left = exported(elsewhere, tmp_path / "kits")
    finally:
        (elsewhere / ".cloister" / "sites" / "alpha").rename(root / ".cloister" / "sites" / "alpha")
    assert made == {"alpha"}
    assert set(left) == {"coordinator", "beta", "gamma", PERSON, OFFICER}
    assert set(left.values()) == {"has no key on this machine"}


def test_an_encrypted_key_is_opened_only_where_that_is_asked_for(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOISTER_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    (tmp_path / "passphrase").write_text("correct horse battery staple")
    (tmp_path / "passphrase").chmod(0o600)
    path = root / ".cloister" / "sites" / "gamma" / "startup" / "client.key"
    plain = path.read_bytes()
    key = serialization.load_pem_private_key(plain, None)
    scheme = serialization.BestAvailableEncryption(b"correct horse battery staple")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, scheme))
    try:
        made, left = exported(root, tmp_path / "kits")
        assert left == {"gamma": "has an encrypted key, which NVFlare cannot open"}
        assert "gamma" not in made and not (tmp_path / "kits" / "gamma").exists()
        made, left = exported(root, tmp_path / "opened", open_keys=True)
        assert "gamma" in made and left == {}
        assert b"ENCRYPTED" not in (tmp_path / "opened" / "gamma" / "startup" / "client.key").read_bytes()
    finally:
        path.write_bytes(plain)


def test_builders_that_fail_make_no_kit(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "prepare_project", lambda _: 1 / 0)
    with pytest.raises(ProvisioningError, match="NVFlare's own builders cannot make kits"):
        exported(root, tmp_path / "kits")
    assert list((tmp_path / "kits").iterdir()) == []


def test_nvflare_provisions_from_the_project(root: Path, tmp_path: Path) -> None:
    (tmp_path / "project.yml").write_text(project_text(roster_of(root), 8002), encoding="utf-8")
    done = subprocess.run(
        [str(NVFLARE), "provision", "-p", "project.yml", "-w", "workspace"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = tmp_path / "workspace" / "tiny" / "prod_00"
    assert {path.name for path in made.iterdir()} == {"coordinator", "alpha", "beta", "gamma", PERSON, OFFICER}
    assert (made / "alpha" / "startup" / "client.key").exists()


@contextmanager
def started(kits: Path, *names: str) -> Iterator[None]:
    """Kits started by the script that NVFlare put into them, each in a session of its own."""
    processes = []
    try:
        for name in names:
            with (kits.parent / f"{name}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        ["bash", "startup/sub_start.sh", "--once"],
                        cwd=kits / name,
                        env=environment(kits.parent),
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        yield
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


_ASK = """
import sys, time
from nvflare.fuel.flare_api.flare_api import new_secure_session
person, kit = sys.argv[1:]
session = new_secure_session(username=person, startup_kit_location=kit, timeout=30)
for _ in range(60):
    names = sorted(each.name for each in session.get_system_info().client_info)
    if len(names) == 2:
        break
    time.sleep(0.5)
print("SITES", *names)
print("JOBS", session.list_jobs())
session.close()
"""


@pytest.mark.flare
def test_nvflare_runs_from_the_kits_without_cloister(root: Path, tmp_path: Path) -> None:
    port = free_port()
    exported(root, tmp_path / "kits", port)
    kits = tmp_path / "kits"
    # NVFlare keeps its jobs in a folder that everybody on the machine shares; what a test leaves there, others find.
    for path in (kits / "coordinator" / "local").iterdir():
        path.write_text(
            path.read_text(encoding="utf-8").replace("/tmp/nvflare", str(tmp_path / "jobs")), encoding="utf-8"
        )
    with started(kits, "coordinator"):
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("localhost", port)) == 0:
                    break
            time.sleep(0.2)
        with started(kits, "alpha", "beta"):
            done = subprocess.run(
                [sys.executable, "-c", _ASK, PERSON, str(kits / PERSON)],
                cwd=tmp_path,
                env=environment(tmp_path),
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
    assert "SITES alpha beta" in done.stdout, done.stdout + done.stderr
    assert "JOBS []" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "jobs").is_dir()
