# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from tests.policies.world import World


def test_allows_the_sites_own_silo(world: World) -> None:
    assert world.effects("silo") == ["allow", "not-applicable"]


def test_denies_another_sites_silo(world: World) -> None:
    world.silo["site"] = "hospital-river"
    refusal = world.refusal("silo")
    assert "`hospital-river`, not of `hospital-north`" in refusal.message
    assert "silo.yaml:2" in refusal.message
