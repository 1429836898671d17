# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cloister import __version__
from cloister.doctor.contact import judge_contact
from cloister.flare.last_contact import LastContact
from tests.doctor.world import SITE, World, codes

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minutes", "runs", "code"), [(1, True, "D0300"), (6, True, "D0317"), (6, False, "D0300"), (9999, False, "D0300")]
)
def test_a_running_site_that_has_not_spoken_is_told(minutes: int, runs: bool, code: str) -> None:
    last = LastContact(NOW - timedelta(minutes=minutes), NOW, "0.1.0")
    assert judge_contact(last, NOW, runs=runs).code == code


def test_a_site_compares_clock_and_version_with_what_the_server_said(world: World) -> None:
    now = datetime.now(UTC)
    LastContact(now, now + timedelta(minutes=9), "9.9").write(world.workspace)
    assert codes(world.findings()) == {"D0503", "D1303"}
    LastContact(now - timedelta(minutes=8), now - timedelta(minutes=8), __version__).write(world.workspace)
    assert codes(world.findings(running=frozenset({SITE}))) == set()
    assert "D0317" in {each.code for each in world.findings(running=frozenset({SITE}))}
