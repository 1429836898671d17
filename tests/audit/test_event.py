# SPDX-License-Identifier: Apache-2.0
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.audit import FACTS, Entry, Event, Kind
from cloister.audit.event import FIRST, MAXIMUM_LINE_BYTES, read_line
from cloister.errors import AuditError
from cloister.files import canonical_json, sha256_of
from tests.audit.world import JOB, NOW, SITE


def event(**changes):
    parts = {
        "sequence": 1,
        "time": NOW,
        "participant": SITE,
        "kind": Kind.RELEASE,
        "job": JOB,
        "round": 2,
        "facts": {"digest": "ab" * 32, "bytes": 10, "metrics": ("loss",), "norm": 0.5},
    }
    return Event(**(parts | changes))


def test_an_entry_is_one_line_and_the_line_is_the_entry():
    entry = Entry(event(), FIRST)
    assert read_line(entry.line()) == entry
    value = json.loads(entry.line())
    assert value["time"] == "2026-11-20T14:30:00.000000Z"
    assert value["previous"] == FIRST
    said = value.pop("hash")
    assert said == sha256_of(canonical_json(value)) == entry.hash


def test_every_kind_has_its_facts():
    assert set(FACTS) == set(Kind)
    for kind, names in FACTS.items():
        assert event(kind=kind, facts=dict.fromkeys(names, "x")).facts


@pytest.mark.parametrize(
    "changes",
    [
        {"facts": {"note": "patient with chest pain"}},
        {"facts": {"digest": {"a": 1}}},
        {"facts": {"digest": b"x"}},
        {"facts": {"digest": None}},
        {"facts": {"digest": "x" * 2001}},
        {"facts": {"digest": "two\nlines"}},
        {"facts": {"digest": "\ud800"}},
        {"facts": {"norm": float("nan")}},
        {"facts": {"norm": float("inf")}},
        {"facts": {"bytes": 1 << 63}},
        {"facts": {"metrics": tuple(range(1001))}},
        {"facts": {"metrics": (("nested",),)}},
        {"facts": {"envelope": "x"}},
        {"participant": "Alpha"},
        {"participant": ""},
        {"job": "../x"},
        {"sequence": 0},
        {"sequence": True},
        {"round": -1},
        {"time": datetime(2026, 1, 1)},
        {"time": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))},
    ],
)
def test_what_a_log_may_not_hold_is_refused(changes):
    with pytest.raises(AuditError) as caught:
        event(**changes)
    assert "chest pain" not in str(caught.value)


def test_a_line_has_a_longest_length():
    many = {"metrics": tuple("x" * 1000 for _ in range(100))}
    with pytest.raises(AuditError, match="longer"):
        Entry(event(facts=many), FIRST).line()
    with pytest.raises(AuditError, match="longer"):
        read_line(b"x" * MAXIMUM_LINE_BYTES + b"\n")


def test_facts_cannot_be_changed_afterwards():
    with pytest.raises(TypeError):
        event().facts["bytes"] = 11


@given(st.data())
def test_any_changed_byte_of_a_line_is_found(data):
    line = Entry(event(), FIRST).line()
    index = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[index]))
    with pytest.raises(AuditError):
        read_line(line[:index] + bytes([other]) + line[index + 1 :])


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"[" * 5000 + b"\n",
        b"\xff\n",
        Entry(event(), FIRST).line().rstrip(b"\n"),
        Entry(event(), FIRST).line().replace(b'":', b'": ', 1),
        b'{"a":1,' + Entry(event(), FIRST).line()[1:],
        Entry(event(), "g" * 64).line(),
    ],
)
def test_what_is_no_line_of_a_log_is_refused(line):
    with pytest.raises(AuditError):
        read_line(line)


def test_time_is_written_in_utc_to_the_microsecond():
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert b'"time":"2026-01-02T03:04:05.000006Z"' in Entry(event(time=moment), FIRST).line()
