# SPDX-License-Identifier: Apache-2.0
"""Finds a secret in whatever form a file may hold it: as it is, in an archive, in the payload of an envelope."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from cloister.certificates import PrivateKey

_DEEPEST = 5


def key_files(folder: Path) -> list[Path]:
    """Every file below ``folder`` that is to hold a private key."""
    return sorted(path for path in folder.rglob("*.key") if path.name != "split.key" and path.is_file())


def in_the_clear(path: Path) -> list[bytes]:
    """What of the key at ``path`` must be nowhere else: the end of its DER forms, and lines of its PEM forms."""
    key = serialization.load_pem_private_key(PrivateKey.load(path).opened_pem(), None)
    form, plain = serialization.PrivateFormat, serialization.NoEncryption()
    found = []
    for shape in (form.PKCS8, form.TraditionalOpenSSL):
        der = key.private_bytes(serialization.Encoding.DER, shape, plain)
        found += [der[-200:], base64.b64encode(der)[600:664]]
        found.append(key.private_bytes(serialization.Encoding.PEM, shape, plain).splitlines()[15])
    return found


def layers(content: bytes, depth: int = 0) -> Iterator[bytes]:
    """``content``, and everything that is wrapped in it."""
    yield content
    if depth == _DEEPEST:
        return
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from layers(archive.read(name), depth + 1)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return
    payload = value.get("payload") if isinstance(value, dict) else None
    if isinstance(payload, str):
        yield from layers(base64.b64decode(payload), depth + 1)


def holding(folder: Path, secrets: Iterable[bytes]) -> list[str]:
    """The files below ``folder`` in which one of ``secrets`` stands, but for those that are to hold private keys."""
    known, found = tuple(secrets), []
    for path in folder.rglob("*"):
        if (
            path.is_symlink()
            or not path.is_file()
            or (path.suffix == ".key" and "PRIVATE KEY" in path.read_text("latin-1"))
        ):
            continue
        if any(secret in layer for layer in layers(path.read_bytes()) for secret in known):
            found.append(str(path.relative_to(folder)))
    return found
