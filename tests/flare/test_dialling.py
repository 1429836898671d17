# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
from pathlib import Path

import pytest
from nvflare.fuel.f3.comm_error import CommError
from nvflare.fuel.f3.communicator import Mode
from nvflare.fuel.f3.drivers import grpc_driver
from nvflare.fuel.f3.drivers.driver_params import DriverParams

from cloister.certificates import Identity, PrivateKey
from cloister.errors import CertificateError
from cloister.flare.dialling import certificate_at, channel_credentials, check_server, dial_carefully
from cloister.flare.port import free_port
from cloister.flare.state import State
from tests.flare.signed_jobs import provisioned
from tests.flare.wire import any_url, credentials_in, end, undone_after, until


def judge(kind: str) -> object:
    return lambda _certificate: Identity("somebody", "institute", kind)  # type: ignore[arg-type]


def test_the_servers_certificate_must_be_the_servers() -> None:
    check_server(b"x", judge("server"))
    for kind in ("site", "person"):
        with pytest.raises(CertificateError, match="the server is not believed"):
            check_server(b"x", judge(kind))

    def refuse(_certificate: bytes) -> Identity:
        raise CertificateError("it was revoked", hint="ask")

    with pytest.raises(CertificateError, match="the server is not believed: it was revoked"):
        check_server(b"x", refuse)


def params_of(root: Path, port: int) -> dict[str, object]:
    return {**credentials_in(State(root).site("alpha"), "client"), "host": "localhost", "port": port}


def test_a_participant_whose_own_files_do_not_fit_says_so_and_dials_nobody(tmp_path: Path) -> None:
    params = params_of(provisioned(tmp_path), free_port())
    key = Path(str(params[DriverParams.CLIENT_KEY.value]))
    key.unlink()
    PrivateKey.generate().write(key)
    with pytest.raises(CertificateError, match="does not belong to the key"):
        channel_credentials(params, print)


def test_where_nothing_listens_nvflare_tries_again_and_nobody_is_troubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone_after(monkeypatch)
    trouble: list[str] = []
    dial_carefully(trouble.append)
    with pytest.raises(OSError):
        grpc_driver.get_grpc_client_credentials(params_of(provisioned(tmp_path), free_port()))
    assert trouble == []


@pytest.mark.slow
def test_another_machine_with_a_good_certificate_of_the_authority_is_not_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that listens where the server should: gRPC would take its certificate, but for the name."""
    root = provisioned(tmp_path)
    undone_after(monkeypatch)
    startup, beta = State(root).server / "startup", State(root).site("beta") / "startup"
    for stem in ("key", "crt"):
        (startup / f"server.{stem}").write_bytes((beta / f"client.{stem}").read_bytes())
    trouble: list[str] = []
    dial_carefully(trouble.append)
    url = any_url()
    port = int(url.rpartition(":")[2])
    with end("server", State(root).server, url, Mode.PASSIVE):
        until(lambda: reachable(port))
        with pytest.raises(CommError, match="not believed"):
            grpc_driver.get_grpc_client_credentials(params_of(root, port))
        assert certificate_at("localhost", port) == (beta / "client.crt").read_bytes()
    assert "its certificate is that of the site" in trouble[0]


def reachable(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return False
    return True
