# SPDX-License-Identifier: Apache-2.0
"""A small federation, provisioned once and copied for every test that changes it."""

from __future__ import annotations

import functools
import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import PrivateKey
from cloister.provisioning import Authority, provision
from cloister.roster import Federation
from tests.provisioning.world import federation


@pytest.fixture(scope="session", autouse=True)
def proven_once() -> Iterator[None]:
    """Prove the primes of each key once in a session, because proving takes 0.1 s and nearly every test loads some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serialization, "load_pem_private_key", functools.cache(serialization.load_pem_private_key))
        yield


@pytest.fixture(scope="session")
def now() -> datetime:
    """The present, because OpenSSL and NVFlare look at the real clock."""
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def roster() -> Federation:
    return federation()


@pytest.fixture(scope="session")
def rsa_keys() -> tuple[rsa.RSAPrivateKey, ...]:
    """Three real keys that belong to nobody."""
    with ThreadPoolExecutor(3) as pool:
        return tuple(pool.map(lambda _: rsa.generate_private_key(65537, 3072), range(3)))


@pytest.fixture(scope="session")
def keys(rsa_keys: tuple[rsa.RSAPrivateKey, ...]) -> tuple[PrivateKey, ...]:
    """The same three, wrapped."""
    return tuple(PrivateKey(key) for key in rsa_keys)


@pytest.fixture
def pooled_keys(keys: tuple[PrivateKey, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand out the same real keys again and again, where a test makes many that it never compares."""
    pool: Iterator[PrivateKey] = itertools.cycle(keys)
    monkeypatch.setattr(PrivateKey, "generate", classmethod(lambda cls, bits=3072: next(pool)))


@pytest.fixture(scope="session")
def pristine(roster: Federation, now: datetime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A provisioned state that no test may change."""
    folder = tmp_path_factory.mktemp("pristine") / "state"
    provision(roster, folder, now)
    return folder


@pytest.fixture
def state(pristine: Path, tmp_path: Path) -> Path:
    """A provisioned state of the test's own."""
    return Path(shutil.copytree(pristine, tmp_path / "state"))


@pytest.fixture
def authority(state: Path) -> Authority:
    return Authority.open(state / "authority")


@pytest.fixture
def other_authority(keys: tuple[PrivateKey, ...], roster: Federation, now: datetime, tmp_path: Path) -> Authority:
    """An authority of the same name with another key, as an attacker would make."""
    folder = tmp_path / "other"
    folder.mkdir(mode=0o700)
    keys[0].write(folder / "authority.key")
    return Authority.create(folder, roster, now)
