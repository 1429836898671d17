# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey
from tests.cli.commands import cloister
from tests.federation_folder import PERSON, make_federation
from tests.key_pool import different_keys


@pytest.fixture(scope="module")
def different() -> tuple[PrivateKey, ...]:
    return different_keys()


@pytest.fixture
def root(tmp_path: Path, different: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A federation that is not provisioned yet."""
    keys = itertools.cycle(different)
    monkeypatch.setattr(PrivateKey, "generate", classmethod(lambda cls, bits=3072: next(keys)))
    return make_federation(tmp_path / "federation")


def test_everybody_gets_a_certificate_and_keeps_it(root: Path) -> None:
    first, second = (cloister("provision", "-C", root, "--json") for _ in range(2))
    assert (first.status, second.status) == (0, 0)
    before, after = first.value["issued"], second.value["issued"]
    assert [entry["name"] for entry in before] == [entry["name"] for entry in after]
    assert {"coordinator", "alpha", "beta", "gamma", PERSON} <= {entry["name"] for entry in before}
    assert all(entry["created"] for entry in before)
    assert not any(entry["created"] for entry in after)
    assert [entry["fingerprint"] for entry in before] == [entry["fingerprint"] for entry in after]
    assert first.value["retired"] == second.value["retired"] == []


def test_who_left_the_roster_is_told_of_and_not_touched(root: Path) -> None:
    cloister("provision", "-C", root)
    gone = root / ".cloister" / "sites" / "delta"
    gone.mkdir()
    done = cloister("provision", "-C", root)
    assert ".cloister/sites/delta: no longer in the roster" in done.out
    assert cloister("provision", "-C", root, "--json").value["retired"] == [".cloister/sites/delta"]
    assert gone.is_dir()


def test_people_read_made_then_kept(root: Path) -> None:
    assert "made" in cloister("provision", "-C", root).out
    words = cloister("provision", "-C", root).out
    assert "kept" in words
    assert "alpha" in words


def test_status_after_provisioning(root: Path) -> None:
    cloister("provision", "-C", root)
    cloister("policy", "sign", "-C", root)
    done = cloister("status", "-C", root, "--json")
    assert done.status == 0
    for entry in done.value["processes"]:
        assert entry["pid"] is None
        assert entry["certificate_days"] in (364, 365)
        assert entry["problems"] == []
    assert PERSON not in [entry["name"] for entry in done.value["processes"]]
    assert PERSON in [entry["name"] for entry in done.value["people"]]
    authority = done.value["authority"]
    assert authority["certificate_days"] in (3649, 3650)
    assert authority["problems"] == authority["findings"] == []
    assert "authority" in cloister("status", "-C", root).out


def test_status_tells_what_is_wrong_with_a_key_and_how_to_mend_it(root: Path) -> None:
    cloister("provision", "-C", root)
    key = root / ".cloister" / "sites" / "alpha" / "startup" / "client.key"
    key.chmod(0o644)
    done = cloister("status", "-C", root)
    assert "key readable by others" in done.out
    assert f"chmod 600 {key}" in done.out
    entry = next(
        each for each in cloister("status", "-C", root, "--json").value["processes"] if each["name"] == "alpha"
    )
    assert "can be read by others" in entry["findings"][0]
