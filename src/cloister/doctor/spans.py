# SPDX-License-Identifier: Apache-2.0
"""Spans of time and moments, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def said(span: timedelta) -> str:
    """``span`` in its two largest units, such as `3 days 4 hours`; its sign is left out."""
    left = round(abs(span.total_seconds()))
    parts = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count} {unit}" + ("" if count == 1 else "s"))
    return " ".join(parts[:2]) or "0 seconds"


def moment(when: datetime) -> str:
    """``when`` to the minute, in UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
