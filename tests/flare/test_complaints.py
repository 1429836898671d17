# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import pytest

from cloister.errors import AuditError
from cloister.flare import complaints as module
from cloister.flare.complaints import POINT, Complaints


class Audit:
    """An audit log that remembers, or cannot be written."""

    def __init__(self, *, broken: bool = False) -> None:
        self.reasons: list[str] = []
        self.broken = broken

    def append(self, _kind: object, facts: dict[str, str], **_about: object) -> None:
        if self.broken:
            raise AuditError("the disk is full")
        assert facts["point"] == POINT
        self.reasons.append(facts["reason"])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_sentence_is_said_once_a_minute_and_recorded_once_an_hour(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit()
    complaints = Complaints(audit)
    for _ in range(200):
        complaints.say("alpha is revoked")
        clock[0] += 1
    assert len(caplog.records) == 4
    assert audit.reasons == ["alpha is revoked"]
    clock[0] += 3600
    complaints.say("alpha is revoked")
    complaints.say("beta is revoked")
    assert audit.reasons == ["alpha is revoked", "alpha is revoked", "beta is revoked"]


def test_a_refused_connection_is_one_sentence_whatever_its_port(clock: list[float]) -> None:
    audit = Audit()
    complaints = Complaints(audit)
    for port in range(100):
        complaints.refused(f"ipv4:192.0.2.1:{port}", "it was revoked")
    assert audit.reasons == ["refused a connection from ipv4:192.0.2.1: it was revoked"]


def test_a_sentence_is_the_same_at_another_time(clock: list[float]) -> None:
    audit = Audit()
    complaints = Complaints(audit)
    for second in range(10, 60):
        complaints.say(f"alpha expired on 2026-11-27 11:17:50 UTC, and it is 2026-11-27 11:18:{second} UTC")
    complaints.say("alpha is not valid before 2026-11-27 12:00 UTC")
    assert len(audit.reasons) == 2


def test_what_is_only_noted_is_not_recorded(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    audit = Audit()
    Complaints(audit).note("the mailbox is full")
    assert audit.reasons == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_sentences_do_not_pile_up(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_REASONS", 5)
    complaints = Complaints(Audit())
    for number in range(50):
        complaints.say(f"{number}")
    assert len(complaints._said) <= 5 and len(complaints._recorded) <= 5


def test_a_log_that_cannot_be_written_is_no_obstacle(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    Complaints(Audit(broken=True)).say("alpha is revoked")
    assert "alpha is revoked" in caplog.text
