# SPDX-License-Identifier: Apache-2.0
"""A site's process dials anew, with messages on their way, over real connections of NVFlare's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.message import Message

from cloister.certificates import PrivateKey, pem
from cloister.flare import dialling, redial
from cloister.flare.connections import CERTIFICATE, keep_certificates, refuse_strangers
from cloister.flare.dialling import dial_carefully
from cloister.flare.redial import leave_stranger, let_connections_finish, look
from cloister.flare.roster_service import serve_rosters
from cloister.flare.server_credentials import CredentialFiles, serve_with_files
from cloister.flare.state import State
from cloister.flare.trust_watch import TrustWatch
from cloister.provisioning import Authority
from cloister.provisioning.revoking import revoke
from cloister.trust import take_up
from tests.flare.renewed import new_roster, renewed
from tests.flare.signed_jobs import provisioned
from tests.flare.wire import any_url, cell, undone_after, until

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    undone_after(monkeypatch)
    dialling.latest.clear()
    return provisioned(tmp_path)


@pytest.fixture
def trouble(root: Path) -> list[str]:
    """What NVFlare is given; and what is wrong with dialling."""
    trouble: list[str] = []
    watch = TrustWatch(State(root).server)
    keep_certificates()
    refuse_strangers(watch.holder, lambda peer, reason: trouble.append(f"{peer}: {reason}"))
    serve_with_files()
    serve_rosters(watch)
    dial_carefully(trouble.append)
    let_connections_finish()
    return trouble


@contextmanager
def connected(root: Path) -> Iterator[tuple[CoreCell, CoreCell]]:
    """The server's cell and alpha's, which are connected."""
    url, state = any_url(), State(root)
    with cell("server", state.server, url) as server, cell("alpha", state.site("alpha"), url) as alpha:
        until(lambda: alpha.agents.get(FQCN.ROOT_SERVER))
        yield server, alpha


def files_of(root: Path) -> CredentialFiles:
    startup = State(root).site("alpha") / "startup"
    return CredentialFiles(startup / "client.key", startup / "client.crt", startup / "rootCA.pem")


def shown_by(server: CoreCell, name: str) -> list[bytes]:
    """The certificates of the connections that the server uses for a participant."""
    endpoint = server.communicator.conn_manager.sfm_endpoints.get(name)
    return [each.conn.get_conn_properties()[CERTIFICATE] for each in endpoint.connections] if endpoint else []


def test_a_renewed_certificate_is_shown_and_nothing_on_its_way_is_lost(root: Path, trouble: list[str]) -> None:
    startup = State(root).site("alpha") / "startup"
    lost: list[str] = []
    with connected(root) as (server, alpha):
        server.register_request_cb("test", "echo", lambda message: Message({}, bytes(message.payload) * 1000))

        def ask() -> None:
            while not done.is_set():
                reply = alpha.send_request("test", "echo", FQCN.ROOT_SERVER, Message({}, b"x" * 500), timeout=5.0)
                if reply.get_header(MessageHeaderKey.RETURN_CODE) != ReturnCode.OK or len(reply.payload) != 500_000:
                    lost.append(str(reply.get_header(MessageHeaderKey.RETURN_CODE)))

        done = threading.Event()
        askers = [threading.Thread(target=ask) for _ in range(4)]
        for each in askers:
            each.start()
        shown = dialling.latest[0].own
        for _ in range(3):
            certificate = renewed(root, "alpha")
            content = new_roster(root)
            for workspace in (State(root).server, State(root).site("alpha")):
                take_up(workspace, content)
            (startup / "client.crt").write_bytes(certificate)
            shown = look(alpha, files_of(root), shown)
            assert shown == certificate
            until(lambda certificate=certificate: shown_by(server, "alpha") == [certificate])
        assert look(alpha, files_of(root), shown) == shown  # there is nothing to do
        until(lambda: len(alpha.communicator.conn_manager.connectors) == 1, 60)  # the earlier ones are gone
        done.set()
        for each in askers:
            each.join()
        until(lambda: len(server.communicator.conn_manager.sfm_conns) == 1, 30)
    assert lost == []
    assert trouble == []


def test_a_certificate_that_does_not_fit_its_key_is_not_shown(root: Path, trouble: list[str]) -> None:
    with connected(root) as (_, alpha):
        startup = State(root).site("alpha") / "startup"
        other = (State(root).site("beta") / "startup" / "client.crt").read_bytes()
        if PrivateKey.load(startup / "client.key").public_key == pem.parse_certificate(other, "x").public_key():
            other = (State(root).site("gamma") / "startup" / "client.crt").read_bytes()
        (startup / "client.crt").write_bytes(other)
        shown = dialling.latest[0].own
        assert look(alpha, files_of(root), shown) == shown


def test_the_earlier_connection_stays_where_no_other_can_be_made(
    root: Path, trouble: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dial = redial.redial
    monkeypatch.setattr(redial, "redial", lambda cell: dial(cell, 2.0))
    with connected(root) as (server, alpha):
        before = shown_by(server, "alpha")
        (State(root).site("alpha") / "startup" / "client.crt").write_bytes(renewed(root, "alpha"))  # in no roster yet
        assert look(alpha, files_of(root), before[0]) == before[0]
        assert shown_by(server, "alpha") == before
        assert len(alpha.communicator.conn_manager.connectors) == 1
    assert any("not issued" in each for each in trouble), trouble


def test_a_renewed_server_is_believed_by_the_roster_that_it_hands_out(root: Path, trouble: list[str]) -> None:
    state = State(root)
    (state.server / "startup" / "server.crt").write_bytes(renewed(root, "coordinator"))
    take_up(state.server, new_roster(root))
    watch = TrustWatch(state.site("alpha"))
    assert watch.trust().version == 1
    with connected(root):
        assert watch.trust().version == 2
    assert trouble == []


def test_a_server_that_nobody_listed_is_not_believed(root: Path, trouble: list[str]) -> None:
    (State(root).server / "startup" / "server.crt").write_bytes(renewed(root, "coordinator"))
    with pytest.raises(AssertionError), connected(root):
        pass
    assert any("the server is not believed" in each and "not issued" in each for each in trouble), trouble


def test_a_revoked_server_is_left_within_a_look(root: Path, trouble: list[str]) -> None:
    told: list[str] = []
    watch = TrustWatch(State(root).site("alpha"))
    with connected(root) as (_, alpha):
        assert not leave_stranger(alpha, watch, told.append)
        revoke(Authority.open(State(root).folder / "authority"), "coordinator", "stolen", datetime.now(UTC))
        take_up(State(root).site("alpha"), new_roster(root))
        assert leave_stranger(alpha, watch, told.append)
        until(lambda: trouble)
    assert "stolen" in told[0]
    assert "the server is not believed" in trouble[-1] and "stolen" in trouble[-1]


def test_a_server_that_was_renewed_is_dialled_anew_as_its_earlier_certificate_ends(
    root: Path, trouble: list[str]
) -> None:
    told: list[str] = []
    state = State(root)
    with connected(root) as (server, alpha):
        first, latest = dialling.latest[0].server, renewed(root, "coordinator")
        now, keep = datetime.now(UTC), pem.fingerprint(pem.parse_certificate(latest, "latest"))
        revoke(Authority.open(state.folder / "authority"), "coordinator", "renewed", now, superseded=True, keep=keep)
        content = new_roster(root)
        for workspace in (state.server, state.site("alpha")):
            take_up(workspace, content)
        (state.server / "startup" / "server.crt").write_bytes(latest)
        assert not leave_stranger(alpha, TrustWatch(state.site("alpha")), told.append)
        assert dialling.latest[0].server == latest != first
        assert server.agents.get("alpha") and alpha.agents.get(FQCN.ROOT_SERVER)
    assert told == []


def test_a_process_that_ends_dials_no_more_and_ends(root: Path, trouble: list[str]) -> None:
    """NVFlare waits for every connector that it has not stopped itself, such as one that was begun while it stopped."""
    watch = TrustWatch(State(root).site("alpha"))
    with connected(root) as (_, alpha):
        watching = threading.Thread(target=redial._watch, args=(alpha, watch, trouble.append), daemon=True)
        watching.start()
        manager, stopping = alpha.communicator.conn_manager, threading.Event()
        stop = manager.heartbeat_monitor.stop

        def stop_and_begin_another() -> None:
            stop()
            stopping.set()

        manager.heartbeat_monitor.stop = stop_and_begin_another
        ending = threading.Thread(target=alpha.stop, daemon=True)
        ending.start()
        assert stopping.wait(20)
        alpha.connector_manager.get_external_connector(alpha.root_url, False)
        ending.join(40)
        watching.join(40)
        assert not ending.is_alive() and not watching.is_alive()
        assert not redial.redial(alpha)
