# SPDX-License-Identifier: Apache-2.0
"""The bad certificates of tests/trust/chains over the connections as they are: gRPC's BoringSSL, then the judgement."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import Identity
from cloister.certificates.anchors import roots_pem
from cloister.certificates.pem import MAXIMUM_BYTES, certificate_pem
from cloister.errors import CertificateError, ProvisioningError
from cloister.flare.connections import refusal_of
from cloister.flare.dialling import certificate_at, check_server
from cloister.flare.server_credentials import Credentials
from cloister.trust.judge import judge_pem
from tests.provisioning.conftest import now, rsa_keys
from tests.trust.chains import TABLE, Bad
from tests.trust.chains.mutual_tls import Side
from tests.trust.chains.of_files import FILES
from tests.trust.chains.world import NAMES, SITE, World, make_world

__all__ = ["now", "rsa_keys"]

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

SERVICE = "/cloister.Test/Ask"


@pytest.fixture(scope="module")
def worlds(rsa_keys: tuple[rsa.RSAPrivateKey, ...], now: datetime) -> dict[str, World]:
    return {kind: make_world(name, rsa_keys, now.replace(microsecond=0)) for kind, name in NAMES.items()}


def key_pem(key: Any) -> bytes:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return bytes(key.private_bytes(*form))


@dataclass
class Server:
    """A gRPC server that demands certificates and asks, as Cloister's does, whose each one is."""

    port: int
    certificate: bytes
    world: World

    def holder(self, certificate: bytes) -> Identity:
        return judge_pem(certificate, self.world.trust, self.world.now)

    def answer(self, request: bytes, context: Any) -> bytes:
        if reason := refusal_of(context, self.holder):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, reason)
        return request

    def handler(self) -> Any:
        method = grpc.unary_unary_rpc_method_handler(self.answer)
        return grpc.method_handlers_generic_handler("cloister.Test", {"Ask": method})


@pytest.fixture(scope="module")
def server(worlds: dict[str, World]) -> Iterator[Server]:
    world = worlds["server"]
    found = Server(0, world.pem, world)
    running = grpc.server(ThreadPoolExecutor(4), handlers=[found.handler()])
    pair = (key_pem(world.leaf_key), world.pem)
    roots = roots_pem(world.trust.anchors.roots)
    found.port = running.add_secure_port(
        "localhost:0", grpc.ssl_server_credentials([pair], roots, require_client_auth=True)
    )
    running.start()
    yield found
    running.stop(None).wait()


def ask(server: Server, certificate: bytes, key: Any) -> str:
    """What comes of a call with this certificate: nothing where it is answered, else why not."""
    credentials = grpc.ssl_channel_credentials(server.certificate, key_pem(key), certificate)
    with grpc.secure_channel(f"localhost:{server.port}", credentials, [("grpc.enable_retries", 0)]) as channel:
        try:
            assert channel.unary_unary(SERVICE)(b"word", timeout=5.0) == b"word"
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return f"judged: {error.details()}"
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error.details()
            return f"no handshake: {error.details()}"
    return ""


@pytest.mark.parametrize("bad", [bad for bad in TABLE if set(bad.kinds) - {"server"}], ids=lambda bad: bad.name)
def test_the_server_takes_no_call(worlds: dict[str, World], server: Server, bad: Bad) -> None:
    shown = bad.make(worlds["site" if "site" in bad.kinds else "person"])
    if shown.key is None or not shown.content:  # an empty one ends the process that would show it
        return
    server.world = shown.world or worlds["site" if "site" in bad.kinds else "person"]
    refusal = ask(server, shown.content + shown.along, shown.key)
    if refusal.startswith("judged: "):
        assert re.search(bad.words, refusal), refusal
    elif not refusal:  # the file was wrong, and what is shown of it is the right certificate
        assert worlds["site"].pem in shown.content or b"TRUSTED" in shown.content or "without end" in bad.name


