# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from cloister.provisioning import PrivateKey
from tests.cli.commands import cloister
from tests.federation_folder import PERSON, make_federation


@pytest.fixture(scope="module")
def two_keys() -> tuple[PrivateKey, PrivateKey]:
    return PrivateKey.generate(), PrivateKey.generate()


@pytest.fixture
def root(tmp_path: Path, two_keys: tuple[PrivateKey, PrivateKey], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A federation whose participants share two real keys, because finding one takes up to two seconds."""
    keys = itertools.cycle(two_keys)
    monkeypatch.setattr(PrivateKey, "generate", classmethod(lambda cls, bits=3072: next(keys)))
    return make_federation(tmp_path / "federation")


def test_everybody_gets_a_certificate_and_keeps_it(root: Path) -> None:
    first, second = (cloister("provision", "-C", root, "--json") for _ in range(2))
    assert (first.status, second.status) == (0, 0)
    assert [entry["name"] for entry in first.value] == [entry["name"] for entry in second.value]
    assert {"coordinator", "alpha", "beta", "gamma", PERSON} <= {entry["name"] for entry in first.value}
    assert all(entry["created"] for entry in first.value)
    assert not any(entry["created"] for entry in second.value)
    assert [entry["fingerprint"] for entry in first.value] == [entry["fingerprint"] for entry in second.value]


def test_people_read_made_then_kept(root: Path) -> None:
    assert "made" in cloister("provision", "-C", root).out
    words = cloister("provision", "-C", root).out
    assert "kept" in words
    assert "alpha" in words


def test_status_after_provisioning(root: Path) -> None:
    cloister("provision", "-C", root)
    done = cloister("status", "-C", root, "--json")
    assert done.status == 0
    for entry in done.value["processes"]:
        assert entry["pid"] is None
        assert entry["certificate_days"] in (364, 365)
        assert entry["problems"] == []
    assert PERSON not in [entry["name"] for entry in done.value["processes"]]
