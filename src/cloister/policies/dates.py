# SPDX-License-Identifier: Apache-2.0
"""From which day to which a policy counts."""

from __future__ import annotations

from datetime import date

from cloister.policies.model import Policy


def outside_dates(policy: Policy, today: date) -> tuple[str, str] | None:
    """Why ``policy`` does not count today, and the key that says so; None where it does, both days included."""
    if today < policy.valid_from:
        return f"the policy counts from {policy.valid_from} and today is {today}", "valid_from"
    if today > policy.valid_until:
        return f"the policy ended on {policy.valid_until} and today is {today}", "valid_until"
    return None
