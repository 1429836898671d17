# SPDX-License-Identifier: Apache-2.0
"""Enrol, renew, revoke and hand over by the commands that people type, each party in a folder of its own."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloister.certificates import PrivateKey
from tests.cli.commands import Done, cloister
from tests.key_pool import different_keys

pytestmark = pytest.mark.slow
ANN, BEN, SITE, SERVER = "ann@research.example", "ben@research.example", "hospital-north", "coordinator"
DOCUMENT: dict[str, Any] = {
    "federation": "typed",
    "server": {"name": SERVER, "organisation": "institute", "host": "fl.research.example", "port": 8002},
    "authority": {"approvers": [ANN, BEN], "approvals": 2},
    "sites": [{"name": SITE, "organisation": "north"}],
    "people": [{"name": name, "organisation": "institute", "role": "it-admin"} for name in (ANN, BEN)],
}


@pytest.fixture(scope="module")
def real_keys() -> tuple[PrivateKey, ...]:
    return different_keys()


@pytest.fixture(autouse=True)
def pooled(real_keys: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    pool: Iterator[PrivateKey] = itertools.cycle(real_keys)
    monkeypatch.setattr(PrivateKey, "generate", classmethod(lambda cls, bits=3072: next(pool)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everybody's folders are; the authority's has the document."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "authority" / "provisioning").mkdir(parents=True)
    (tmp_path / "authority" / "provisioning" / "federation.yaml").write_text(json.dumps(DOCUMENT))
    for name in (ANN, BEN, SITE, SERVER, "post"):
        (tmp_path / name).mkdir()
    return tmp_path


def done(*arguments: str | Path, status: int = 0) -> Any:
    """One command's value; its exit status must be this one."""
    found = cloister(*arguments, "--json")
    assert found.status == status, f"{arguments}: {found.out}\n{found.err}"
    return found.value


def ask(folder: Path, kind: str, name: str) -> tuple[Path, str]:
    """The request of ``name`` and the fingerprint that is read out."""
    done(kind, "init", name, "-C", folder / name)
    path = folder / "post" / f"{name}.request.json"
    return path, str(done(kind, "request", name, "--out", path, "-C", folder / name)["key_sha256"])


def approved(folder: Path, path: Path, key: str, status: int = 0) -> Any:
    where = folder / "authority"
    return done(
        "authority", "approve", path, "--fingerprint", key, "--out", folder / "post", "-C", where, status=status
    )


def enrol(folder: Path, kind: str, name: str, fingerprint: str) -> Any:
    path, key = ask(folder, kind, name)
    for approver in (ANN, BEN):
        if (folder / approver / ".cloister" / "people" / approver / "startup" / "client.crt").exists():
            here = folder / approver
            done("authority", "endorse", path, "--as", approver, "--fingerprint", key, "-C", here)
    kit = approved(folder, path, key)["approved"][0]["kit"]
    return done(kind, "join", kit, "--fingerprint", fingerprint, "-C", folder / name)


@pytest.fixture
def fingerprint(folder: Path) -> str:
    """The authority's; and its two approvers have joined."""
    found = str(done("authority", "init", "-C", folder / "authority")["fingerprint"])
    for name in (ANN, BEN):
        enrol(folder, "person", name, found)
    return found


def test_two_people_approve_and_a_site_joins(folder: Path, fingerprint: str) -> None:
    path, key = ask(folder, "site", SITE)
    refused = approved(folder, path, key, status=3)
    assert f"the request of `{SITE}` has 0 of 2 approvals" in refused["error"]["message"]
    done("authority", "endorse", path, "--as", ANN, "--fingerprint", key, "-C", folder / ANN)
    assert "1 of 2" in approved(folder, path, key, status=3)["error"]["message"]
    done("authority", "endorse", path, "--as", BEN, "--fingerprint", key, "-C", folder / BEN)
    made = approved(folder, path, key)["approved"][0]
    assert (made["name"], made["kind"], made["approvers"]) == (SITE, "site", [ANN, BEN])
    joined = done("site", "join", made["kit"], "--fingerprint", fingerprint, "-C", folder / SITE)
    assert (joined["name"], joined["federation"]) == (SITE, "typed")
    assert (folder / SITE / "provisioning" / "federation.yaml").is_file()


def test_nobody_signs_what_nobody_compared(folder: Path, fingerprint: str) -> None:
    path, key = ask(folder, "site", SITE)
    nothing = cloister("authority", "approve", path, "-C", folder / "authority", "--json")
    assert (nothing.status, "nobody has compared" in nothing.error["message"]) == (2, True)
    assert "another fingerprint" in approved(folder, path, "0" * 64, status=3)["error"]["message"]
    wrong = ("authority", "endorse", path, "--as", ANN, "--fingerprint", "0" * 64, "-C", folder / ANN)
    assert "another fingerprint" in done(*wrong, status=3)["error"]["message"]
    stranger = ("authority", "endorse", path, "--as", "eve@x.example", "--fingerprint", key, "-C", folder / ANN)
    assert "not among the approvers" in done(*stranger, status=2)["error"]["message"]


def test_nobody_joins_without_the_authoritys_fingerprint(folder: Path, fingerprint: str) -> None:
    enrol(folder, "site", SITE, fingerprint)
    kit = folder / "post" / f"{SITE}.kit"
    without = cloister("site", "join", kit, "-C", folder / SITE, "--json")
    assert (without.status, "without the authority's fingerprint" in without.error["message"]) == (1, True)
    wrong = done("site", "join", kit, "--fingerprint", "0" * 64, "-C", folder / SITE, status=1)
    assert "another fingerprint" in wrong["error"]["message"]
    other = done("person", "join", kit, "--fingerprint", fingerprint, "-C", folder / SITE, status=1)
    assert f"is for the site `{SITE}`" in other["error"]["message"]


