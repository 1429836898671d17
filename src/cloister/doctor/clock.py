# SPDX-License-Identifier: Apache-2.0
"""Is this machine's clock right? Judged by what cannot have been signed in the future, and by the kernel's own word."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloister.doctor import spans
from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order

TOLERATED = timedelta(minutes=5)
"""By how much a clock may be wrong: certificates begin so long before they are signed (`certificates.profile`)."""

_A_LITTLE = timedelta(minutes=1)
_UNSYNCHRONISED = 0x0040  # STA_UNSYNC of adjtimex(2)
_SET = "let the machine keep its clock right (NTP), such as with `timedatectl set-ntp true`; then look again"


@dataclass(frozen=True)
class Past:
    """A moment that has surely come.

    Attributes:
        what: what happened then, such as `the roster was signed`.
        when: aware time.
    """

    what: str
    when: datetime


@dataclass(frozen=True)
class Kernel:
    """What the kernel says of its clock.

    Attributes:
        synchronised: whether something keeps it right; None where the kernel does not say.
        error: the most by which it may be wrong; None where the kernel does not say.
    """

    synchronised: bool | None = None
    error: timedelta | None = None


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2), as far as it is read; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_long * 40),
    )


def ask_kernel() -> Kernel:
    """What adjtimex(2) says; nothing is changed, and nothing is said where a container forbids the question."""
    answer = _Timex()
    try:
        if ctypes.CDLL(None).adjtimex(ctypes.byref(answer)) < 0:
            return Kernel()
    except (OSError, AttributeError):
        return Kernel()
    return Kernel(not answer.status & _UNSYNCHRONISED, timedelta(microseconds=answer.maxerror))


def judge_clock(now: datetime, past: Iterable[Past], kernel: Kernel) -> Iterator[Finding]:
    """What is to be said of a clock that shows ``now`` (pure).

    Args:
        now: aware time, by this machine.
        past: what has surely come.
        kernel: the kernel's word.
    """
    latest = max(past, key=lambda each: each.when, default=None)
    found: list[Finding] = []
    if latest is not None and latest.when > now:
        behind = spans.said(latest.when - now)
        message = f"this machine's clock says {spans.moment(now)}, but {latest.what} on {spans.moment(latest.when)}: "
        found.append(Finding("D0501", f"{message}it is behind by {behind} or more", _SET))
    if kernel.synchronised is False:
        found.append(
            Finding("D0502", "nothing keeps this machine's clock right: the kernel says it is not synchronised", _SET)
        )
    words = f"this machine's clock says {spans.moment(now)}"
    kept = "is synchronised" if kernel.synchronised else "the kernel does not say whether it is synchronised"
    yield from found or [in_order(Topic.CLOCK, f"{words}; {kept}")]


def judge_difference(now: datetime, server: datetime) -> Finding:
    """What is to be said of this machine's clock beside the server's, at one moment (pure)."""
    off = server - now
    if abs(off) <= _A_LITTLE:
        return in_order(Topic.CLOCK, "this machine's clock and the server's agree to within a minute")
    message = f"this machine's clock is {spans.said(off)} {'behind' if off > timedelta() else 'ahead of'} the server's"
    hint = f"{_SET}; if this clock is right, tell the server's people"
    return Finding("D0503" if abs(off) > TOLERATED else "D0504", message, hint)
