# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from cloister.doctor.clock import Kernel, Past, ask_kernel, judge_clock, judge_difference
from cloister.doctor.spans import said
from tests.doctor.world import World, codes

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SET, UNSET, UNKNOWN = Kernel(True), Kernel(False), Kernel()


def told(now: datetime = NOW, kernel: Kernel = SET, *past: Past) -> list[str]:
    return [each.code for each in judge_clock(now, past, kernel)]


def test_a_clock_that_nothing_contradicts_is_in_order() -> None:
    assert told() == ["D0500"]
    assert told(NOW, UNKNOWN) == ["D0500"]
    assert told(NOW, SET, Past("x", NOW)) == ["D0500"]
    assert judge_difference(NOW, NOW - timedelta(seconds=59)).code == "D0500"


def test_a_clock_before_something_that_was_signed_is_behind_by_so_much() -> None:
    past = (Past("the certificate begins", NOW - timedelta(days=1)), Past("the roster was signed", NOW))
    (found,) = judge_clock(NOW - timedelta(hours=3, minutes=4), past, SET)
    assert found.code == "D0501"
    assert found.message == (
        "this machine's clock says 2026-11-27 08:56 UTC, but the roster was signed on 2026-11-27 12:00 UTC: "
        "it is behind by 3 hours 4 minutes or more"
    )


@pytest.mark.parametrize(
    ("off", "code", "words"),
    [
        (timedelta(minutes=2), "D0504", "2 minutes behind the server's"),
        (-timedelta(minutes=2), "D0504", "2 minutes ahead of the server's"),
        (timedelta(minutes=5), "D0504", "5 minutes behind"),
        (timedelta(minutes=6), "D0503", "6 minutes behind the server's"),
        (-timedelta(days=2), "D0503", "2 days ahead of the server's"),
    ],
)
def test_a_clock_that_differs_from_the_server_s(off: timedelta, code: str, words: str) -> None:
    found = judge_difference(NOW, NOW + off)
    assert found.code == code
    assert words in found.message


def test_a_clock_that_nothing_keeps_right_is_a_warning() -> None:
    assert told(NOW, UNSET) == ["D0502"]
    assert told(NOW, UNSET, Past("x", NOW + timedelta(days=1))) == ["D0501", "D0502"]


def test_the_kernel_is_asked_and_nothing_changed() -> None:
    before = datetime.now(UTC)
    found = ask_kernel()
    assert found.synchronised in (True, False, None)
    assert datetime.now(UTC) - before < timedelta(seconds=5)


def test_where_the_kernel_may_not_be_asked_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoSuchLibrary:
        def __init__(self, _name: object) -> None:
            raise OSError

    monkeypatch.setattr("ctypes.CDLL", NoSuchLibrary)
    assert ask_kernel() == UNKNOWN


def test_a_machine_whose_clock_is_behind_is_told_so_and_its_certificate_s_date_with_it(world: World) -> None:
    findings = world.findings(now=datetime.now(UTC) - timedelta(days=2))
    assert codes(findings) >= {"D0501", "D0609"}
    (clock,) = [each for each in findings if each.code == "D0501"]
    assert re.search(r"roster was signed on .*: it is behind by (2 days|1 day 23 hours)", clock.message)


def test_a_machine_whose_clock_is_ahead_finds_everything_expired(world: World) -> None:
    with world.serving():
        findings = world.findings(now=datetime.now(UTC) + timedelta(days=366))
    assert {"D0303", "D0608", "D0704"} <= codes(findings)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(), "0 seconds"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=-61), "1 minute 1 second"),
        (timedelta(hours=25), "1 day 1 hour"),
        (timedelta(days=400, seconds=5), "400 days 5 seconds"),
    ],
)
def test_spans_are_said_in_two_units(span: timedelta, words: str) -> None:
    assert said(span) == words
