# SPDX-License-Identifier: Apache-2.0
"""Private keys: what is written, what is refused, what never shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cloister.certificates import PrivateKey
from cloister.certificates.keys import weakness
from cloister.errors import ProvisioningError

PEM, PKCS8, PLAIN = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


def test_a_key_comes_back_as_it_went(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    path = tmp_path / "client.key"
    keys[0].write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert PrivateKey.load(path).public_key == keys[0].public_key
    assert [each.name for each in tmp_path.iterdir()] == ["client.key"]


def test_a_key_is_never_overwritten(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    path = tmp_path / "client.key"
    keys[0].write(path)
    before = path.read_bytes()
    with pytest.raises(ProvisioningError, match="exists already and is never overwritten"):
        keys[1].write(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["client.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610, 0o644, 0o700 | 0o007])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, keys: tuple[PrivateKey, ...], mode: int) -> None:
    path = tmp_path / "client.key"
    keys[0].write(path)
    path.chmod(mode)
    with pytest.raises(ProvisioningError, match="can be read by others") as caught:
        PrivateKey.load(path)
    assert f"chmod 600 {path}" in caught.value.hint


def test_what_is_no_usable_key_is_refused(tmp_path: Path) -> None:
    small = rsa.generate_private_key(65537, 2048)
    contents = {
        "does not hold a private key": b"nonsense",
        "is not an RSA key": ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, PLAIN),
        "is RSA-2048": small.private_bytes(PEM, PKCS8, PLAIN),
        "is encrypted": small.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"secret")),
        "is larger than 64 KiB": b"x" * 70_000,
    }
    for words, content in contents.items():
        path = tmp_path / "client.key"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ProvisioningError, match=words):
            PrivateKey.load(path)


def test_what_is_no_plain_file_is_refused(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    keys[0].write(tmp_path / "real.key")
    (tmp_path / "link.key").symlink_to(tmp_path / "real.key")
    (tmp_path / "folder.key").mkdir()
    os.mkfifo(tmp_path / "pipe.key", 0o600)
    for name, words in {
        "link.key": "cannot be read",
        "folder.key": "not a regular file",
        "pipe.key": "not a regular file",
        "none.key": "is missing",
    }.items():
        with pytest.raises(ProvisioningError, match=words):
            PrivateKey.load(tmp_path / name)


@pytest.mark.parametrize("bits", [512, 2048, 3071, 16384])
def test_keys_of_other_sizes_are_not_made(bits: int) -> None:
    with pytest.raises(ProvisioningError, match="not between 3072 and 8192"):
        PrivateKey.generate(bits)


def test_unfit_public_keys_are_named(rsa_keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    modulus = rsa_keys[0].public_key().public_numbers().n
    assert weakness(rsa.RSAPublicNumbers(65537, modulus).public_key()) == ""
    assert "exponent below 65537" in weakness(rsa.RSAPublicNumbers(3, modulus).public_key())
    huge = rsa.RSAPublicNumbers(65537, (1 << 8192) + 1).public_key()
    assert "is RSA-8193, and 8192 bits are the most" in weakness(huge)
    assert weakness(ec.generate_private_key(ec.SECP256R1()).public_key()) == "is not an RSA key"


def test_a_key_does_not_show_itself(keys: tuple[PrivateKey, ...]) -> None:
    assert repr(keys[0]) == str(keys[0]) == "<PrivateKey RSA-3072>"
