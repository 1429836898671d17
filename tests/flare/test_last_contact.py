# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.flare.last_contact import FILE, LastContact, note_contact

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ANSWER = {"time": (NOW + timedelta(seconds=3)).isoformat(), "version": "0.1.0", "rosters": [], "grant": None}


def test_what_the_server_says_of_itself_is_written_down_for_the_owner_alone(tmp_path: Path) -> None:
    note_contact(tmp_path, ANSWER, NOW)
    assert LastContact.read(tmp_path) == LastContact(NOW, NOW + timedelta(seconds=3), "0.1.0")
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_it_is_written_once_in_a_while_and_at_once_where_it_matters(tmp_path: Path) -> None:
    note_contact(tmp_path, ANSWER, NOW)
    note_contact(tmp_path, ANSWER, NOW + timedelta(seconds=10))
    assert LastContact.read(tmp_path) == LastContact(NOW, NOW + timedelta(seconds=3), "0.1.0")
    for moment, version in ((NOW + timedelta(seconds=20), "0.2.0"), (NOW + timedelta(seconds=90), "0.2.0")):
        note_contact(tmp_path, {**ANSWER, "version": version}, moment)
        found = LastContact.read(tmp_path)
        assert found is not None
        assert (found.at, found.version) == (moment, version)
    note_contact(tmp_path, ANSWER, NOW - timedelta(days=1))  # the clock was set back
    found = LastContact.read(tmp_path)
    assert found is not None and found.at == NOW - timedelta(days=1)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"time": "noon", "version": "1"},
        {"time": None},
        {"time": "0001-01-01T00:00:00+23:00", "version": "1"},
        {"rosters": []},
    ],
)
def test_an_answer_that_says_nothing_of_it_leaves_nothing_and_stops_nobody(
    tmp_path: Path, answer: dict[str, object]
) -> None:
    note_contact(tmp_path, answer, NOW)
    assert LastContact.read(tmp_path) is None


def test_a_note_that_cannot_be_written_or_read_stops_nobody(tmp_path: Path) -> None:
    note_contact(tmp_path / "missing", ANSWER, NOW)
    (tmp_path / FILE).write_text('{"at": 1}')
    assert LastContact.read(tmp_path) is None
    note_contact(tmp_path, ANSWER, NOW)
    assert LastContact.read(tmp_path) is not None
