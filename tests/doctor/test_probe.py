# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from cloister.doctor import CODES, Finding, Level, Topic, asked_for, examine
from cloister.doctor.finding import in_order
from cloister.doctor.probe import Probe, findings_of
from cloister.errors import ProvisioningError, RecordsError, UsageError
from tests.doctor.world import World, codes


def throwing(error: BaseException) -> Probe:
    def look() -> tuple[Finding, ...]:
        raise error

    return Probe(Topic.DATASETS, "dataset `x`", look)


def test_what_a_probe_finds_is_handed_on() -> None:
    found = in_order(Topic.NAME, "fine")
    assert findings_of(Probe(Topic.NAME, "a name", lambda: (found,))) == (found,)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RecordsError("the file is gone", hint="put it back"), "the file is gone"),
        (PermissionError(13, "Permission denied", "/secret/place"), "`/secret/place`: permission denied"),
        (OSError("no number"), "oserror"),
        (ValueError("Jane Doe, born 1970"), "the check itself failed"),
        (KeyError("Jane"), "the check itself failed"),
        (MemoryError(), "the check itself failed"),
        (RecursionError(), "the check itself failed"),
    ],
)
def test_a_probe_that_throws_is_a_problem_and_quotes_no_stranger(error: Exception, says: str) -> None:
    (found,) = findings_of(throwing(error))
    assert (found.code, found.level) == ("D1299", Level.PROBLEM)
    assert found.message == f"dataset `x` could not be checked: {says}"
    assert "Jane" not in found.message + found.hint


def test_a_probe_that_throws_half_way_is_a_problem() -> None:
    def look() -> Iterator[Finding]:
        yield in_order(Topic.NAME, "fine so far")
        raise RuntimeError

    assert [each.code for each in findings_of(Probe(Topic.NAME, "a name", look))] == ["D0199"]


def test_a_probe_that_says_nothing_is_a_problem() -> None:
    (found,) = findings_of(Probe(Topic.SANDBOX, "the sandbox", lambda: ()))
    assert (found.code, found.level) == ("D0999", Level.PROBLEM)


def test_a_probe_that_does_not_end_is_a_problem_and_holds_nobody_up() -> None:
    held = threading.Event()

    def look() -> tuple[Finding, ...]:
        held.wait(30)
        return (in_order(Topic.NAME, "late"),)

    begun = time.monotonic()
    (found,) = findings_of(Probe(Topic.NAME, "a name", look, seconds=0.2))
    assert time.monotonic() - begun < 2
    held.set()
    assert found.message == "a name could not be checked: it took longer than 0 s"
    assert found.level is Level.PROBLEM


def test_a_code_that_there_is_not_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="D9999"):
        Finding("D9999", "what")


def test_every_topic_can_be_in_order_and_not_checked() -> None:
    for topic in Topic:
        assert CODES[topic.code(0)].level is Level.OK
        assert CODES[topic.code(99)].level is Level.PROBLEM


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("cloister.doctor.machine.resolve", "D0199"),
        ("cloister.doctor.machine.judge_environment", "D0499"),
        ("cloister.doctor.machine.dial", "D0299"),
        ("cloister.doctor.machine.ask_kernel", "D0599"),
        ("cloister.doctor.machine.ask_installed", "D1399"),
        ("cloister.doctor.machine.walk", "D1499"),
        ("cloister.doctor.machine.disk_of", "D1099"),
        ("cloister.doctor.machine.ask_driver", "D1099"),
        ("cloister.doctor.here.read_own", "D0699"),
        ("cloister.doctor.participant.judge_kit", "D0699"),
        ("cloister.doctor.participant.judge_roster", "D0799"),
        ("cloister.doctor.participant.shake_hands", "D0399"),
        ("cloister.doctor.site.load_site", "D1599"),
        ("cloister.doctor.policy.policy_in_force", "D0899"),
        ("cloister.doctor.site.missing", "D0999"),
        ("cloister.doctor.site.ask_memory", "D1099"),
        ("cloister.doctor.site.read_weights", "D1199"),
        ("cloister.doctor.datasets.open_store", "D1299"),
    ],
)
def test_an_examination_goes_on_where_any_look_throws(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str, code: str
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("Jane Doe")

    monkeypatch.setattr(place, fail)
    with world.serving():
        findings = world.findings()
    assert code in codes(findings)
    assert "D1400" in {each.code for each in findings} or code == "D1499"
    assert all("Jane" not in each.message + each.hint for each in findings)


def test_whom_nobody_knows_cannot_be_looked_at(world: World) -> None:
    with pytest.raises(UsageError, match="`nobody` is not in provisioning/federation"):
        asked_for(world.here(), "nobody")


def test_where_nobody_s_key_lies_somebody_must_be_named(world: World) -> None:
    for key in (world.root / ".cloister").rglob("*.key"):
        key.unlink()
    with pytest.raises(UsageError, match="nobody's key lies on this machine"):
        asked_for(world.here(), "")
    (alpha,) = asked_for(world.here(), "alpha")
    assert alpha.name == "alpha"


def test_what_is_looked_at_is_shown_meanwhile(world: World) -> None:
    shown: list[str] = []

    def busy(title: str) -> contextlib.AbstractContextManager[None]:
        shown.append(title)
        return contextlib.nullcontext()

    with world.serving():
        list(examine(world.here(), asked_for(world.here(), "alpha"), busy))
    assert shown[0] == "the name `localhost`"
    assert {"the server's port", "mutual TLS with the server", "dataset `clinical-notes`"} <= set(shown)


def test_another_user_is_told_to_be_the_right_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_args: object) -> bool:
        raise PermissionError(13, "Permission denied", "/srv/fed/.cloister/server")

    monkeypatch.setattr("cloister.doctor.here._has_key", closed)
    with pytest.raises(ProvisioningError, match=r"`/srv/fed/\.cloister/server` is closed to this user"):
        asked_for(world.here(), "")
