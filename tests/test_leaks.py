# SPDX-License-Identifier: Apache-2.0
"""What finds secrets finds them."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey, passphrase
from tests.certificates.conftest import keys, rsa_keys
from tests.leaks import holding, in_the_clear

__all__ = ["keys", "rsa_keys"]


@pytest.mark.parametrize("how", ["plain", "zip", "envelope", "envelope in a zip"])
def test_a_secret_is_found_however_it_is_wrapped(tmp_path: Path, how: str) -> None:
    content = b"before, a secret, and after"
    if "envelope" in how:
        content = json.dumps({"payload": base64.b64encode(content).decode()}).encode()
    (tmp_path / "file").write_bytes(content)
    if "zip" in how:
        with zipfile.ZipFile(tmp_path / "archive", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(tmp_path / "file", "inside")
        (tmp_path / "file").unlink()
    (found,) = holding(tmp_path, [b"a secret"])
    assert found in ("file", "archive")
    assert holding(tmp_path, [b"another secret"]) == []


def test_a_key_is_found_in_each_of_its_forms_but_where_it_belongs(tmp_path: Path, keys: tuple[PrivateKey, ...]) -> None:
    passphrase.forget()
    keys[0].write(tmp_path / "client.key")
    secrets = in_the_clear(tmp_path / "client.key")
    assert holding(tmp_path, secrets) == []
    (tmp_path / "backup.pem").write_bytes(keys[0].opened_pem())
    assert holding(tmp_path, secrets) == ["backup.pem"]
    assert all(holding(tmp_path, [secret]) in ([], ["backup.pem"]) for secret in secrets)
