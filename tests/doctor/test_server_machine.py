# SPDX-License-Identifier: Apache-2.0
"""What is looked at where the server's key lies, and what a person's session adds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister import __version__
from cloister.certificates import pem
from cloister.doctor import Level, ServerState
from cloister.doctor.server import judge_mailbox, judge_own_port
from cloister.errors import FederationError
from cloister.flare.port import free_port
from cloister.trust import mailbox, roster_file
from tests.doctor import listeners
from tests.doctor.world import World, codes
from tests.federation_folder import PERSON

SERVER = "coordinator"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def machine(world: World) -> World:
    """The server's own machine: its workspace lies where the documents are."""
    home = world.root / ".cloister" / "server"
    shutil.copytree(world.server, home)
    return world


def test_a_server_that_does_not_run_and_may_have_its_port_is_in_order(machine: World) -> None:
    machine.listens_on(free_port())
    findings = machine.findings(SERVER)
    assert codes(findings) == set()
    assert "D0204" in {each.code for each in findings}
    assert any("is free for the server, which does not run" in each.message for each in findings)


def test_a_server_that_a_service_manager_runs_is_known_by_its_certificate(machine: World) -> None:
    with machine.serving():
        findings = machine.findings(SERVER)
    assert codes(findings) == set()
    assert any("the server runs and has port" in each.message for each in findings)


def test_a_port_that_another_program_has_is_told_with_its_name(machine: World) -> None:
    with listeners.listening(listeners.greeting(b"SSH-2.0-x\r\n")) as port:
        machine.listens_on(port)
        findings = machine.findings(SERVER)
    assert codes(findings) == {"D1601"}
    (told,) = [each for each in findings if each.code == "D1601"]
    assert f"(process {os.getpid()}), and the server does not run" in told.message


def test_a_certificate_that_does_not_name_every_host_is_told(machine: World) -> None:
    server = machine.document.server.model_copy(update={"other_hosts": ("127.0.0.1", "fl.example")})
    machine.publish(federation=machine.document.model_copy(update={"server": server}))
    shutil.copy(roster_file(machine.workspace), roster_file(machine.root / ".cloister" / "server"))
    findings = machine.findings(SERVER)
    assert {"D1602", "D0610"} <= codes(findings)
    (told,) = [each for each in findings if each.code == "D1602"]
    assert told.message.startswith("the server's certificate does not name `fl.example`")


def test_a_server_that_runs_on_with_an_old_certificate_is_told(machine: World) -> None:
    other = machine.server_certificate()
    content = other.read_bytes()
    print_ = pem.fingerprint(pem.parse_certificate(content, "x"))
    old = machine.trust.pins[SERVER]
    machine.publish(pins=machine.renamed_pins(SERVER, old | {print_}))
    home = machine.root / ".cloister" / "server"
    shutil.copy(roster_file(machine.workspace), roster_file(home))
    (home / "startup" / "server.crt").write_bytes(content)
    with machine.serving():  # with the old one
        findings = machine.findings(SERVER)
    assert codes(findings) == set()
    assert "D1603" in {each.code for each in findings}


def test_requests_that_wait_too_long_are_told(machine: World) -> None:
    folder = machine.root / ".cloister" / "server" / mailbox.FOLDER
    mailbox.put_request(folder, "alpha", b"{}")
    mailbox.put_request(folder, PERSON, b"{}")
    assert "D1604" not in {each.code for each in machine.findings(SERVER)}
    past = (datetime.now(UTC) - timedelta(days=5, minutes=1)).timestamp()
    os.utime(folder / "requests" / f"{PERSON}.json", (past, past))
    (told,) = [each for each in machine.findings(SERVER) if each.code == "D1604"]
    assert told.message == f"1 requests wait in the mailbox, that of `{PERSON}` for 5 days 1 minute"


def test_a_newer_roster_in_the_mailbox_is_told(world: World) -> None:
    (told,) = judge_mailbox({}, 7, world.trust, NOW)
    assert (told.code, "version 7 of the roster lies in the mailbox" in told.message) == ("D1605", True)
    (told,) = judge_mailbox({"alpha": NOW}, world.trust.version, world.trust, NOW)
    assert (told.code, told.message) == ("D1600", "1 requests wait in the mailbox")


@pytest.mark.parametrize(
    ("port", "runs", "free", "code"),
    [
        (None, False, True, "D1600"),
        (8002, True, False, "D1600"),
        (8002, True, True, "D0204"),
        (8002, False, True, "D1600"),
        (8002, False, False, "D1601"),
    ],
)
def test_every_state_of_the_port(port: int | None, runs: bool, free: bool, code: str) -> None:
    assert judge_own_port(port, runs=runs, free=free, holder="").code == code


def state(off: timedelta = timedelta(), version: str = __version__) -> Callable[[Path, str], ServerState]:
    return lambda _workspace, _person: ServerState(NOW + off, NOW, version)


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (state(timedelta(minutes=7)), "D0503"),
        (state(version="9.9"), "D1303"),
    ],
)
def test_a_session_compares_clock_and_version(world: World, ask: Callable[[Path, str], ServerState], code: str) -> None:
    with world.serving():
        assert codes(world.findings(PERSON, ask_server=ask)) == {code}
        assert codes(world.findings(PERSON, ask_server=state(timedelta(minutes=2)))) == set()


def test_a_server_that_opens_no_session_is_told(world: World) -> None:
    def ask(_workspace: Path, _person: str) -> ServerState:
        raise FederationError("the server does not accept `ada@research.example`")

    with world.serving():
        findings = world.findings(PERSON, ask_server=ask)
    assert codes(findings) == {"D0316"}
    told = next(each for each in findings if each.code == "D0316")
    assert told.level is Level.PROBLEM
    assert told.message.endswith("does not accept `ada@research.example`")


def test_no_session_is_tried_where_tls_is_not_in_order(world: World) -> None:
    def ask(_workspace: Path, _person: str) -> ServerState:
        raise AssertionError("was asked")

    with world.serving(certificate=world.server_certificate(begun=timedelta(days=1))):
        assert codes(world.findings(PERSON, ask_server=ask)) == {"D0307"}


def test_of_several_people_the_first_opens_a_session(world: World) -> None:
    asked: list[str] = []

    def ask(_workspace: Path, person: str) -> ServerState:
        asked.append(person)
        return ServerState(NOW, NOW, __version__)

    with world.serving():
        assert codes(world.findings("", ask_server=ask)) == set()
    assert asked == [PERSON]