def test_a_name_that_the_roster_does_not_have(folder: Path, fingerprint: str) -> None:
    (folder / "elsewhere").mkdir()
    done("site", "init", "hospital-far", "-C", folder / "elsewhere")
    asked = done("site", "request", "hospital-far", "--out", folder / "post" / "far.json", "-C", folder / "elsewhere")
    refused = approved(folder, folder / "post" / "far.json", asked["key_sha256"], status=1)
    assert "who is not in the roster" in refused["error"]["message"]
    done(
        "authority",
        "endorse",
        folder / "post" / "far.json",
        "--as",
        ANN,
        "--fingerprint",
        "0",
        "-C",
        folder / ANN,
        status=1,
    )


def test_a_renewal_by_file(folder: Path, fingerprint: str) -> None:
    enrol(folder, "site", SITE, fingerprint)
    startup = folder / SITE / ".cloister" / "sites" / SITE / "startup"
    before = {path.name: path.read_bytes() for path in startup.iterdir()}
    time.sleep(1)  # certificates count in seconds, and the next one must end later
    asked = done("renew", SITE, "--new-key", "--out", folder / "post" / "renewal.json", "-C", folder / SITE)
    assert asked["renewals"][0]["name"] == SITE
    assert {path.name: path.read_bytes() for path in startup.iterdir()} == before
    where = folder / "authority"
    made = done("authority", "approve", folder / "post" / "renewal.json", "--out", folder / "post", "-C", where)
    done("site", "join", made["approved"][0]["kit"], "--fingerprint", fingerprint, "-C", folder / SITE)
    after = {path.name: path.read_bytes() for path in startup.iterdir()}
    assert after["client.key"] != before["client.key"]
    assert after["client.crt"] != before["client.crt"]


def test_revoked_and_enrolled_again(folder: Path, fingerprint: str) -> None:
    enrol(folder, "site", SITE, fingerprint)
    where = folder / "authority"
    assert "one line" in done("authority", "revoke", SITE, "--reason", " ", "-C", where, status=2)["error"]["message"]
    gone = done("authority", "revoke", SITE, "--reason", "its laptop was stolen", "-C", where)
    assert len(gone["revoked"]) == 1
    listed = done("authority", "list", "-C", where)
    assert [each["reason"] for each in listed["revoked"]] == ["its laptop was stolen"]
    assert next(each for each in listed["certificates"] if each["name"] == SITE)["certificates"] == 0
    refused = done("site", "join", folder / "post" / f"{SITE}.kit", "--fingerprint", fingerprint, "-C", folder / SITE)
    assert refused["roster"] < gone["roster"]  # an old kit on a machine that has not heard; the server has
    done("site", "init", SITE, "--replace", "-C", folder / SITE)
    joined = enrol(folder, "site", SITE, fingerprint)
    assert joined["roster"] > gone["roster"]
    assert done("authority", "revoke", SITE, "--reason", "again", "--keep-newest", "-C", where)["revoked"] == []
    unknown = done("authority", "revoke", "hospital-far", "--reason", "x", "-C", where, status=2)
    assert "no certificate of this authority" in unknown["error"]["message"]


def test_handing_over(folder: Path, fingerprint: str) -> None:
    enrol(folder, "site", SITE, fingerprint)
    where = folder / "authority"
    for option in ("--switch", "--finish"):
        assert "error" in done("authority", "rotate", option, "-C", where, status=1)
    assert done("authority", "rotate", "--switch", "--finish", "-C", where, status=2)["error"]
    assert len(done("authority", "rotate", "-C", where)["authorities"]) == 2
    switched = done("authority", "rotate", "--switch", "-C", where)
    assert sorted(switched["not_renewed"]) == sorted([ANN, BEN, SITE])
    locked = done("authority", "rotate", "--finish", "-C", where, status=1)
    assert "would be locked out" in locked["error"]["message"]
    for kind, name in (("person", ANN), ("person", BEN), ("site", SITE)):
        path = folder / "post" / f"{name}.renewal.json"
        done("renew", name, "--out", path, "-C", folder / name)
        kit = done("authority", "approve", path, "--out", folder / "post", "-C", where)["approved"][0]["kit"]
        done(kind, "join", kit, "--fingerprint", fingerprint, "-C", folder / name)
    assert done("authority", "rotate", "--finish", "-C", where)["not_renewed"] == []
    after = done("authority", "list", "-C", where)
    assert len(after["authorities"]) == 1
    assert after["fingerprint"] != fingerprint


def test_an_authority_is_never_made_anew(folder: Path, fingerprint: str) -> None:
    again = done("authority", "init", "-C", folder / "authority", status=1)
    assert "there is an authority" in again["error"]["message"]


def test_a_key_is_never_made_anew(folder: Path) -> None:
    assert done("site", "init", SITE, "-C", folder / SITE)["created"]
    key = folder / SITE / ".cloister" / "sites" / SITE / "startup" / "client.key"
    content = key.read_bytes()
    assert not done("site", "init", SITE, "-C", folder / SITE)["created"]
    assert key.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"csr": 1, "adoption": null}', b"\xff", b"[" * 9000])
def test_what_is_no_request_is_told(folder: Path, fingerprint: str, content: bytes) -> None:
    (folder / "post" / "x.json").write_bytes(content)
    found: Done = cloister("authority", "approve", folder / "post" / "x.json", "-C", folder / "authority", "--json")
    assert (found.status, "is not a request for a certificate" in found.error["message"]) == (2, True)
