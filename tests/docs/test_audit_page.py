# SPDX-License-Identifier: Apache-2.0
"""docs/audit.md: every kind of event with every fact, every key of a line, every fault."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.audit import ERROR, FACTS, FOLDER, UNREADABLE, Entry, Event, Kind, Verdict
from cloister.audit.event import FIRST, MAXIMUM_LINE_BYTES
from cloister.audit.export import to_cef
from cloister.audit.last_checkpoint import path_of
from cloister.audit.log import CHECKPOINT_EVERY
from cloister.audit.verify import Fault
from tests.docs.pages import sections, text_of

PAGE = text_of("docs/audit.md")


def rows(section: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \| \S.*\|$", section, re.MULTILINE)


def test_every_kind_of_event_has_its_heading() -> None:
    assert list(sections(PAGE, 3)) == [f"`{kind}`" for kind in Kind]


@pytest.mark.parametrize("kind", Kind)
def test_every_fact_has_its_line(kind: Kind) -> None:
    named = rows(sections(PAGE, 3)[f"`{kind}`"])
    assert len(named) == len(set(named))
    assert set(named) == FACTS[kind]


def entry() -> Entry:
    return Entry(Event(1, datetime(2026, 1, 1, tzinfo=UTC), "alpha", Kind.DECISION, "", 1, {"effect": "deny"}), FIRST)


def test_every_key_of_a_line_is_named() -> None:
    assert set(rows(sections(PAGE, 2)["A line"])) == set(json.loads(entry().line()))
    assert f"{MAXIMUM_LINE_BYTES // 1024} KiB" in PAGE


def test_every_fault_is_named() -> None:
    said = sections(PAGE, 2)["To check a log elsewhere"]
    assert set(re.findall(r"\*([^*]+)\*", said.replace("\n", " "))) == {fault.value for fault in Fault}


def test_every_verdict_is_explained_and_every_contradiction_named() -> None:
    section = sections(PAGE, 2)["To compare two logs"]
    said = dict(re.findall(r"^\| `([^`]+)` \| (\S.*) \|$", section, re.MULTILINE))
    assert set(said) == set(Verdict)
    assert {word for word, text in said.items() if "contradiction" in text} == {
        verdict for verdict in Verdict if verdict.is_contradiction
    }


def test_numbers_and_fields_are_the_code_s() -> None:
    assert CHECKPOINT_EVERY == 100
    assert f"`{UNREADABLE}` where" in PAGE
    assert f"`{ERROR}` for" in PAGE
    assert f"`{path_of(Path(FOLDER))}`" in PAGE
    assert "every hundredth entry" in PAGE
    said = sections(PAGE, 2)["For a SIEM"]
    line = to_cef(entry(), "1")
    assert "cloisterEffect=deny" in line
    for field in re.findall(r"`(rt|dvchost|externalId|cn1|cs2)`", said):
        assert f" {field}=" in f" {line.rsplit('|', 1)[1]}"
