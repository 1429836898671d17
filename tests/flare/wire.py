# SPDX-License-Identifier: Apache-2.0
"""NVFlare's own gRPC connections over mutual TLS, between the server and sites of a provisioned federation, in one
process: all of its layers below the processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.communicator import Communicator, Mode
from nvflare.fuel.f3.drivers import grpc_driver
from nvflare.fuel.f3.drivers.driver_params import DriverParams
from nvflare.fuel.f3.drivers.grpc_driver import GrpcDriver, Servicer, StreamConnection
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.f3.message import Message, MessageReceiver
from nvflare.fuel.f3.sfm.conn_manager import ConnManager
from nvflare.fuel.f3.sfm.sfm_conn import SfmConnection
from nvflare.fuel.f3.sfm.sfm_endpoint import SfmEndpoint
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from nvflare.fuel.hci.server.login import LoginModule
from nvflare.lighter import utils as lighter
from nvflare.private.fed.server.cred_keeper import CredKeeper
from nvflare.private.fed.server.fed_server import FederatedServer
from nvflare.private.fed.utils import app_deployer
from nvflare.private.fed.utils.identity_utils import IdentityVerifier, TokenVerifier

from cloister.flare.port import free_port

APP = 7
_SECONDS = 15.0
CHANGED: tuple[tuple[Any, str], ...] = (
    (ConnManager, "process_frame"),
    (ConnManager, "process_frame_task"),
    (CoreCell, "start"),
    (CoreCell, "_process_received_msg"),
    (CredKeeper, "get_id_asserter"),
    (FederatedServer, "client_challenge"),
    (FederatedServer, "_add_auth_headers"),
    (GrpcDriver, "__init__"),
    (IdentityVerifier, "__init__"),
    (IdentityVerifier, "verify_common_name"),
    (LoginModule, "pre_command"),
    (Servicer, "Stream"),
    (SfmConnection, "send_frame"),
    (SfmEndpoint, "add_connection"),
    (StreamConnection, "__init__"),
    (StreamConnection, "read_loop"),
    (TokenVerifier, "verify"),
    (app_deployer, "verify_folder_signature_and_get_signers"),
    (grpc_driver, "add_StreamerServicer_to_server"),
    (grpc_driver, "get_grpc_client_credentials"),
    (grpc_driver, "get_grpc_server_credentials"),
    (lighter, "verify_folder_signature_and_get_signers"),
)


def undone_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whatever a test changes of NVFlare undone at its end."""
    for target, name in CHANGED:
        monkeypatch.setattr(target, name, getattr(target, name))


@dataclass
class End(MessageReceiver):
    """One end: a process as NVFlare sees it.

    Attributes:
        communicator: its connections.
        heard: the messages that came, each with the properties of its connection.
    """

    communicator: Communicator
    heard: list[tuple[bytes, dict[str, Any]]] = field(default_factory=list)

    def process_message(self, endpoint: Endpoint, connection: Any, app_id: int, message: Message) -> None:
        self.heard.append((bytes(message.payload), connection.get_conn_properties()))

    @property
    def manager(self) -> Any:
        return self.communicator.conn_manager

    def connections_to(self, name: str) -> list[Any]:
        endpoint = self.manager.sfm_endpoints.get(name)
        return list(endpoint.connections) if endpoint else []

    def send(self, to: str, payload: bytes) -> None:
        self.communicator.send(self.communicator.find_endpoint(to), APP, Message({}, payload))


@contextmanager
def end(name: str, workspace: Path, url: str, mode: Mode) -> Iterator[End]:
    """An end that listens or dials with the key and certificate in ``workspace``."""
    credentials = credentials_in(workspace, "server" if mode is Mode.PASSIVE else "client")
    communicator = Communicator(Endpoint(name, conn_props=credentials))
    made = End(communicator)
    communicator.register_message_receiver(APP, made)
    communicator.add_connector(url, mode, secure=True)
    communicator.start()
    try:
        yield made
    finally:
        stopping = threading.Thread(target=communicator.stop, daemon=True)
        stopping.start()
        stopping.join(_SECONDS)


def any_url() -> str:
    return f"grpc://localhost:{free_port()}"


def until(true: Callable[[], object], seconds: float = _SECONDS) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def credentials_in(workspace: Path, stem: str) -> dict[str, str]:
    """NVFlare's names for the files in ``workspace``."""
    startup = workspace / "startup"
    key, certificate = (
        (DriverParams.SERVER_KEY, DriverParams.SERVER_CERT)
        if stem == "server"
        else (DriverParams.CLIENT_KEY, DriverParams.CLIENT_CERT)
    )
    return {
        DriverParams.CA_CERT.value: str(startup / "rootCA.pem"),
        key.value: str(startup / f"{stem}.key"),
        certificate.value: str(startup / f"{stem}.crt"),
    }


@contextmanager
def cell(name: str, workspace: Path, url: str) -> Iterator[CoreCell]:
    """A cell of NVFlare's that is started: the server's, or a site's that dials it."""
    stem = "server" if name == "server" else "client"
    StatsPoolManager.pools.clear()  # nor has it two cells of one name, one after the other
    made = CoreCell(name, url, secure=True, credentials=credentials_in(workspace, stem))
    CoreCell.ALL_CELLS.pop(name)  # NVFlare makes no connections between cells of one process
    made.start()
    try:
        yield made
    finally:
        stopping = threading.Thread(target=made.stop, daemon=True)
        stopping.start()
        stopping.join(_SECONDS)
