# SPDX-License-Identifier: Apache-2.0
"""`cloister deploy`: what is written, what is refused, and that no secret gets into any file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloister.errors import ExitStatus
from tests.cli.commands import Done, cloister
from tests.deploy.folder import AT, deployable

WAYS = {"systemd": ["--at", AT], "compose": ["--at", AT], "helm": []}
MADE = {
    "systemd": {"cloister-alpha.service"},
    "compose": {"compose.yaml", "Dockerfile", "seccomp.json"},
    "helm": {"Chart.yaml", "values.yaml", "values.schema.json", "image/Dockerfile", "node/cloister/site.json"},
}


def deploy(way: str, name: str, root: Path, out: Path, *options: str) -> Done:
    return cloister("deploy", way, name, "--folder", root, "--out", out, *WAYS[way], *options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return deployable(tmp_path / "federation")


@pytest.mark.parametrize("way", WAYS)
def test_files_are_written_and_named(way: str, root: Path, tmp_path: Path) -> None:
    done = deploy(way, "alpha", root, tmp_path / "out", "--json")
    assert done.status == 0, done.err
    assert MADE[way] <= set(done.value["made"])
    assert all((tmp_path / "out" / name).is_file() for name in done.value["made"])
    again = deploy(way, "alpha", root, tmp_path / "out", "--json").value
    assert (again["made"], set(again["kept"])) == ([], set(done.value["made"]))


@pytest.mark.parametrize("way", WAYS)
def test_an_edited_file_is_kept(way: str, root: Path, tmp_path: Path) -> None:
    (name,) = sorted(MADE[way])[:1]
    deploy(way, "alpha", root, tmp_path / "out")
    (tmp_path / "out" / name).write_text("# by hand\n")
    done = deploy(way, "alpha", root, tmp_path / "out")
    assert done.status == ExitStatus.USAGE
    assert "changed by somebody else" in done.err
    assert (tmp_path / "out" / name).read_text() == "# by hand\n"
    assert deploy(way, "alpha", root, tmp_path / "out", "--force").status == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("launcher", ["docker", "k8s", "slurm", "lsf"])
def test_other_launchers_are_refused_before_anything_is_written(
    way: str, launcher: str, root: Path, tmp_path: Path
) -> None:
    done = deploy(way, "alpha", root, tmp_path / "out", "--launcher", launcher)
    assert done.status == ExitStatus.USAGE
    assert "launcher" in done.err
    assert not (tmp_path / "out").exists()
    assert deploy(way, "alpha", root, tmp_path / "out", "--launcher", "process").status == 0


def test_the_authority_has_a_timer(root: Path, tmp_path: Path) -> None:
    done = deploy("systemd", "authority", root, tmp_path / "out", "--json")
    assert set(done.value["made"]) == {"cloister-authority.service", "cloister-authority.timer"}


def test_only_an_it_admin_goes_to_the_server_for_the_authority(root: Path, tmp_path: Path) -> None:
    done = deploy("systemd", "authority", root, tmp_path / "out", "--as", "ada@research.example")
    assert done.status == ExitStatus.USAGE
    assert "no it-admin" in done.err


SECRETS = ("hunter2-of-the-environment", "hunter2-of-a-file", "hunter2-of-a-database", "hunter2-of-a-key")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["coordinator", "alpha"])
def test_no_secret_is_in_any_file(
    way: str, name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets lie wherever a process of this machine could find one; none gets into what is made."""
    table = {"kind": "postgresql", "host": "records.example", "database": "ward", "user": "reader", "table": "notes"}
    connector = table | {"path": None, "password": {"file": "secrets/ward"}}
    deployable(root, silo={"datasets": {"clinical-notes": {"connector": connector}}})
    monkeypatch.setenv("CLOISTER_PASSPHRASE", SECRETS[0])
    passphrase = tmp_path / "passphrase"
    monkeypatch.setenv("CLOISTER_PASSPHRASE_FILE", str(passphrase))
    places = {passphrase: SECRETS[1], root / "secrets/ward": SECRETS[2]}
    for place in ("authority/authority.key", "server/startup/server.key", "sites/alpha/startup/client.key"):
        places[root / ".cloister" / place] = f"-----BEGIN PRIVATE KEY-----\n{SECRETS[3]}\n-----END PRIVATE KEY-----\n"
    for path, text in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    done = deploy(way, name, root, tmp_path / "out", "--passphrase")
    assert done.status == 0, done.err
    text = "\n".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not re.search("|".join([*SECRETS, "PRIVATE KEY"]), text + done.out + done.err)
    assert "passphrase" in text
