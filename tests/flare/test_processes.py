# SPDX-License-Identifier: Apache-2.0
"""Starting, finding and stopping, with trivial processes in the place of NVFlare's."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cloister.errors import FederationError, ProvisioningError
from cloister.flare import process_tree
from cloister.flare.launcher import MARKER
from cloister.flare.processes import LocalFederation
from cloister.flare.running import Running, write_running
from cloister.roster import Federation
from tests.federation_folder import default_roster

# Each writes its number into the file it is given once it is as it should be, then stays.
_STAY = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(60)"
_DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _STAY


def parent_of(child: str, how: str) -> str:
    """A program that starts ``child`` as it says ``how``, and stays as well."""
    begin = f"subprocess.Popen([sys.executable, '-S', '-c', {child!r}, sys.argv[1]], {how})"
    return f"import subprocess, sys; {begin}; {_STAY}"


Begin = Callable[..., list[psutil.Process]]


def local_of(folder: Path, **server: object) -> LocalFederation:
    roster = default_roster()
    roster["server"] |= server
    local = LocalFederation(folder, Federation.model_validate_json(json.dumps(roster)))
    local.state.make()
    return local


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalFederation:
    monkeypatch.setattr(process_tree, "_STOP_SECONDS", 0.1)
    return local_of(tmp_path / "federation")


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a program under a mark and waits until so many processes have told their numbers."""
    started: list[psutil.Process] = []

    def start(program: str, mark: str | None, count: int = 1) -> list[psutil.Process]:
        told = tmp_path / f"told-{len(started)}"
        environment = {"PATH": os.environ["PATH"]} | ({MARKER: mark} if mark is not None else {})
        subprocess.Popen([sys.executable, "-S", "-c", program, str(told)], env=environment, start_new_session=True)
        deadline = time.monotonic() + 20
        while not told.exists() or len(told.read_text().splitlines()) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        found = [psutil.Process(int(line)) for line in told.read_text().splitlines()]
        started.extend(found)
        return found

    yield start
    for process in started:
        if process.is_running():
            process.kill()
    for child in psutil.Process().children():
        if child in started:
            child.wait(5)


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_mark_is_random_private_and_stays(local: LocalFederation, tmp_path: Path) -> None:
    assert local.mark() == local.mark()
    assert len(local.mark()) == 32
    assert local_of(tmp_path / "other").mark() != local.mark()
    assert (local.state.folder / "mark").stat().st_mode & 0o777 == 0o600


def test_without_a_mark_nothing_is_ours(local: LocalFederation, begin: Begin) -> None:
    begin(_STAY, None)
    begin(_STAY, "")
    assert local.marked() == []


@pytest.mark.parametrize("text", ["", "null", '""', "5", "[]", "not json"])
def test_a_damaged_mark_is_an_error_and_no_match(local: LocalFederation, text: str) -> None:
    (local.state.folder / "mark").write_text(text)
    with pytest.raises(FederationError, match="mark"):
        local.stop()


def test_stop_ends_what_bears_the_mark_and_nothing_else(local: LocalFederation, begin: Begin, tmp_path: Path) -> None:
    (ours,) = begin(_STAY, local.mark())
    (theirs,) = begin(_STAY, local_of(tmp_path / "other").mark())
    (nobodys,) = begin(_STAY, None)
    assert local.stop() == [f"process {ours.pid}"]  # it was never written down, so it has no name
    assert gone(ours)
    assert not gone(theirs)
    assert not gone(nobodys)


def test_stop_ends_children_that_shed_the_mark(local: LocalFederation, begin: Begin) -> None:
    family = begin(parent_of(_STAY, "env={}"), local.mark(), 2)
    local.stop()
    assert all(gone(process) for process in family)


def test_stop_ends_orphans(local: LocalFederation, begin: Begin) -> None:
    family = begin(parent_of(_STAY, "start_new_session=True"), local.mark(), 2)
    parent = next(process for process in family if any(child in family for child in process.children()))
    (orphan,) = [process for process in family if process != parent]
    parent.kill()
    deadline = time.monotonic() + 5
    while orphan.ppid() == parent.pid:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    local.stop()
    assert gone(orphan)


def test_stop_kills_what_does_not_listen(local: LocalFederation, begin: Begin) -> None:
    family = begin(parent_of(_DEAF, "env={}"), local.mark(), 2)
    local.stop()
    assert all(gone(process) for process in family)


def test_stop_ends_what_was_halted(local: LocalFederation, begin: Begin) -> None:
    (process,) = begin(_STAY, local.mark())
    process.send_signal(signal.SIGSTOP)
    local.stop()
    assert gone(process)


