# SPDX-License-Identifier: Apache-2.0
"""Who is put out, and whose session counts, at a server that is made of values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.fuel.f3.message import Message
from nvflare.fuel.hci.server.constants import ConnProps
from nvflare.fuel.hci.server.login import LoginModule

from cloister.certificates import Identity
from cloister.errors import CertificateError
from cloister.flare.closing import PutOut, bind_sessions, close_strangers, fits, watch_connections
from cloister.flare.connections import CERTIFICATE, SENDER
from cloister.flare.state import State
from cloister.flare.trust_watch import TrustWatch
from tests.federation_folder import OFFICER, PERSON
from tests.flare.signed_jobs import provisioned
from tests.flare.wire import undone_after, until


@dataclass
class Line:
    """A connection, as the server knows it; its certificate is a name."""

    name: str
    process: str
    closed: bool = False
    cancelled: bool = False

    @property
    def context(self) -> Any:
        return self

    def cancel(self) -> None:
        self.cancelled = True

    @property
    def conn(self) -> Any:
        return self

    def get_conn_properties(self) -> dict[str, Any]:
        return {CERTIFICATE: self.name.encode(), "peer_cn": self.name} if self.name else {}

    def close(self) -> None:
        self.closed = True

    @property
    def sfm_endpoint(self) -> Any:
        return SimpleNamespace(endpoint=SimpleNamespace(name=self.process)) if self.process else None


@dataclass
class Server:
    """NVFlare's server with its connections, its registered sites and its sessions."""

    lines: list[Line]
    registered: dict[str, str] = field(default_factory=dict)
    sessions: list[Any] = field(default_factory=list)
    shutdown: bool = False

    @property
    def cell(self) -> Any:
        manager = SimpleNamespace(sfm_conns={str(number): line for number, line in enumerate(self.lines)})
        return SimpleNamespace(core_cell=SimpleNamespace(communicator=SimpleNamespace(conn_manager=manager)))

    @property
    def client_manager(self) -> Any:
        return SimpleNamespace(
            get_clients=lambda: {token: SimpleNamespace(name=name) for token, name in self.registered.items()}
        )

    @property
    def admin_server(self) -> Any:
        return SimpleNamespace(sess_mgr=self)

    def logout_client(self, token: str) -> None:
        del self.registered[token]

    def get_sessions(self) -> list[Any]:
        return list(self.sessions)

    def end_session_by_id(self, sess_id: str) -> None:
        self.sessions = [each for each in self.sessions if each.sess_id != sess_id]


def holder(certificate: bytes) -> Identity:
    """Everybody is who they say, but for those who are revoked."""
    name = certificate.decode()
    if name.startswith("revoked"):
        raise CertificateError(f"`{name}` was revoked")
    return Identity(name.removesuffix("-earlier"), "institute", "site")


def test_whoever_is_nobody_is_put_out_and_everybody_else_stays() -> None:
    lines = [
        Line("alpha", "alpha"),
        Line("revoked", "revoked"),
        Line("revoked", "revoked.job"),
        Line("revoked-person", "_admin_1"),
        Line("", "server.job"),
        Line("revoked-without-a-word", ""),
    ]
    sessions = [SimpleNamespace(user_name=name, sess_id=name) for name in ("ada", "revoked-person")]
    server = Server(lines, {"1": "alpha", "2": "revoked"}, sessions)
    told: list[PutOut] = []
    closed = close_strangers(server, holder, told.append)
    assert [line.process for line in lines if line.closed] == ["revoked", "revoked.job", "_admin_1", ""]
    assert closed == told
    assert [line.cancelled for line in lines] == [line.closed for line in lines]
    assert told[0] == PutOut("revoked", "revoked", "`revoked` was revoked")
    assert server.registered == {"1": "alpha"}
    assert [each.sess_id for each in server.sessions] == ["ada"]
    assert close_strangers(Server(lines[:1]), holder, told.append) == []


def test_whoever_has_dialled_anew_stays_logged_in_as_the_earlier_certificate_ends() -> None:
    def judge(certificate: bytes) -> Identity:
        if certificate == b"alpha-earlier":
            raise CertificateError("it expired")
        return holder(certificate)

    earlier, latest = Line("alpha-earlier", "alpha"), Line("alpha", "alpha")
    earlier.get_conn_properties = lambda: {CERTIFICATE: b"alpha-earlier", "peer_cn": "alpha"}  # type: ignore[method-assign]
    server = Server([earlier, latest], {"1": "alpha"})
    close_strangers(server, judge, lambda _found: None)
    assert earlier.closed and not latest.closed
    assert server.registered == {"1": "alpha"}


