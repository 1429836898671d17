# SPDX-License-Identifier: Apache-2.0
"""The small federation of the tests of provisioning."""

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
