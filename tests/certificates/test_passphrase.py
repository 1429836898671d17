# SPDX-License-Identifier: Apache-2.0
"""Where a passphrase comes from, what is refused, what never shows, and what a key makes of it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import PrivateKey, passphrase
from cloister.certificates.keys import is_encrypted, read_public_key
from cloister.certificates.passphrase import (
    CREDENTIAL,
    CREDENTIALS,
    DESCRIPTOR,
    FILE,
    VARIABLE,
    Passphrase,
    handed_over,
)
from cloister.errors import ProvisioningError

SECRET = "correct horse battery staple"
OTHER = "incorrect horse battery staple"


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (FILE, VARIABLE, CREDENTIALS, DESCRIPTOR):
        monkeypatch.delenv(name, raising=False)
    passphrase.forget()
    yield
    passphrase.forget()


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    path.chmod(mode)
    return str(path)


def own() -> str | None:
    found = passphrase.own()
    return None if found is None else found.reveal().decode()


# --- where it comes from


def test_without_anything_there_is_none() -> None:
    assert own() is None


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_the_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, mode: int) -> None:
    monkeypatch.setenv(FILE, written(tmp_path / "secret", SECRET + ending, mode))
    assert own() == SECRET


def test_one_line_end_is_taken_off_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE, written(tmp_path / "secret", f" {SECRET} \n\n"))
    assert own() == f" {SECRET} \n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    monkeypatch.setenv(FILE, written(tmp_path / "secret", SECRET, mode))
    with pytest.raises(ProvisioningError, match="can be read by others") as caught:
        own()
    assert SECRET not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, words in {"folder": "cannot be read", "pipe": "not a regular file", "none": "no such file"}.items():
        monkeypatch.setenv(FILE, str(tmp_path / name))
        with pytest.raises(ProvisioningError, match=words):
            own()


@pytest.mark.parametrize(("text", "words"), [("", "is empty"), ("\n", "is empty"), ("x" * 1025, "longer than 1024")])
def test_an_empty_or_huge_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.setenv(FILE, written(tmp_path / "secret", text))
    with pytest.raises(ProvisioningError, match=words):
        own()


def test_systemds_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    assert own() is None  # a unit may have other credentials
    written(tmp_path / CREDENTIAL, SECRET, 0o440)
    assert own() == SECRET


def test_the_variable_is_gone_once_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    assert own() == SECRET
    assert VARIABLE not in os.environ
    inherited = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    assert SECRET not in inherited
    assert own() == SECRET  # kept, because it cannot be read again


def test_the_first_place_that_there_is_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "of the variable")
    assert own() == "of the variable"
    written(tmp_path / CREDENTIAL, "of systemd")
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    assert own() == "of systemd"
    monkeypatch.setenv(FILE, written(tmp_path / "secret", "of the file"))
    assert own() == "of the file"
    with handed_over(Passphrase(b"of the parent")) as (reading, _):
        monkeypatch.setenv(DESCRIPTOR, str(reading))
        assert own() == "of the parent"
    written(tmp_path / "secret", "of the file", 0o644)
    passphrase.forget()
    with pytest.raises(ProvisioningError, match="can be read by others"):  # and not: the next place
        own()


def test_a_parent_hands_it_over_and_no_grandchild_finds_it() -> None:
    program = (
        "import os, subprocess, sys\n"
        "from cloister.certificates import passphrase\n"
        "print(passphrase.own().reveal().decode(), os.read(0, 10), sorted(os.environ))\n"
        "print(open('/proc/self/cmdline').read(), open('/proc/self/environ').read(), file=sys.stderr)\n"
        "look = 'import os, sys; print(os.read(0, 100), os.environ, file=sys.stderr)'\n"
        "subprocess.run([sys.executable, '-c', look])\n"
    )
    with handed_over(Passphrase(SECRET.encode())) as (given, variables):
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdin=given,
            env={"PATH": os.environ["PATH"]} | variables,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.startswith(f"{SECRET} b'' [")
    assert DESCRIPTOR not in done.stdout
    assert SECRET not in done.stderr
    assert "b''" in done.stderr


def test_without_one_nothing_is_handed_over() -> None:
    with handed_over(None) as (given, variables):
        assert os.read(given, 1) == b""
        assert variables == {}


@pytest.mark.parametrize("number", ["", "x", "-1", "9999"])
def test_a_descriptor_that_is_no_pipe_is_refused(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setenv(DESCRIPTOR, number)
    with pytest.raises(ProvisioningError, match="names no pipe"):
        own()


def test_a_file_is_no_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(written(tmp_path / "secret", SECRET)).open("rb") as stream:
        monkeypatch.setenv(DESCRIPTOR, str(stream.fileno()))
        with pytest.raises(ProvisioningError, match="names no pipe"):
            own()


def test_it_does_not_show_itself() -> None:
    secret = Passphrase(SECRET.encode())
    assert repr(secret) == str(secret) == f"{secret}" == "<Passphrase>"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


# --- what a key makes of it


def test_a_key_is_written_and_read_encrypted(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    path, secret = tmp_path / "client.key", Passphrase(SECRET.encode())
    keys[0].write(path, secret)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert is_encrypted(path)
    assert PrivateKey.load(path, secret).public_key == keys[0].public_key == read_public_key(path, secret)
    parsed = subprocess.run(["openssl", "asn1parse", "-in", path], capture_output=True, text=True, check=False).stdout
    if parsed:  # what the module's docstring says of the form
        assert all(word in parsed for word in ("PBES2", "PBKDF2", "hmacWithSHA256", "aes-256-cbc", ":0800"))


def test_the_processs_own_one_is_used_where_none_is_given(
    tmp_path: Path, keys: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, sealed = tmp_path / "plain.key", tmp_path / "sealed.key"
    keys[0].write(plain)
    monkeypatch.setenv(FILE, written(tmp_path / "secret", SECRET))
    keys[1].write(sealed)
    assert (is_encrypted(plain), is_encrypted(sealed)) == (False, True)
    assert PrivateKey.load(plain).public_key == keys[0].public_key  # of somebody who has none
    assert PrivateKey.load(sealed).public_key == keys[1].public_key


def test_what_goes_wrong_is_said_in_one_sentence(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    plain, sealed = tmp_path / "plain.key", tmp_path / "sealed.key"
    keys[0].write(plain)
    keys[0].write(sealed, Passphrase(SECRET.encode()))
    wrong = Passphrase(OTHER.encode())
    for path, given, words in (
        (sealed, wrong, "does not open with the passphrase that is given"),
        (sealed, None, "is encrypted, and its passphrase is not given"),
        (plain, wrong, "is not encrypted, although a passphrase is given for it"),
    ):
        for read in (PrivateKey.load, read_public_key):
            with pytest.raises(ProvisioningError, match=words) as caught:
                read(path, given)
            assert OTHER not in str(caught.value)
            assert OTHER not in repr(caught.value.__cause__)
            assert f"`{path}`" in caught.value.message


def test_a_key_of_pems_own_encryption_is_refused(tmp_path: Path, rsa_keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    path = tmp_path / "old.key"
    form = serialization.PrivateFormat.TraditionalOpenSSL
    scheme = serialization.BestAvailableEncryption(SECRET.encode())
    path.write_bytes(rsa_keys[0].private_bytes(serialization.Encoding.PEM, form, scheme))
    path.chmod(0o600)
    with pytest.raises(ProvisioningError, match="encrypted in an old form") as caught:
        PrivateKey.load(path)
    assert "openssl pkcs8 -topk8" in caught.value.hint


def test_a_key_is_encrypted_afterwards_as_the_docs_say(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "provisioning.md").read_text(encoding="utf-8")
    (line,) = [line.removeprefix("$ ") for line in page.splitlines() if line.startswith("$ openssl pkcs8")]
    keys[0].write(tmp_path / "client.key")
    written(tmp_path / "passphrase", SECRET + "\n")
    command = line.replace("/root/passphrase", "passphrase")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert is_encrypted(tmp_path / "client.key.new")
    assert (tmp_path / "client.key.new").stat().st_mode & 0o077 == 0
    assert PrivateKey.load(tmp_path / "client.key.new", Passphrase(SECRET.encode())).public_key == keys[0].public_key


def test_a_short_one_encrypts_nothing(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    with pytest.raises(ProvisioningError, match="fewer than 15 characters"):
        keys[0].write(tmp_path / "client.key", Passphrase(b"fourteen chars"))
    assert list(tmp_path.iterdir()) == []
    keys[0].write(tmp_path / "client.key", Passphrase(b"fifteen charact"))