def test_one_that_cannot_be_closed_is_no_obstacle_to_the_next() -> None:
    lines = [Line(f"revoked-{number}", f"revoked-{number}") for number in range(3)]
    server = Server(lines, {line.name: line.name for line in lines})

    def tell_but_one(found: PutOut) -> None:
        if found.name == "revoked-0":
            raise OSError("the disk is full")

    close_strangers(server, holder, tell_but_one)
    assert [line.closed for line in lines] == [False, True, True]
    assert server.registered == {}


def test_one_that_cannot_be_logged_out_is_no_obstacle_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [Line(f"revoked-{number}", f"revoked-{number}") for number in range(3)]
    server = Server(lines, {line.name: line.name for line in lines})
    logout = server.logout_client

    def logout_but_one(token: str) -> None:
        if token == "revoked-1":
            raise RuntimeError("NVFlare stumbles")
        logout(token)

    server.logout_client = logout_but_one  # type: ignore[method-assign]
    assert len(close_strangers(server, holder, lambda _found: None)) == 3
    assert server.registered == {"revoked-1": "revoked-1"}


def test_the_watch_goes_on_after_a_look_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.flare.closing.EVERY_SECONDS", 0.01)
    server, looked = Server([Line("revoked", "revoked")]), []

    def broken_once(certificate: bytes) -> Identity:
        looked.append(certificate)
        if len(looked) == 1:
            raise RuntimeError("the gate's own code throws")
        return holder(certificate)

    thread = watch_connections(server, broken_once, lambda _found: None)
    until(lambda: server.lines[0].closed)
    server.shutdown = True
    thread.join(5)
    assert not thread.is_alive()


@pytest.fixture
def watch(tmp_path: Path) -> TrustWatch:
    return TrustWatch(State(provisioned(tmp_path)).server)


def session_of(name: str = PERSON, organisation: str = "institute", role: str = "data-scientist") -> Any:
    return SimpleNamespace(user_name=name, user_org=organisation, user_role=role, sess_id="1")


def sent_by(name: str) -> Message:
    return Message(headers={SENDER: name}, payload=b"")


def test_a_session_counts_over_its_own_persons_connection(watch: TrustWatch) -> None:
    assert fits(session_of(), sent_by(PERSON), watch)
    assert fits(session_of(), None, watch)  # a job that came as a stream
    for session, sender in (
        (session_of(), OFFICER),
        (session_of(), "alpha"),
        (session_of(), "eve@research.example"),
        (session_of(), ""),
        (session_of(role="it-admin"), PERSON),
        (session_of(organisation="other"), PERSON),
        (session_of("alpha", "alpha-hospital", "None"), "alpha"),
        (SimpleNamespace(), PERSON),
    ):
        assert not fits(session, sent_by(sender), watch)
    assert not fits(session_of(role="it-admin"), None, watch)
    assert not fits(session_of(), object(), watch)


def test_a_session_over_anothers_connection_is_ended(watch: TrustWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    undone_after(monkeypatch)
    monkeypatch.setattr(LoginModule, "pre_command", lambda _module, _conn, args: args != ["refused"])
    bind_sessions(watch)
    module = SimpleNamespace(session_mgr=Server([], {}, [session_of()]))

    def asked(sender: str, session: Any, args: list[str]) -> bool:
        said = {ConnProps.SESSION: session, ConnProps.REQUEST: sent_by(sender)}
        conn = SimpleNamespace(get_prop=said.get, append_error=errors.append)
        return bool(LoginModule.pre_command(module, conn, args))

    errors: list[str] = []
    assert asked(PERSON, session_of(), ["list_jobs"])
    assert asked(PERSON, None, ["login"])  # there is no session yet
    assert not asked(PERSON, session_of(), ["refused"])
    assert errors == []
    assert not asked(OFFICER, session_of(), ["list_jobs"])
    assert errors == ["the session is another person's, or of another role"]
    assert module.session_mgr.sessions == []
