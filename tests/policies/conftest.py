# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.policies.world import World


@pytest.fixture
def world() -> World:
    return World()
