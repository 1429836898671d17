# SPDX-License-Identifier: Apache-2.0
"""Real TLS over a loopback socket: who gets through to whom."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey, startup_folder
from cloister.provisioning import Authority, KitPaths
from cloister.roster import Federation
from tests.provisioning.world import PERSON, SERVER, SITE, identity

SECONDS = 5.0


@dataclass(frozen=True)
class Pair:
    """A certificate and key, and the root that its holder trusts."""

    certificate: Path
    key: Path
    root: Path

    def context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        context = ssl.create_default_context(purpose, cafile=str(self.root))
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # OpenSSL's reading of RFC 5280 to the letter: key identifiers, critical bits, usages.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(self.certificate, self.key)
        return context


def talk(server: Pair, client: Pair, host: str = "localhost", version: ssl.TLSVersion | None = None) -> str:
    """Shake hands with mutual authentication and pass a word there and back; the client's name as the server saw it."""
    seen: list[str | ssl.SSLError] = []
    serving, dialling = server.context(ssl.Purpose.CLIENT_AUTH), client.context(ssl.Purpose.SERVER_AUTH)
    if version is not None:
        serving.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)

        def serve() -> None:
            connection, _ = listener.accept()
            connection.settimeout(SECONDS)
            try:
                with serving.wrap_socket(connection, server_side=True) as stream:
                    stream.sendall(stream.recv(16))
                    subject = dict(pair for (pair,) in stream.getpeercert()["subject"])
                    seen.append(subject["commonName"])
            except ssl.SSLError as error:
                seen.append(error)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=SECONDS) as plain,
                dialling.wrap_socket(plain, server_hostname=host) as stream,
            ):
                stream.sendall(b"word")
                if stream.recv(16) != b"word":
                    raise ConnectionError("the server hung up")
        except (OSError, ssl.SSLError) as error:
            thread.join()
            # Whoever refuses says why; the other only hears an alert, under TLS 1.3 late.
            reasons = [each for each in seen if isinstance(each, ssl.SSLError) and "ALERT" not in str(each)]
            raise (reasons or [error])[0] from error
        thread.join()
    (name,) = seen
    assert isinstance(name, str)
    return name


def pair(state: Path, roster: Federation, name: str) -> Pair:
    who = identity(roster, name)
    paths = KitPaths.of(startup_folder(state, who), who)
    return Pair(paths.certificate, paths.key, paths.root)


@pytest.fixture
def signed(
    tmp_path: Path, roster: Federation, keys: tuple[PrivateKey, ...]
) -> Callable[[Authority, str, datetime], Pair]:
    """Pairs that an authority signs for some name at some time."""

    def sign(authority: Authority, name: str, moment: datetime) -> Pair:
        folder = tmp_path / name
        folder.mkdir()
        found = Pair(folder / "crt", folder / "key", folder / "root")
        who = identity(roster, name)
        keys[1].write(found.key)
        found.certificate.write_bytes(authority.sign(keys[1].request(who), who, timedelta(days=2), moment))
        found.root.write_bytes(authority.certificate_pem)
        return found

    return sign


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", [SITE, PERSON, SERVER])
def test_everybody_reaches_the_server(pristine: Path, roster: Federation, name: str, version: ssl.TLSVersion) -> None:
    server, client = pair(pristine, roster, SERVER), pair(pristine, roster, name)
    assert talk(server, client, version=version) == name


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "fl.research.example"])
def test_the_server_answers_to_each_of_its_hosts(pristine: Path, roster: Federation, host: str) -> None:
    assert talk(pair(pristine, roster, SERVER), pair(pristine, roster, SITE), host) == SITE


@pytest.mark.parametrize("host", ["coordinator", "evil.example", "127.0.0.2"])
def test_the_server_answers_to_no_other_host(pristine: Path, roster: Federation, host: str) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)hostname mismatch|IP address mismatch"):
        talk(pair(pristine, roster, SERVER), pair(pristine, roster, SITE), host)


def test_a_server_of_another_authority_is_refused(
    pristine: Path,
    roster: Federation,
    other_authority: Authority,
    signed: Callable[[Authority, str, datetime], Pair],
    now: datetime,
) -> None:
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        talk(signed(other_authority, SERVER, now), pair(pristine, roster, SITE))


def test_a_site_of_another_authority_is_refused(
    pristine: Path,
    roster: Federation,
    other_authority: Authority,
    signed: Callable[[Authority, str, datetime], Pair],
    now: datetime,
) -> None:
    rogue = signed(other_authority, SITE, now)
    # It knows the true root, as anybody may, so that only the server can refuse.
    knowing = Pair(rogue.certificate, rogue.key, pair(pristine, roster, SITE).root)
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        talk(pair(pristine, roster, SERVER), knowing)


@pytest.fixture
def old_authority(keys: tuple[PrivateKey, ...], roster: Federation, now: datetime, tmp_path: Path) -> Authority:
    """An authority that has been there for a month, so that it can have signed what has expired since."""
    folder = tmp_path / "old"
    folder.mkdir(mode=0o700)
    keys[2].write(folder / "authority.key")
    return Authority.create(folder, roster, now - timedelta(days=30))


@pytest.mark.parametrize("late", [SERVER, SITE])
def test_the_expired_are_refused(
    roster: Federation,
    old_authority: Authority,
    signed: Callable[[Authority, str, datetime], Pair],
    now: datetime,
    late: str,
) -> None:
    pairs = {name: signed(old_authority, name, now - timedelta(days=3 * (name == late))) for name in (SERVER, SITE)}
    with pytest.raises(ssl.SSLError, match="certificate has expired"):
        talk(pairs[SERVER], pairs[SITE])


@pytest.mark.parametrize("name", [PERSON, SITE])
def test_nobody_but_the_server_can_serve(pristine: Path, roster: Federation, name: str) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)unsuitable certificate purpose"):
        talk(pair(pristine, roster, name), pair(pristine, roster, SITE), host=SITE)


def test_the_authority_itself_is_nobody(state: Path, roster: Federation) -> None:
    authority = Pair(
        state / "authority" / "authority.crt",
        state / "authority" / "authority.key",
        state / "authority" / "authority.crt",
    )
    with pytest.raises(ssl.SSLError, match=r"(?i)verify failed"):
        talk(authority, pair(state, roster, SITE))
