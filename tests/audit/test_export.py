# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from cloister.audit import FORMATS, Entry, Event, Kind, to_cef
from cloister.audit.event import FIRST
from tests.audit.world import JOB, NOW, SITE


def entry(kind=Kind.RELEASE, facts=None, job=JOB, number=2):
    return Entry(Event(1, NOW, SITE, kind, job, number, facts or {}), FIRST)


def test_json_is_the_line_as_it_is_in_the_log():
    one = entry(facts={"bytes": 3})
    text = FORMATS["json"](one, "1")
    assert text.encode() + b"\n" == one.line()
    assert json.loads(text) == one.to_json()


def test_cef_has_its_header_and_its_pairs():
    one = entry(facts={"bytes": 3, "metrics": ("loss", "accuracy"), "digest": "ab" * 32})
    header, rest = to_cef(one, "0.1.0").rsplit("|", 1)
    assert header == "CEF:0|Cloister|cloister|0.1.0|release|Data released|2"
    assert rest == (
        f"rt=1795185000000 dvchost=alpha externalId=1 cs1Label=job cs1={JOB} cn1Label=round cn1=2 "
        f"cs2Label=hash cs2={one.hash} cloisterBytes=3 cloisterDigest={'ab' * 32} cloisterMetrics=loss, accuracy"
    )


def test_cef_escapes_what_would_end_a_field():
    one = entry(Kind.FAILURE, {"reason": r"a=b\c|d", "point": "egress"}, "", 0)
    text = to_cef(one, "1|2\\3")
    assert text.startswith(r"CEF:0|Cloister|cloister|1\|2\\3|failure|Failure|7|rt=")
    assert r"cloisterReason=a\=b\\c|d" in text
    assert "cs1" not in text
    assert "cn1" not in text


@pytest.mark.parametrize(
    ("kind", "facts", "severity"),
    [
        (Kind.DECISION, {"effect": "allow"}, "2"),
        (Kind.DECISION, {"effect": "deny"}, "5"),
        (Kind.POLICY, {"version": 2}, "2"),
        (Kind.TORN, {}, "7"),
        (Kind.START, {}, "2"),
    ],
)
def test_severity_says_what_wants_looking_at(kind, facts, severity):
    assert to_cef(entry(kind, facts), "1").split("|")[6] == severity


def test_every_kind_can_be_exported():
    for kind in Kind:
        assert to_cef(entry(kind), "1").count("|") == 7


def test_an_envelope_is_left_out_of_cef_and_long_values_are_cut():
    text = to_cef(entry(Kind.CHECKPOINT, {"envelope": "x" * 5000, "covers": 1}), "1")
    assert "xxx" not in text
    assert len(to_cef(entry(Kind.FAILURE, {"reason": "y" * 2000}), "1").split("cloisterReason=")[1]) == 1023


@pytest.mark.parametrize("before", ["", "y"])
def test_a_value_is_cut_as_it_is_written_and_never_within_an_escape(before):
    value = to_cef(entry(Kind.FAILURE, {"reason": before + "=" * 1500}), "1").split("cloisterReason=")[1]
    assert value == before + "\\=" * 511
