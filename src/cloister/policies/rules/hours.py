# SPDX-License-Identifier: Apache-2.0
"""`hours`: it is a time at which jobs may be admitted, trained and sent from."""

from __future__ import annotations

from datetime import datetime, timedelta

from cloister.policies.check import Check, Outcomes, Rule
from cloister.policies.terms import Hours


def judge(check: Check) -> Outcomes:
    """Allow from `from` to `until` on the days that are named; asked anew at every gate."""
    hours = check.policy.hours
    if hours is None:
        return check.not_applicable("the policy names no hours, so any time will do")
    window = f"{hours.begin} to {hours.until} UTC on {', '.join(hours.days)}"
    if not _within(hours, check.now):
        moment = f"{_day(check.now)}, {check.now:%H:%M}"
        return check.deny(f"jobs may run from {window}, and it is {moment}", policy=("hours",))
    return check.allow(f"jobs may run from {window}", policy=("hours",))


def _within(hours: Hours, now: datetime) -> bool:
    time, today, yesterday = f"{now:%H:%M}", _day(now), _day(now - timedelta(days=1))
    if hours.begin < hours.until:
        return today in hours.days and hours.begin <= time < hours.until
    return (today in hours.days and time >= hours.begin) or (yesterday in hours.days and time < hours.until)


def _day(moment: datetime) -> str:
    # Not `%A`, which follows the locale of the process.
    return ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")[moment.weekday()]


RULE = Rule("hours", judge, sections=("hours",), waivable=True)
