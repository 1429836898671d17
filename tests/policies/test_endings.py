# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import date

from cloister.policies import Policy
from cloister.policies.endings import ends_on
from tests.policies.world import World, document


def test_everything_that_ends_is_named_with_its_key_and_its_last_day(world: World) -> None:
    world.site["datasets"]["letters"]["approval"] = {"kind": "consent", "reference": "form 3", "until": "2026-07-01"}
    world.waive("hours", until="2026-08-01")
    world.waive("records", until="2026-09-01")
    policy = document(world.site, Policy, "site.yaml")
    assert ends_on(policy.value) == (
        ("the policy", ("valid_until",), date(2027, 12, 31)),
        (
            "the approval of dataset `clinical-notes`",
            ("datasets", "clinical-notes", "approval", "until"),
            date(2099, 12, 31),
        ),
        ("the approval of dataset `letters`", ("datasets", "letters", "approval", "until"), date(2026, 7, 1)),
        ("the approval of code `cccccccccccc…`", ("code", "approved", 0, "until"), date(2099, 12, 31)),
        ("the approval of code `dddddddddddd…`", ("code", "approved", 1, "until"), date(2099, 12, 31)),
        ("the waiver of `hours`", ("waivers", 0, "until"), date(2026, 8, 1)),
        ("the waiver of `records`", ("waivers", 1, "until"), date(2026, 9, 1)),
    )
    assert all(path in policy.source.lines for _, path, _ in ends_on(policy.value))


def test_what_names_no_day_does_not_end(world: World) -> None:
    world.site["code"] = "forbidden"
    del world.site["datasets"]["clinical-notes"]["approval"]
    only = (("the policy", ("valid_until",), date(2027, 12, 31)),)
    assert ends_on(document(world.site, Policy, "site.yaml").value) == only
    world.silence_baseline()
    assert ends_on(document(world.baseline, Policy, "baseline.yaml").value) == only
