# SPDX-License-Identifier: Apache-2.0
"""Kits that were changed, forged, stuffed or mistaken: each is refused before anything is written."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from datetime import datetime

import pytest

from cloister.errors import ProvisioningError
from cloister.provisioning import Authority
from cloister.provisioning.kit_archive import MAXIMUM_BYTES, fingerprint_in, make_archive, read_archive
from cloister.roster import Federation
from tests.provisioning.world import SITE, identity

FILES = {"certificate.pem": b"certificate", "roster.json": b"roster", "policies/baseline.yaml": b"baseline"}


def parts(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(*files: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that stands twice
        for name, content in files:
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def kit(authority: Authority, roster: Federation, now: datetime) -> bytes:
    return make_archive(authority, identity(roster, SITE), FILES, roster.federation, now)


def test_a_kit_is_read_as_it_was_made(kit: bytes, authority: Authority) -> None:
    found = read_archive(kit, authority.fingerprint)
    assert (found.federation, found.name, found.kind) == ("trial", SITE, "site")
    assert found.files == FILES
    assert found.root == authority.certificate
    assert fingerprint_in(kit) == authority.fingerprint


@pytest.mark.parametrize("said", [str.upper, " ".join, ":".join])
def test_a_fingerprint_may_be_written_as_people_do(
    kit: bytes, authority: Authority, said: Callable[[str], str]
) -> None:
    assert read_archive(kit, said(authority.fingerprint)).name == SITE


@pytest.mark.parametrize("said", ["", "0" * 64, "ab", "0" * 63])
def test_another_fingerprint_is_another_authority(kit: bytes, said: str) -> None:
    with pytest.raises(ProvisioningError, match="another fingerprint"):
        read_archive(kit, said)


def test_another_authority_signs_in_vain(
    other_authority: Authority, authority: Authority, roster: Federation, now: datetime
) -> None:
    forged = make_archive(other_authority, identity(roster, SITE), FILES, roster.federation, now)
    with pytest.raises(ProvisioningError, match="another fingerprint"):
        read_archive(forged, authority.fingerprint)


CHANGES: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "a byte of a file": lambda files: packed(*({**files, "roster.json": b"roster!"}).items()),
    "a file is missing": lambda files: packed(*((name, each) for name, each in files.items() if name != "roster.json")),
    "a document is added": lambda files: packed(*files.items(), ("policies/baseline.yaml.sig", b"x")),
    "two files are swapped": lambda files: packed(
        *({**files, "roster.json": files["certificate.pem"], "certificate.pem": files["roster.json"]}).items()
    ),
    "a name that no kit has": lambda files: packed(*files.items(), ("startup/client.key", b"x")),
    "a path out of the folder": lambda files: packed(*files.items(), ("../../policies/baseline.yaml", b"x")),
    "a name twice": lambda files: packed(*files.items(), ("roster.json", b"other")),
    "no statement": lambda files: packed(*((name, each) for name, each in files.items() if name != "kit.json")),
    "another statement": lambda files: packed(*({**files, "kit.json": b"{}"}).items()),
    "a bomb": lambda files: packed(*({**files, "roster.json": b"0" * (MAXIMUM_BYTES + 1)}).items()),
    "not a ZIP": lambda files: b"kit",
    "nothing": lambda files: b"",
    "truncated": lambda files: packed(*files.items())[:-30],
    "too large": lambda files: b"P" * (MAXIMUM_BYTES + 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_kit_that_was_changed_is_refused(kit: bytes, authority: Authority, change: str) -> None:
    with pytest.raises(ProvisioningError) as caught:
        read_archive(CHANGES[change](parts(kit)), authority.fingerprint)
    assert "kit" in caught.value.message


def test_a_kit_without_what_it_must_hold_is_refused(authority: Authority, roster: Federation, now: datetime) -> None:
    lacking = make_archive(authority, identity(roster, SITE), {"certificate.pem": b"x"}, roster.federation, now)
    with pytest.raises(ProvisioningError, match=r"the kit has no `roster\.json`"):
        read_archive(lacking, authority.fingerprint)


def test_no_kit_is_made_with_a_key(authority: Authority, roster: Federation, now: datetime) -> None:
    with pytest.raises(ProvisioningError, match=r"a kit holds no `client\.key`"):
        make_archive(authority, identity(roster, SITE), {**FILES, "client.key": b"x"}, roster.federation, now)


def test_what_names_no_authority_says_so(kit: bytes) -> None:
    for statement in (b"[]", b"{}", json.dumps({"signatures": [{"cert": "x"}]}).encode(), b"["):
        with pytest.raises(ProvisioningError):
            fingerprint_in(packed(*({**parts(kit), "kit.json": statement}).items()))
