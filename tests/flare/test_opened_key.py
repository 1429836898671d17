# SPDX-License-Identifier: Apache-2.0
"""An encrypted key, opened in memory: what lies there, who sees it, what a renewal does."""

from __future__ import annotations

import os
import resource
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from nvflare.apis.workspace import Workspace
from nvflare.lighter.utils import load_private_key_file

from cloister.certificates import PrivateKey, passphrase
from cloister.certificates.keys import is_loose
from cloister.certificates.passphrase import FILE
from cloister.errors import CloisterError, ProvisioningError
from cloister.flare import opened_key
from cloister.flare.opened_key import NUMBER, PATH, close_key, key_opened, open_key, path_in_kit

SECRET = b"correct horse battery staple"


@pytest.fixture(scope="module")
def keys() -> tuple[PrivateKey, ...]:
    return tuple(PrivateKey(rsa.generate_private_key(65537, 3072)) for _ in range(2))


@pytest.fixture(autouse=True)
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The passphrase, in a file."""
    passphrase.forget()
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    monkeypatch.setenv(FILE, str(path))
    yield path
    close_key()
    passphrase.forget()


@pytest.fixture
def key(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> Path:
    """An encrypted key in a kit."""
    path = tmp_path / "site" / "startup" / "client.key"
    path.parent.mkdir(parents=True)
    keys[0].write(path)
    return path


def pem_of(private: PrivateKey) -> bytes:
    return private.opened_pem()


def closed() -> bool:
    try:
        os.fstat(NUMBER)
    except OSError:
        return True
    return False


def test_a_key_without_encryption_stays_where_it_is(
    tmp_path: Path, keys: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FILE)
    path = tmp_path / "client.key"
    keys[0].write(path)
    with key_opened(path) as found:
        assert found == path
        assert closed()
    assert path_in_kit(path) == "client.key"


def test_an_encrypted_one_is_opened_in_memory(key: Path, keys: tuple[PrivateKey, ...]) -> None:
    assert path_in_kit(key) == str(PATH)
    with key_opened(key) as found:
        assert found == PATH
        assert found.read_bytes() == found.read_bytes() == pem_of(keys[0])  # from its beginning, however often
        assert str(found.readlink()).startswith("/memfd:")
        assert found.stat().st_mode & 0o777 == 0o400
        assert not is_loose(found)
        assert found.stat().st_nlink == 0
        assert not os.get_inheritable(NUMBER)
    assert closed()
    assert not any(pem_of(keys[0]) in path.read_bytes() for path in key.parents[1].rglob("*") if path.is_file())


def test_nvflare_and_tls_read_it_from_there(key: Path, keys: tuple[PrivateKey, ...]) -> None:
    (key.parents[1] / "local").mkdir()
    named = Workspace(str(key.parents[1])).get_file_path_in_startup(path_in_kit(key))
    assert named == str(PATH)  # an absolute path wins
    with key_opened(key):
        assert load_private_key_file(named).public_key() == keys[0].public_key
        with pytest.raises(ssl.SSLError):  # the key is read first where both are in one file; there is no certificate
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(named)


@pytest.mark.parametrize("attack", ["write", "truncate", "chmod and write"])
def test_nobody_writes_to_it(key: Path, keys: tuple[PrivateKey, ...], attack: str) -> None:
    with key_opened(key):
        with pytest.raises(OSError, match=r"not permitted|denied|Bad file"):
            if attack == "truncate":
                os.ftruncate(NUMBER, 0)
            elif attack == "write":
                os.write(NUMBER, b"x")
            else:
                os.fchmod(NUMBER, 0o600)
                os.write(os.open(PATH, os.O_WRONLY), b"x")
        assert PATH.read_bytes() == pem_of(keys[0])


def test_no_process_that_is_started_inherits_it(key: Path) -> None:
    look = f"import os; print([n for n in os.listdir('/proc/self/fd') if n == '{NUMBER}'])"
    with key_opened(key):
        done = subprocess.run(  # with everything that may be inherited
            [sys.executable, "-S", "-c", look], capture_output=True, text=True, check=True, close_fds=False
        )
    assert done.stdout == "[]\n"


def test_a_replaced_key_is_opened_under_the_same_number(key: Path, keys: tuple[PrivateKey, ...]) -> None:
    with key_opened(key):
        before = PATH.stat()
        assert open_key(key) == PATH
        assert PATH.stat() == before  # nothing changed
        keys[1].write(key.with_name("next"))
        key.with_name("next").replace(key)
        assert open_key(key) == PATH
        assert PATH.read_bytes() == pem_of(keys[1])
        assert PATH.stat().st_ino != before.st_ino  # whoever looks at the file sees that it is another
        assert not os.get_inheritable(NUMBER)


def test_a_replaced_key_is_opened_without_being_asked(
    key: Path, keys: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened_key, "_LOOK_SECONDS", 0.02)
    with key_opened(key):
        key.write_bytes(b"half a key")
        time.sleep(0.1)
        assert PATH.read_bytes() == pem_of(keys[0])  # the earlier one stays in use
        keys[1].write(key.with_name("next"))
        key.with_name("next").replace(key)
        deadline = time.monotonic() + 10
        while PATH.read_bytes() != pem_of(keys[1]):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_process_with_an_opened_key_leaves_no_core(key: Path) -> None:
    earlier = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (earlier[1], earlier[1]))
        with key_opened(key):
            assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, earlier)


def test_sessions_share_it_and_the_last_closes_it(key: Path) -> None:
    with key_opened(key):
        with key_opened(key):
            pass
        assert not closed()
    assert closed()
    with key_opened(key):
        assert not closed()


def test_one_process_opens_one_key(key: Path, tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    keys[1].write(tmp_path / "other.key")
    with key_opened(key), pytest.raises(ProvisioningError, match="opens no second one"):
        open_key(tmp_path / "other.key")


def test_a_number_that_is_in_use_is_left_alone(key: Path) -> None:
    os.dup2(2, NUMBER, inheritable=False)
    try:
        with pytest.raises(CloisterError, match=f"descriptor {NUMBER} is in use"):
            open_key(key)
        assert not str(PATH.readlink()).startswith("/memfd:")
    finally:
        os.close(NUMBER)


def test_what_does_not_open_is_said(key: Path, given: Path) -> None:
    given.write_bytes(b"incorrect horse battery staple")
    with pytest.raises(ProvisioningError, match="does not open with the passphrase"):
        open_key(key)
    assert closed()
