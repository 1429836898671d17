# SPDX-License-Identifier: Apache-2.0
"""The units in a real systemd: server and site start, connect, are stopped, and the site's sandbox works inside."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.deploy.reading import read_service
from cloister.deploy.systemd import Machine, authority_units, systemd_files
from cloister.files import write_atomically
from cloister.sandbox import confine, missing
from cloister.sandbox.bubblewrap import _ISOLATION
from cloister.sandbox.confine import Confinement
from tests.cli.commands import cloister
from tests.deploy.booted import boot, cannot_boot
from tests.federation_folder import make_federation

pytestmark = [pytest.mark.flare, pytest.mark.slow]

SITES = ("alpha", "beta", "gamma")
PORT = 8002


@pytest.fixture
def federation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A provisioned federation with encrypted keys, in a folder that services see, unlike pytest's own."""
    if reason := cannot_boot():
        pytest.skip(reason)
    root = Path(tempfile.mkdtemp(prefix="cloister-test-", dir="/var/lib"))
    try:
        make_federation(root, roster={"server": {"host": "localhost", "port": PORT}})
        for name in ("coordinator", "alpha", "authority"):
            write_atomically(root / f"{name}.passphrase", b"as long as a passphrase has to be\n")
        with monkeypatch.context() as patch:
            patch.setenv("CLOISTER_PASSPHRASE_FILE", str(root / "alpha.passphrase"))
            assert cloister("provision", "--folder", root).status == 0
        for key in ("server/startup/server.key", "sites/alpha/startup/client.key"):
            assert "ENCRYPTED" in (root / ".cloister" / key).read_text()
        yield root
    finally:
        shutil.rmtree(root)


def units(root: Path) -> dict[str, str]:
    # The tests' interpreter may lie where no other user gets to, so root's rights are taken away rather than a user's.
    program = str(Path(sys.executable).with_name("cloister"))
    machine = Machine(str(root), program, user="root", passphrase=True, runtime=(sys.base_prefix,))
    made = authority_units("tiny", machine)
    for name in ("coordinator", "alpha"):
        made |= systemd_files(read_service(root, name), machine)
    return {name: text.replace("/etc/cloister/", f"{root}/") for name, text in made.items()}


def sandbox_probe(text: str, confine: Path) -> str:
    """The site's unit with bubblewrap as its program, started as the trainer's is; `nobody` runs it."""
    confinement = Confinement(python="/usr/bin/python3", address_space=2**34, processes=64, filtered=True)
    inside = [str(confine) if word.endswith("confine.py") else word for word in confinement.argv()]
    shown = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--remount-ro", "/proc"]
    argv = ["/usr/bin/bwrap", *_ISOLATION, *shown, "--", *inside, "/usr/bin/echo", "the sandbox works"]
    other = ("ExecStart=", "Restart", "Type=", "WorkingDirectory=")
    lines = [line for line in text.splitlines() if not line.startswith(other)]
    at = lines.index("[Service]") + 1
    said = ["StandardOutput=file:/run/probe", "StandardError=file:/run/probe"]
    lines[at:at] = ["Type=oneshot", "WorkingDirectory=/", f"ExecStart={shlex.join(argv)}", *said]
    return "\n".join(lines).replace("User=root", "User=nobody").replace("Group=root\n", "")


def test_the_units_start_stop_and_leave_the_sandbox_working(federation: Path) -> None:
    if (reason := missing()) or not Path("/usr/bin/python3").exists():
        pytest.skip(reason or "the machine has no Python that every user may run")
    federation.chmod(0o755)
    confine_py = shutil.copy(confine.__file__, federation / "confine.py")
    Path(confine_py).chmod(0o644)
    made = units(federation)
    made["probe.service"] = sandbox_probe(made["cloister-alpha.service"], Path(confine_py))
    connected = f"{sys.executable} -m cloister.flare.connected"
    script = f"""
    set -e
    wait_for() {{ for n in $(seq 240); do "$@" && return; sleep 0.5; done; echo "not in time: $*"; return 1; }}
    trap 'systemctl --no-pager --full status "cloister-*"' ERR
    systemctl start cloister-coordinator.service
    wait_for {connected} server {PORT}
    echo listening
    systemctl start cloister-alpha.service
    wait_for {connected} site {PORT}
    echo connected
    systemctl start probe.service; cat /run/probe
    systemctl start cloister-authority.service
    systemctl show --value -p Result cloister-authority.service
    systemctl is-active cloister-coordinator.service cloister-alpha.service
    systemctl kill --signal=KILL --kill-whom=main cloister-alpha.service
    restarts() {{ systemctl show --value -p NRestarts cloister-alpha.service; }}
    once() {{ [ "$(restarts)" = 1 ]; }}
    wait_for once
    wait_for {connected} site {PORT}
    echo connected again
    systemctl stop cloister-alpha.service cloister-coordinator.service
    systemctl show --value -p Result cloister-alpha.service cloister-coordinator.service | xargs
    """
    said = boot(made, script, 300)
    assert said.splitlines() == [
        "listening",
        "connected",
        "the sandbox works",
        "success",
        "active",
        "active",
        "connected again",
        "success success",
    ]
    audit = federation / ".cloister" / "sites" / "alpha" / "audit"
    events = [json.loads(line) for path in audit.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert "(SIGTERM)" in json.dumps([event["facts"] for event in events[-2:]])