@pytest.mark.parametrize("name", ["issued by an authority below ours", "SHA-1", "a key of 1024 bits"])
def test_tls_alone_would_take_it(worlds: dict[str, World], server: Server, name: str) -> None:
    # Why the judgement leans on nothing that the handshake has looked at; docs/provisioning.md says so.
    shown = next(bad for bad in TABLE if bad.name == name).make(worlds["site"])
    server.world = worlds["site"]
    assert ask(server, shown.content + shown.along, shown.key).startswith("judged: ")


@pytest.mark.parametrize("kind", NAMES)
def test_the_server_takes_calls_with_the_right_one(worlds: dict[str, World], server: Server, kind: str) -> None:
    server.world = worlds[kind]
    assert ask(server, worlds[kind].pem, worlds[kind].leaf_key) == ""


def shown_at(folder: Path, side: Side) -> bytes | None:
    """What a site sees that dials a server with this file; None where it sees nothing."""
    try:
        context = side.context(folder, ssl.PROTOCOL_TLS_SERVER)
    except ssl.SSLError:
        return None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5.0)

        def serve() -> None:
            plain, _ = listener.accept()
            try:
                context.wrap_socket(plain, server_side=True).close()
            except OSError:
                plain.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return certificate_at("127.0.0.1", listener.getsockname()[1])
        except OSError:
            return None
        finally:
            thread.join()


@pytest.mark.parametrize("bad", [bad for bad in TABLE if "server" in bad.kinds], ids=lambda bad: bad.name)
def test_a_site_does_not_believe_the_server(worlds: dict[str, World], tmp_path: Path, bad: Bad) -> None:
    shown = bad.make(worlds["server"])
    if shown.key is None:
        return
    world = shown.world or worlds["server"]
    seen = shown_at(tmp_path, Side(shown.content + shown.along, shown.key, roots_pem(world.trust.anchors.roots)))
    if seen is None:
        return
    try:
        check_server(seen, lambda content: judge_pem(content, world.trust, world.now))
    except CertificateError as error:
        assert error.message.startswith("the server is not believed: ")
        assert re.search(bad.words, error.message), error.message
    else:
        assert seen == world.pem


def test_a_site_believes_the_right_one(worlds: dict[str, World], tmp_path: Path) -> None:
    world = worlds["server"]
    seen = shown_at(tmp_path, Side(world.pem, world.leaf_key, roots_pem(world.trust.anchors.roots)))
    assert seen == world.pem
    check_server(seen, lambda content: judge_pem(content, world.trust, world.now))


@pytest.mark.parametrize("name", [SITE, NAMES["person"]])
def test_a_site_or_a_person_is_no_server(worlds: dict[str, World], tmp_path: Path, name: str) -> None:
    world = worlds["server"]
    right = certificate_pem(world.certificates[name])
    seen = shown_at(tmp_path, Side(right, world.leaf_key, roots_pem(world.trust.anchors.roots)))
    assert seen == right
    with pytest.raises(CertificateError, match=r"its certificate is that of the (site|person)"):
        check_server(right, lambda content: judge_pem(content, world.trust, world.now))


@pytest.mark.parametrize("bad", FILES, ids=lambda bad: bad.name)
def test_nobody_shows_a_file_of_their_own_that_cannot_be_read(worlds: dict[str, World], bad: Bad) -> None:
    world = worlds["site"]
    key, roots = key_pem(world.leaf_key), roots_pem(world.trust.anchors.roots)
    assert Credentials(key, world.pem, roots).fit()
    assert not Credentials(key_pem(world.other_key), world.pem, roots).fit()
    if len(content := bad.make(world).content) <= MAXIMUM_BYTES:
        with pytest.raises(ProvisioningError, match=bad.words):
            Credentials(key, content, roots).fit()
        with pytest.raises(ProvisioningError, match="the key beside the certificate cannot be read"):
            Credentials(content.replace(b"PRIVATE", b"OTHER"), world.pem, roots).fit()
