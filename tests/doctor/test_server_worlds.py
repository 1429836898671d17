# SPDX-License-Identifier: Apache-2.0
"""A table of servers that are not what they should be, on real sockets and with real TLS."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta

import grpc
import pytest

from cloister.certificates import PrivateKey, pem
from cloister.doctor import Level
from cloister.flare.port import free_port
from tests.doctor import listeners
from tests.doctor.world import SITE, World, codes
from tests.federation_folder import PERSON

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Wrong:
    """One server.

    Attributes:
        name: of the case.
        server: is there while the site looks for it.
        code: that it must be told with.
        says: what stands in the sentence.
    """

    name: str
    server: Callable[[World], AbstractContextManager[object]]
    code: str
    says: str


@contextlib.contextmanager
def at(world: World, answer: listeners.Answer) -> Iterator[None]:
    with listeners.listening(answer) as port:
        world.listens_on(port)
        yield


@contextlib.contextmanager
def closed(world: World) -> Iterator[None]:
    world.listens_on(free_port())
    yield


@contextlib.contextmanager
def filtered(world: World) -> Iterator[None]:
    with listeners.full_backlog() as port:
        world.listens_on(port)
        yield


def other_authority(world: World) -> AbstractContextManager[object]:
    return world.serving(certificate=world.server_certificate(by=world.strangers))


def same_name(world: World) -> AbstractContextManager[object]:
    """An authority that was made anew, with the name that it had before."""
    folder = world.server / "second"
    folder.mkdir(mode=0o700)
    ours = PrivateKey.load(world.authority.folder / "authority.key").public_key
    next(key for key in world.keys if key.public_key != ours).write(folder / "authority.key")
    second = type(world.authority).create(folder, world.document, world.here().now - 400 * DAY)
    return world.serving(certificate=world.server_certificate(by=second))


def expired(world: World) -> AbstractContextManager[object]:
    return world.serving(certificate=world.server_certificate(begun=12 * DAY + DAY / 2, lasting=2 * DAY))


def not_yet(world: World) -> AbstractContextManager[object]:
    return world.serving(certificate=world.server_certificate(begun=-3 * DAY))


def other_hosts(world: World) -> AbstractContextManager[object]:
    return world.serving(certificate=world.server_certificate(hosts=("fl.example", "127.0.0.9")))


def a_site(world: World) -> AbstractContextManager[object]:
    identity = replace(world.identity("coordinator"), name="beta")
    return world.serving(certificate=world.server_certificate(identity=identity))


def not_issued(world: World) -> AbstractContextManager[object]:
    return world.serving(certificate=world.server_certificate(begun=DAY))


def refuses_ours(world: World) -> AbstractContextManager[object]:
    """The server trusts another authority than the one that signed the site's certificate."""
    return world.serving(root=world.strangers.folder / "authority.crt")


def old_tls(world: World) -> AbstractContextManager[object]:
    startup = world.server / "startup"
    tls = listeners.context(startup / "server.crt", startup / "server.key", startup / "rootCA.pem")
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    return at(world, listeners.federation(tls))


def older_tls(world: World) -> AbstractContextManager[object]:
    startup = world.server / "startup"
    tls = listeners.context(startup / "server.crt", startup / "server.key", startup / "rootCA.pem")
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    tls.set_ciphers("DEFAULT:@SECLEVEL=0")
    return at(world, listeners.federation(tls))


