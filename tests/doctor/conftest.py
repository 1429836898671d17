# SPDX-License-Identifier: Apache-2.0
"""A small federation, provisioned once and split into machines for every test."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey
from cloister.documents import load
from cloister.provisioning import Authority, provision
from cloister.roster import ROSTER, Federation
from tests.doctor.world import World, make_world
from tests.federation_folder import make_federation, records_of
from tests.key_pool import different_keys
from tests.signed_policies import sign_policies

LONG_AGO = timedelta(days=400)


@pytest.fixture(scope="session")
def keys() -> tuple[PrivateKey, ...]:
    return different_keys()


@pytest.fixture(scope="session")
def pristine(keys: tuple[PrivateKey, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A provisioned federation of two sites whose authority is old enough to have signed what has expired since."""
    roster = {"server": {"other_hosts": ["127.0.0.1"]}}
    sites = {name: records_of(name) for name in ("alpha", "beta")}
    root = make_federation(tmp_path_factory.mktemp("pristine") / "federation", sites=sites, roster=roster)
    document = load(root / ROSTER, Federation, name=ROSTER).value
    pool = itertools.cycle(keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrivateKey, "generate", classmethod(lambda cls, bits=3072: next(pool)))
        (root / ".cloister").mkdir(mode=0o700)
        (root / ".cloister" / "authority").mkdir(mode=0o700)
        Authority.create(root / ".cloister" / "authority", document, datetime.now(UTC) - LONG_AGO)
        provision(document, root / ".cloister", datetime.now(UTC))
    sign_policies(root)
    return root


@pytest.fixture(scope="session")
def strangers(keys: tuple[PrivateKey, ...], tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of another federation, as a proxy that inspects TLS would have its own."""
    folder = tmp_path_factory.mktemp("strangers")
    folder.chmod(0o700)
    document = Federation.model_validate_json(
        '{"federation": "elsewhere", "server": {"name": "gateway", "organisation": "network"},'
        ' "sites": [{"name": "other", "organisation": "other"}],'
        ' "people": [{"name": "p@x.example", "organisation": "other", "role": "it-admin"}]}'
    )
    keys[2].write(folder / "authority.key")
    return Authority.create(folder, document, datetime.now(UTC) - LONG_AGO)


@pytest.fixture
def world(pristine: Path, keys: tuple[PrivateKey, ...], strangers: Authority, tmp_path: Path) -> World:
    return make_world(pristine, tmp_path, keys, strangers)