def test_stop_where_nothing_was_ever_started(tmp_path: Path) -> None:
    roster = Federation.model_validate_json(json.dumps(default_roster()))
    assert LocalFederation(tmp_path / "nothing", roster).stop() == []
    assert not (tmp_path / "nothing").exists()


# --- what was written down


def test_names_of_what_runs_are_remembered(local: LocalFederation, begin: Begin) -> None:
    (process,) = begin(_STAY, local.mark())
    write_running(
        local.state.processes, [Running("alpha", process.pid, process.create_time()), Running("beta", process.pid, 1.0)]
    )
    assert list(local.running()) == ["alpha"]  # beta's number is another process's by now
    local.check_alive(["alpha"])
    assert local.stop() == ["alpha"]
    assert local.running() == {}


def test_a_process_that_ended_is_told_with_its_last_words(local: LocalFederation) -> None:
    local.state.log("alpha").write_text("starting\ncloister: the kit is not in order\n\n")
    with pytest.raises(FederationError, match="`alpha` ended: cloister: the kit is not in order"):
        local.check_alive(["alpha"])
    assert local.last_words("beta") == "it printed nothing"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "5",
        "{}",
        '["alpha"]',
        '[{"name": "alpha"}]',
        '[{"name": "alpha", "pid": "x", "started": 1}]',
        '[{"name": "alpha", "pid": -1, "started": 1}]',
        '[{"name": "alpha", "pid": 1e400, "started": 1}]',
        '[{"name": "alpha", "pid": 99999999999999999999999, "started": 1}]',
        '[{"name": "alpha", "pid": 1, "started": NaN}]',
        "\x00",
    ],
)
def test_a_damaged_record_hides_no_process(local: LocalFederation, begin: Begin, text: str) -> None:
    (process,) = begin(_STAY, local.mark())
    local.state.processes.write_text(text)
    assert local.running() == {}
    local.stop()
    assert gone(process)


# --- ports


def listener(port: int = 0) -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", port))
    listening.listen()
    return listening


def test_a_free_port_is_chosen_once_and_remembered(local: LocalFederation) -> None:
    assert local.remembered_port() is None
    port = local._port(taken_by_us=False)
    assert local.remembered_port() == local._port(taken_by_us=False) == port


def test_a_remembered_port_that_others_took_is_replaced(local: LocalFederation) -> None:
    with listener(local._port(taken_by_us=False)) as taken:
        port = taken.getsockname()[1]
        assert local._port(taken_by_us=True) == port
        assert local._port(taken_by_us=False) != port


def test_a_port_of_the_document_is_used_or_refused(tmp_path: Path) -> None:
    with listener() as taken:
        port = int(taken.getsockname()[1])
        local = local_of(tmp_path, port=port)
        with pytest.raises(FederationError, match=f"port {port} is taken by another program"):
            local._port(taken_by_us=False)
        assert local.remembered_port() is None
    assert local._port(taken_by_us=False) == port


@pytest.mark.parametrize("text", ["", "null", "[]", '{"port": "x"}', '{"port": null}'])
def test_a_damaged_port_is_forgotten(local: LocalFederation, text: str) -> None:
    local.state.port.write_text(text)
    assert local.remembered_port() is None
    assert 1024 <= local._port(taken_by_us=False) <= 65535


def test_waiting_for_a_port(local: LocalFederation) -> None:
    with listener(local._port(taken_by_us=False)):
        local.wait_until_listening(1)
    with pytest.raises(FederationError, match="`coordinator` ended"):
        local.wait_until_listening(1)


def test_waiting_has_an_end(local: LocalFederation, begin: Begin) -> None:
    (process,) = begin(_STAY, local.mark())
    write_running(local.state.processes, [Running("coordinator", process.pid, process.create_time())])
    local._port(taken_by_us=False)
    with pytest.raises(FederationError, match="did not open port"):
        local.wait_until_listening(0.2)


# --- starting


def test_two_commands_at_once_are_one_too_many(local: LocalFederation) -> None:
    descriptor = os.open(local.state.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(FederationError, match="another `cloister` command"):
            local.start()
        with pytest.raises(FederationError, match="another `cloister` command"):
            local.stop()
    finally:
        os.close(descriptor)
    assert local.stop() == []


def test_nothing_starts_without_keys(local: LocalFederation) -> None:
    with pytest.raises(ProvisioningError) as caught:
        local.start()
    assert "cloister provision" in str(caught.value) or caught.value.hint
    assert local.running() == {}
    assert local.marked() == []
