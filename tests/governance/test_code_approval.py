# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import difflib
from datetime import date

import pytest

from cloister.documents import Document, parse
from cloister.errors import CloisterError
from cloister.governance.code_approval import CodeApproved, with_approval
from cloister.policies import Policy

NEW = CodeApproved("ab" * 32, "olga@research.example", date(2026, 9, 30))
ENTRY = [
    f"+    - sha256: {NEW.sha256}",
    "+      by: olga@research.example",
    "+      until: 2026-09-30",
]
HEAD = """\
# north: what may train here.

policy: north
version: 3                       # raise it with every change
extends: baseline
owner: Dr Nora Lind, officer     # answers for it
valid_from: 2026-01-01
valid_until: 2027-12-31

purposes: [care-improvement]     # and no other
"""
TAIL = """\

sandbox: required                # no network, no keys
"""
OLD = "cd" * 32


def document(text: str) -> Document[Policy]:
    return parse(text.encode(), Policy, name="policies/north.yaml")


def edited(text: str) -> str:
    return with_approval(document(text), NEW).decode()


def changes(text: str) -> list[str]:
    """Lines taken out and put in."""
    diff = difflib.unified_diff(text.splitlines(), edited(text).splitlines(), lineterm="", n=0)
    return [line for line in diff if not line.startswith(("---", "+++", "@@"))]


VERSION = [
    "-version: 3                       # raise it with every change",
    "+version: 4                       # raise it with every change",
]


def test_adds_the_section_where_there_is_none() -> None:
    assert changes(HEAD + TAIL) == [*VERSION, "+", "+code:", "+  approved:", *ENTRY]


def test_adds_the_section_where_the_last_line_has_no_end() -> None:
    assert changes((HEAD + TAIL).rstrip()) == [*VERSION, "+", "+code:", "+  approved:", *ENTRY]


def test_ends_files_as_people_expect() -> None:
    text = edited(HEAD + TAIL)
    assert text.endswith("30\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("word", ["forbidden", "'forbidden'", '"forbidden"'])
def test_takes_the_place_of_forbidden(word: str) -> None:
    text = f"{HEAD}code: {word}   # until the board has met\n{TAIL}"
    expected = [f"-code: {word}   # until the board has met", "+code:", "+  approved:"]
    assert changes(text) == [*VERSION, *expected, *ENTRY]


LIST = f"""\
code:
  # read line by line by two people
  approved:
    - sha256: {OLD}   # focal loss
      by: olga@research.example
      until: 2026-07-01   # then the board decides anew
    # nothing older
"""


def test_adds_to_a_list_behind_its_last_entry() -> None:
    assert changes(HEAD + LIST + TAIL) == [*VERSION, *ENTRY]
    assert edited(HEAD + LIST + TAIL).index(OLD) < edited(HEAD + LIST + TAIL).index(NEW.sha256)


def test_keeps_the_indent_of_a_list() -> None:
    text = HEAD + LIST.replace("    -", "  -").replace("      by", "    by").replace("      until", "    until") + TAIL
    assert changes(text) == [*VERSION, *(line.replace("+  ", "+", 1) for line in ENTRY)]


def test_adds_to_a_list_at_the_end_of_the_file() -> None:
    assert changes(HEAD + LIST) == [*VERSION, *ENTRY]
    assert changes((HEAD + LIST).replace("    # nothing older\n", "").rstrip()) == [*VERSION, *ENTRY]


def test_adds_to_a_list_whose_entries_are_written_on_one_line() -> None:
    entry = f"    - {{sha256: {OLD}, by: olga, until: 2026-07-01}}\n"
    assert changes(f"{HEAD}code:\n  approved:\n{entry}{TAIL}") == [*VERSION, *ENTRY]


def test_approves_twice_one_after_the_other() -> None:
    once = edited(HEAD + TAIL)
    other = CodeApproved("ef" * 32, "olga@research.example", date(2026, 10, 1))
    twice = document(with_approval(document(once), other).decode()).value
    assert twice.version == 5
    assert [entry.sha256 for entry in twice.code.approved] == [NEW.sha256, other.sha256]  # type: ignore[union-attr]


def test_keeps_the_line_ends_of_other_systems() -> None:
    for text in (HEAD + TAIL, HEAD + LIST + TAIL, f"{HEAD}code: forbidden\n{TAIL}"):
        windows = edited(text.replace("\n", "\r\n"))
        assert windows.replace("\r\n", "\n") == edited(text)
        assert windows.count("\n") == windows.count("\r\n")


NOT_EDITED = {
    "a list in brackets": f"code:\n  approved: [{{sha256: {OLD}, by: olga, until: 2026-07-01}}]\n",
    "a section in braces": f"code: {{approved: [{{sha256: {OLD}, by: olga, until: 2026-07-01}}]}}\n",
    "a word on the next line": "code:\n  forbidden\n",
    "text over several lines": (
        f"code:\n  approved:\n    - sha256: {OLD}\n"
        "      until: 2026-07-01\n      by: >-\n        olga,\n        officer\n"
    ),
}


@pytest.mark.parametrize("section", NOT_EDITED.values(), ids=NOT_EDITED)
def test_says_what_to_write_where_it_cannot_edit(section: str) -> None:
    with pytest.raises(CloisterError, match="cannot be edited") as caught:
        edited(HEAD + section + TAIL)
    assert "raise its `version` to 4" in caught.value.hint
    assert f"- sha256: {NEW.sha256}" in caught.value.hint


@pytest.mark.parametrize("line", ['"version": 3', "version: +3", "? version\n: 3"])
def test_says_so_where_the_version_is_written_oddly(line: str) -> None:
    text = (HEAD + TAIL).replace("version: 3                       # raise it with every change", line)
    with pytest.raises(CloisterError, match="cannot be edited"):
        edited(text)


def test_a_policy_in_braces_is_left_alone() -> None:
    text = "{policy: north, version: 3, extends: baseline, owner: x, valid_from: 2026-01-01, valid_until: 2027-01-01}\n"
    with pytest.raises(CloisterError, match="cannot be edited"):
        edited(text)


def test_a_document_that_ends_with_a_mark_is_left_alone() -> None:
    with pytest.raises(CloisterError, match="cannot be edited"):
        edited(HEAD + TAIL + "...\n")
