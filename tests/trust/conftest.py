# SPDX-License-Identifier: Apache-2.0
"""The small federation of the tests of provisioning, and one whose authority's key the test has."""

from datetime import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.provisioning.conftest import (
    authority,
    keys,
    now,
    other_authority,
    pooled_keys,
    pristine,
    proven_once,
    roster,
    rsa_keys,
    state,
)
from tests.trust.chains.world import NAMES, World, make_world

__all__ = [
    "authority",
    "keys",
    "now",
    "other_authority",
    "pooled_keys",
    "pristine",
    "proven_once",
    "roster",
    "rsa_keys",
    "state",
]


@pytest.fixture(scope="session")
def worlds(rsa_keys: tuple[rsa.RSAPrivateKey, ...], now: datetime) -> dict[str, World]:
    """A federation with its authority's key, seen as each kind of participant."""
    return {kind: make_world(name, rsa_keys, now.replace(microsecond=0)) for kind, name in NAMES.items()}