TABLE = [
    Wrong("closed port", closed, "D0201", r"port \d+ of `localhost` \(127\.0\.0\.1\) is closed"),
    Wrong("filtered port", filtered, "D0202", r"does not answer within the time: a firewall drops"),
    Wrong(
        "plain HTTP",
        lambda world: at(world, listeners.saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        "D0206",
        r"answers in plain HTTP \(`HTTP/1\.1 400 Bad Request`\)",
    ),
    Wrong(
        "SSH",
        lambda world: at(world, listeners.greeting(b"SSH-2.0-OpenSSH_9.2\r\n")),
        "D0207",
        r"does not speak TLS: it says `SSH-2\.0-OpenSSH_9\.2`",
    ),
    Wrong(
        "gRPC without TLS",
        lambda world: at(world, listeners.greeting(listeners.SETTINGS)),
        "D0207",
        r"does not speak TLS",
    ),
    Wrong("silent", lambda world: at(world, listeners.silent), "D0312", r"takes the connection and then says nothing"),
    Wrong("hangs up", lambda world: at(world, listeners.hanging_up), "D0311", r"ends the connection during the TLS"),
    Wrong(
        "another authority",
        other_authority,
        "D0301",
        r"\(`coordinator`, issued by `elsewhere`, [0-9a-f]{16}…\) was signed by another authority.*"
        r"a proxy ends TLS on the way, or another service",
    ),
    Wrong("an authority of the same name", same_name, "D0302", r"another authority of this federation's name"),
    Wrong("server's certificate expired", expired, "D0303", r"expired on .*, 10 days 12 hours ago: this machine's"),
    Wrong("server's certificate not yet valid", not_yet, "D0304", r"begins on .*, in 2 days 23 hours: this machine's"),
    Wrong(
        "wrong name", other_hosts, "D0305", r"is for `fl\.example`, `127\.0\.0\.9`, and the roster dials `localhost`"
    ),
    Wrong("not the server", a_site, "D0306", r"is not that of the server `coordinator`"),
    Wrong("not issued", not_issued, "D0307", r"which was not issued for that entry"),
    Wrong("refuses ours", refuses_ours, "D0310", r"refuses our certificate: the server trusts another authority"),
    Wrong("TLS 1.2", old_tls, "D0314", r"speaks TLSv1\.2 at most, and Cloister demands TLSv1\.3"),
    Wrong("TLS 1.1", older_tls, "D0314", r"refuses TLS before any certificate is shown"),
    Wrong(
        "another service over TLS",
        lambda world: world.serving(b"HTTP/1.1 421 Misdirected\r\n\r\n", waits=True),
        "D0313",
        r"speaks TLS and not gRPC: it answers `HTTP/1\.1 421 Misdirected`",
    ),
]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_what_is_wrong_with_the_server_is_told(world: World, case: Wrong) -> None:
    with case.server(world):
        findings = world.findings()
    told = [each for each in findings if each.code == case.code]
    assert told, [each for each in findings if each.level is not Level.OK]
    assert re.search(case.says, told[0].message), told[0].message
    assert told[0].level is Level.PROBLEM
    assert told[0].hint
    assert codes(findings) == {case.code}


def test_a_name_that_does_not_exist(world: World) -> None:
    server = world.document.server.model_copy(update={"host": "no-such-host.invalid", "port": 8002})
    world.publish(federation=world.document.model_copy(update={"server": server}))
    findings = world.findings()
    assert {"D0101", "D0208"} <= codes(findings) or {"D0102", "D0208"} <= codes(findings)
    assert "`no-such-host.invalid` does not resolve" in findings[0].message


def test_the_port_that_was_never_chosen_is_a_warning(world: World) -> None:
    assert "D0205" in {each.code for each in world.findings()}


def test_the_own_side_is_told_apart_where_key_and_certificate_do_not_fit(world: World) -> None:
    (world.startup / "client.crt").unlink()
    with world.serving():
        findings = world.findings()
    assert codes(findings) == {"D0601"}
    (tls,) = [each for each in findings if each.code.startswith("D03")]
    assert tls.code == "D0315"


def test_before_anything_is_made_the_way_to_the_server_can_be_tried(world: World) -> None:
    shutil.rmtree(world.startup.parent)
    with world.serving():
        findings = world.findings()
    assert codes(findings) == {"D0601", "D0702", "D0399", "D0803"}
    assert {"D0100", "D0200"} & {each.code for each in findings} == {"D0200"}
    (tls,) = [each for each in findings if each.code == "D0399"]
    assert "the authority's certificate cannot be read" in tls.message


def test_an_own_certificate_that_has_expired_is_refused_by_the_server_and_told_as_our_own(world: World) -> None:
    """What plain NVFlare tells as a server that is down."""
    key = PrivateKey.load(world.startup / "client.key")
    content = world.certify(world.identity(SITE), key, begun=5 * DAY, lasting=DAY)
    world.certificate_file.write_bytes(content)
    world.publish(pins=world.renamed_pins(SITE, frozenset({pem.fingerprint(pem.parse_certificate(content, "x"))})))
    with world.serving():
        findings = world.findings()
    assert codes(findings) == {"D0608", "D0310"}
    (refused,) = [each for each in findings if each.code == "D0310"]
    assert "it has expired by the server's clock, or is not valid yet" in refused.message


@contextlib.contextmanager
def real_grpc(world: World, **kit: bytes) -> Iterator[None]:
    """A server of gRPC's own, as NVFlare starts one."""
    startup = world.server / "startup"
    read = {name: (startup / name).read_bytes() for name in ("server.key", "server.crt", "rootCA.pem")}
    credentials = grpc.ssl_server_credentials(
        [(read["server.key"], read["server.crt"])], kit.get("root", read["rootCA.pem"]), require_client_auth=True
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    world.listens_on(port)
    try:
        yield
    finally:
        server.stop(None).wait(5)


def test_a_server_of_grpc_s_own_is_in_order(world: World) -> None:
    with real_grpc(world):
        assert codes(world.findings()) == set()


def test_a_server_of_grpc_s_own_that_refuses_us_is_told(world: World) -> None:
    with real_grpc(world, root=(world.strangers.folder / "authority.crt").read_bytes()):
        findings = world.findings()
    assert codes(findings) == {"D0310"}


def test_a_server_of_grpc_s_own_refuses_an_expired_certificate_without_a_word_and_that_is_told(world: World) -> None:
    key = PrivateKey.load(world.startup / "client.key")
    world.certificate_file.write_bytes(world.certify(world.identity(SITE), key, begun=5 * DAY, lasting=DAY))
    with real_grpc(world):
        findings = world.findings()
    assert codes(findings) == {"D0608", "D0310"}


def test_a_person_s_way_through_a_proxy_is_tried_and_a_site_s_is_not(world: World) -> None:
    seen: list[bytes] = []
    with world.serving() as target, listeners.listening(listeners.proxy(b"200 OK", target, seen)) as port:
        environment = {"https_proxy": f"http://user:secret@127.0.0.1:{port}"}
        findings = world.findings(PERSON, environment=environment)
        assert codes(findings) == set()
        assert "D0404" in {each.code for each in findings}
        assert len([each for each in findings if each.code == "D0300"]) == 2
        assert all(f"CONNECT localhost:{target} HTTP/1.1".encode() in each for each in seen)
        assert b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in seen[0]
        assert all("secret" not in f"{each.message}{each.hint}" for each in findings)
        seen.clear()
        assert codes(world.findings(SITE, environment=environment)) == set()
        assert seen == []


def test_a_proxy_that_refuses_is_told(world: World) -> None:
    with world.serving() as target, listeners.listening(listeners.proxy(b"407 Auth", target, [])) as port:
        findings = world.findings(PERSON, environment={"grpc_proxy": f"http://127.0.0.1:{port}"})
    assert codes(findings) == {"D0402"}
    (told,) = [each for each in findings if each.code == "D0402"]
    assert re.search(r"refuses a way to `localhost` port \d+: 407 \(it asks for a password\)", told.message)


def test_a_proxy_that_is_not_there_is_told(world: World) -> None:
    with world.serving():
        findings = world.findings(PERSON, environment={"http_proxy": f"http://127.0.0.1:{free_port()}"})
    assert codes(findings) == {"D0403"}


def test_a_listener_is_not_held_up_by_a_doctor(world: World) -> None:
    """However often one looks, the real server is there for others."""
    with world.serving() as port:
        for _ in range(3):
            assert codes(world.findings()) == set()
        with socket.create_connection(("127.0.0.1", port), 2):
            pass


def test_a_server_that_has_renewed_since_the_roster_is_in_order(world: World) -> None:
    with world.serving(certificate=world.server_certificate(begun=-timedelta(minutes=4))):
        assert codes(world.findings()) == set()
