# SPDX-License-Identifier: Apache-2.0
"""docs/doctor.md: every code of `cloister doctor` with level, cause and cure, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloister.doctor import CODES, Level, Topic
from cloister.doctor.codes import Topic as Numbers
from tests.docs.pages import ROOT, sections, text_of

PAGE = text_of("docs/doctor.md")
HEADINGS = sections(PAGE, 3)
PLAIN = {topic.code(number) for topic in Topic for number in (0, 99)}
SOURCES = sorted((ROOT / "src" / "cloister" / "doctor").glob("*.py"))


def test_every_code_has_its_heading_and_no_other_has() -> None:
    assert list(HEADINGS) == [f"`{code}` {each.title}" for code, each in CODES.items() if code not in PLAIN]


@pytest.mark.parametrize("code", [code for code in CODES if code not in PLAIN])
def test_every_code_has_level_cause_and_cure(code: str) -> None:
    text = HEADINGS[f"`{code}` {CODES[code].title}"].strip()
    cause, cure = text.split("\n\n")[:2]
    assert cause.startswith(f"*{CODES[code].level.value.capitalize()}.* ")
    assert len(cause) > 30
    assert cure.startswith("**Do:** ")
    assert CODES[code].level is not Level.OK


def test_every_topic_is_in_the_table() -> None:
    rows = re.findall(r"^\| (.+) \| `(D\d\d00)` \| `(D\d\d99)` \|$", PAGE, re.MULTILINE)
    assert [(good, bad) for _, good, bad in rows] == [(topic.code(0), topic.code(99)) for topic in Numbers]
    assert [f"{title}: in order" for title, _, _ in rows] == [CODES[topic.code(0)].title for topic in Topic]


def test_codes_that_the_page_speaks_of_exist() -> None:
    assert set(re.findall(r"\bD\d{4}\b", PAGE)) <= set(CODES)


def test_every_code_is_tried_by_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "doctor").glob("*.py"))
    assert [code for code in CODES if code not in PLAIN and code not in tests] == []


def codes_in(path: Path) -> set[str]:
    return set(re.findall(r'"(D\d{4})"', path.read_text(encoding="utf-8")))


def test_every_code_is_given_somewhere_and_no_other_is() -> None:
    given = set().union(*(codes_in(path) for path in SOURCES if path.name != "codes.py"))
    assert given == set(CODES) - PLAIN
