# SPDX-License-Identifier: Apache-2.0
"""`cloister serve`: what this process becomes, and what is left alone on the way there."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from cloister.audit import Log
from cloister.errors import ExitStatus
from cloister.file_lock import locked
from cloister.files import sha256_of_file, write_json
from cloister.flare.audit_log import log_of_site, record_start
from cloister.flare.launcher import MARKER
from cloister.flare.state import SiteSettings
from cloister.governance.replay import ReplayCache
from cloister.provisioning.replacement import FOLDER
from tests.cli.commands import cloister
from tests.deploy.folder import deployable

pytestmark = pytest.mark.slow


class BecameError(BaseException):
    """Stands for the moment at which this process would be another one."""

    def __init__(self, program: str, command: list[str], environment: dict[str, str]) -> None:
        super().__init__(program)
        self.command, self.environment, self.folder = command, environment, Path.cwd()


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = deployable(tmp_path_factory.mktemp("federation"))
    assert cloister("provision", "--folder", root).status == 0
    return root


@pytest.fixture
def root(provisioned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of a provisioned federation; where it would become another process, `serve` raises instead."""

    def become(program: str, command: list[str], environment: dict[str, str]) -> NoReturn:
        raise BecameError(program, command, environment)

    monkeypatch.setattr(os, "execve", become)
    here, stdin = Path.cwd(), os.dup(0)
    yield Path(shutil.copytree(provisioned, tmp_path / "federation"))
    os.chdir(here)
    os.dup2(stdin, 0)
    os.close(stdin)


def served(root: Path, name: str) -> BecameError:
    with pytest.raises(BecameError) as became:
        cloister("serve", name, "--folder", root)
    return became.value


@pytest.mark.parametrize(
    ("name", "kind", "place"), [("coordinator", "server", "server"), ("alpha", "site", "sites/alpha")]
)
def test_it_becomes_the_process_that_up_would_start(root: Path, name: str, kind: str, place: str) -> None:
    workspace = root / ".cloister" / place
    became = served(root, name)
    assert became.command[1:] == ["-m", "cloister.flare.start", kind, str(workspace), str(root), "8002"]
    assert became.folder == workspace
    assert became.environment[MARKER] == json.loads((root / ".cloister/mark").read_text())
    assert not {"CLOISTER_PASSPHRASE", "CREDENTIALS_DIRECTORY"} & set(became.environment)


def test_the_process_is_found_by_its_name_afterwards(root: Path) -> None:
    served(root, "alpha")
    (entry,) = json.loads((root / ".cloister/processes.json").read_text())
    assert (entry["name"], entry["pid"]) == ("alpha", os.getpid())
    assert abs(entry["started"] - psutil.Process().create_time()) < 1
    served(root, "alpha")  # a process that is restarted may bear its predecessor's number


def test_what_runs_already_is_not_started_twice(root: Path) -> None:
    other = psutil.Process(os.getppid())
    entry = {"name": "alpha", "pid": other.pid, "started": other.create_time()}
    write_json(root / ".cloister/processes.json", [entry])
    done = cloister("serve", "alpha", "--folder", root)
    assert done.status == ExitStatus.FAILED
    assert f"`alpha` runs already, as process {other.pid}" in done.err
    served(root, "coordinator")  # and what another does is its own affair
    names = {each["name"] for each in json.loads((root / ".cloister/processes.json").read_text())}
    assert names == {"alpha", "coordinator"}


@pytest.mark.parametrize("name", ["beta-2", "ada@research.example", "../sites/alpha", "sites", ""])
def test_who_has_no_kit_here_is_not_served(root: Path, name: str) -> None:
    done = cloister("serve", name, "--folder", root)
    assert done.status == ExitStatus.FAILED
    assert f"no kit of `{name}` lies on this machine" in done.err


def test_a_kit_whose_key_is_missing_is_not_served(root: Path) -> None:
    (root / ".cloister/sites/alpha/startup/client.key").unlink()
    assert cloister("serve", "alpha", "--folder", root).status == ExitStatus.FAILED


def test_a_machine_needs_no_other_participants_workspace(root: Path) -> None:
    for place in ("authority", "server", "people", "sites/beta", "sites/gamma"):
        shutil.rmtree(root / ".cloister" / place)
    for name in ("beta", "gamma"):
        (root / f"silos/{name}.yaml").unlink()
        (root / f"policies/{name}.yaml").unlink()
    served(root, "alpha")


def test_a_renewal_that_was_begun_is_finished_first(root: Path) -> None:
    workspace = root / ".cloister/sites/alpha"
    ready = workspace / FOLDER / "ready"
    ready.mkdir(parents=True, mode=0o700)
    names = ("client.key", "client.crt")
    before = {name: (workspace / "startup" / name).read_bytes() for name in names}
    for name in names:
        (ready / name).write_bytes(before[name])
        (workspace / "startup" / name).write_bytes(b"half written")
    served(root, "alpha")
    assert {name: (workspace / "startup" / name).read_bytes() for name in names} == before
    assert not ready.exists()


def _digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): sha256_of_file(path) for path in files}


def test_an_upgrade_keeps_key_policy_log_and_all_that_is_remembered(root: Path, tmp_path: Path) -> None:
    """Over what an earlier version left, only the configuration is written anew."""
    served(root, "alpha")
    workspace = root / ".cloister/sites/alpha"
    log: Log = log_of_site(SiteSettings.read(workspace))
    record_start(log, workspace / "startup/client.crt")
    ReplayCache(workspace).claim("0" * 32, "a-job", datetime.now(UTC))
    (workspace / "policy-versions.json").write_text('{"alpha": {"version": 7}}\n')
    (workspace / "split.key").write_bytes(bytes(32))
    (workspace / "budget.json").write_text('{"spent": 1.5}\n')
    for name in ("local/resources.json", "startup/fed_client.json"):  # as an earlier version wrote them
        (workspace / name).write_text("{}\n")
    before, documents = _digests(root / ".cloister"), _digests(root / "policies")

    out = tmp_path / "units"
    for name in ("coordinator", "alpha"):
        for _ in range(2):
            done = cloister("deploy", "systemd", name, "--folder", root, "--at", "/srv/cloister", "--out", out)
            assert done.status == 0, done.err
    served(root, "alpha")

    after = _digests(root / ".cloister")
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed <= {"processes.json", "sites/alpha/local/resources.json", "sites/alpha/startup/fed_client.json"}
    assert {"sites/alpha/local/resources.json", "sites/alpha/startup/fed_client.json"} <= changed
    assert _digests(root / "policies") == documents


def test_services_that_start_at_once_wait_for_each_other(root: Path) -> None:
    held = threading.Event()

    def hold() -> None:
        with locked(root / ".cloister/lock"):
            held.set()
            time.sleep(1)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    served(root, "alpha")
    other.join()


def test_a_folder_from_before_there_were_signed_rosters_keeps_every_file(root: Path) -> None:
    state = root / ".cloister"
    for name in ("authority/rosters", "server/mailbox"):
        shutil.rmtree(state / name)
    for folder in [*state.glob("*/trust"), *state.glob("*/*/trust")]:
        shutil.rmtree(folder)
    before = _digests(state)
    refused = cloister("serve", "alpha", "--folder", root)
    assert (refused.status, "no kit of `alpha`" in refused.err) == (ExitStatus.FAILED, True)
    done = cloister("provision", "--folder", root, "--json")
    assert {entry["created"] for entry in done.value["issued"]} == {False}
    served(root, "alpha")
    after = _digests(state)
    assert {name for name, digest in before.items() if after.get(name) != digest} == set()
