# SPDX-License-Identifier: Apache-2.0
"""The units, as systemd's own tool reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cloister.deploy.systemd import Machine, authority_units, systemd_files
from cloister.errors import UsageError
from tests.deploy.folder import AT, services

PROGRAM = str(Path(sys.executable).with_name("cloister"))
MACHINE = Machine(AT, PROGRAM, runtime=(sys.base_prefix,))

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed, which reads the units"
)


def units(root: Path, machine: Machine = MACHINE) -> dict[str, str]:
    server, site = services(root)
    return systemd_files(server, machine) | systemd_files(site, machine) | authority_units("tiny", machine)


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    names = units(tmp_path / "federation", Machine(AT, PROGRAM, passphrase=True))
    for name, text in names.items():
        (tmp_path / name).write_text(text)
    command = [
        "systemd-analyze",
        "verify",
        "--man=no",
        "--recursive-errors=no",
        *(str(tmp_path / name) for name in names),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize(
    ("name", "most"),
    [("cloister-coordinator.service", 1.5), ("cloister-alpha.service", 3.0), ("cloister-authority.service", 1.5)],
)
def test_little_is_exposed(tmp_path: Path, name: str, most: float) -> None:
    path = tmp_path / name
    path.write_text(units(tmp_path / "federation")[name])
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None
    assert float(found[1]) <= most


def test_a_unit_says_what_the_documents_say(tmp_path: Path) -> None:
    unit = units(tmp_path)["cloister-alpha.service"]
    assert values(unit, "ExecStart") == [f"{PROGRAM} serve alpha --folder {AT}"]
    assert values(unit, "MemoryMax") == ["8192M"]
    assert values(unit, "TasksMax") == ["640"]
    (mounts,) = values(unit, "RequiresMountsFor")
    assert f"{AT}/records/alpha.csv" in mounts.split()
    assert values(unit, "User") == ["cloister"]
    assert values(unit, "Restart") == ["on-failure"]


# Tried one by one with systemd 252: under each of these bubblewrap does not work.
@pytest.mark.parametrize(
    "line",
    [
        r"RestrictNamespaces=",
        r"ProtectKernelTunables=yes",
        r"ProtectHostname=yes",
        r"ProcSubset=pid",
    ],
)
def test_nothing_forbids_the_sandbox_of_a_site(tmp_path: Path, line: str) -> None:
    made = units(tmp_path)
    assert not re.search(rf"^{line}", made["cloister-alpha.service"], re.MULTILINE)
    assert re.search(rf"^#   {line.partition('=')[0]}=", made["cloister-alpha.service"], re.MULTILINE)
    if "ProcSubset" not in line:  # psutil reads /proc/stat
        assert re.search(rf"^{line}", made["cloister-coordinator.service"], re.MULTILINE)


def test_the_sandbox_of_a_site_has_what_it_needs(tmp_path: Path) -> None:
    unit = units(tmp_path)["cloister-alpha.service"]
    (families,) = values(unit, "RestrictAddressFamilies")
    assert "AF_NETLINK" in families.split()
    assert {"@mount", "sethostname"} <= set(values(unit, "SystemCallFilter")[0].split())


def test_a_passphrase_is_a_credential(tmp_path: Path) -> None:
    assert not values(units(tmp_path)["cloister-alpha.service"], "LoadCredential")
    unit = units(tmp_path, Machine(AT, PROGRAM, passphrase=True))["cloister-alpha.service"]
    assert values(unit, "LoadCredential") == ["cloister-passphrase:/etc/cloister/alpha.passphrase"]
    assert "Environment" not in unit


def test_the_authoritys_key_is_out_of_a_units_sight(tmp_path: Path) -> None:
    made = units(tmp_path)
    for name in ("cloister-alpha.service", "cloister-coordinator.service"):
        assert f"-{AT}/.cloister/authority" in values(made[name], "InaccessiblePaths")[0].split()


def test_an_authority_elsewhere_goes_to_the_server_and_back() -> None:
    here = authority_units("tiny", MACHINE)["cloister-authority.service"]
    assert values(here, "ExecStart") == [f"{PROGRAM} authority approve --renewals --folder {AT}"]
    elsewhere = authority_units("tiny", MACHINE, "ivan@research.example")["cloister-authority.service"]
    assert [line.split()[2] for line in values(elsewhere, "ExecStart")] == ["collect", "approve", "deposit"]


def test_what_lies_in_a_home_is_seen(tmp_path: Path) -> None:
    _, site = services(tmp_path)
    homely = systemd_files(site, Machine("/home/ivan/federation", "/opt/cloister/bin/cloister"))
    assert values(homely["cloister-alpha.service"], "ProtectHome") == ["read-only"]


@pytest.mark.parametrize("path", ["/tmp/federation", "/var/tmp/federation"])
def test_what_a_service_does_not_see_is_refused(tmp_path: Path, path: str) -> None:
    _, site = services(tmp_path)
    with pytest.raises(UsageError, match="temporary files"):
        systemd_files(site, Machine(path, PROGRAM))


@pytest.mark.parametrize("path", ["federation", "/srv/../etc", "/srv/a\nExecStart=/bin/sh", "/srv/a\x00b"])
def test_a_path_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    _, site = services(tmp_path)
    for machine in (Machine(path, PROGRAM), Machine(AT, path)):
        with pytest.raises(UsageError, match="absolute path"):
            systemd_files(site, machine)


@pytest.mark.parametrize("user", ["", "a b", "root\nGroup=x", "%i"])
def test_a_user_that_is_none_is_refused(tmp_path: Path, user: str) -> None:
    _, site = services(tmp_path)
    with pytest.raises(UsageError, match="no name of a user"):
        systemd_files(site, Machine(AT, PROGRAM, user=user))


@needs_systemd
@pytest.mark.parametrize("folder", ["/srv/a b", "/srv/100%", '/srv/"quoted"', "/srv/$HOME", "/srv/it's", "/srv/\\x41"])
def test_a_path_stays_one_path(tmp_path: Path, folder: str) -> None:
    _, site = services(tmp_path / "federation")
    path = tmp_path / "cloister-alpha.service"
    path.write_text(systemd_files(site, Machine(folder, PROGRAM))[path.name])
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
