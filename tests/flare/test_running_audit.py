# SPDX-License-Identifier: Apache-2.0
"""The audit logs of a real federation: processes, a job, an orderly end, and one that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.audit import FILE, Entry, Kind, entries
from tests.federation_folder import JOB, OFFICER, PERSON, SITES, make_federation
from tests.flare.live import Live

pytestmark = pytest.mark.flare


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """A federation after a `cloister run` that started and stopped it."""
    live = Live(make_federation(tmp_path_factory.mktemp("audited")))
    live.cli("provision")
    live.cli("policy", "sign")
    live.cli("run", JOB)
    return live


def log_of(live: Live, name: str) -> Path:
    state = live.local.state
    return (state.server if name == "coordinator" else state.site(name)) / "audit" / FILE


def read(live: Live, name: str) -> list[Entry]:
    return list(entries(log_of(live, name)))


def test_every_log_is_in_order_and_vouched_for_to_its_end(finished: Live) -> None:
    reports = finished.json("audit", "verify")
    assert [report["participant"] for report in reports] == ["coordinator", *SITES]
    assert all(report["broken"] is None and report["uncovered"] == 0 for report in reports)


def test_a_site_s_log_tells_the_job_from_its_admission_to_its_end(finished: Live) -> None:
    for site in SITES:
        events = [entry.event for entry in read(finished, site)]
        kinds = [event.kind for event in events]
        assert kinds[:3] == [Kind.START, Kind.KEY, Kind.CHECKPOINT]
        assert kinds[-2:] == [Kind.STOP, Kind.CHECKPOINT]
        decisions = [event for event in events if event.kind is Kind.DECISION]
        assert [event.facts["point"] for event in decisions] == ["admission", "start", "view", *["egress"] * 3]
        assert all(event.facts["effect"] == "allow" for event in decisions)
        assert decisions[0].facts["submitter"] == PERSON
        (policy,) = [event for event in events if event.kind is Kind.POLICY]
        assert policy.facts["signer"] == OFFICER
        assert {event.facts["policy"] for event in decisions} == {policy.facts["digest"]}
        released = [(event.facts["reply"], event.round) for event in events if event.kind is Kind.RELEASE]
        assert released == [("prepared", 0), ("update", 1), ("update", 2), ("update", 3)]
        assert kinds.count(Kind.VIEW) == 1
        assert Kind.FAILURE not in kinds


def test_the_server_s_log_tells_what_came_and_what_was_made_of_it(finished: Live) -> None:
    events = [entry.event for entry in read(finished, "coordinator")]
    received = sorted((str(event.facts["site"]), event.round) for event in events if event.kind is Kind.RECEIVE)
    assert received == sorted((site, number) for site in SITES for number in range(4))
    (result,) = [event for event in events if event.kind is Kind.RESULT]
    assert result.facts["sites"] == SITES
    assert [event.kind for event in events][-2:] == [Kind.STOP, Kind.CHECKPOINT]


def test_what_the_sites_released_is_what_the_server_received(finished: Live) -> None:
    messages = finished.json("audit", "compare", "last")["messages"]
    assert len(messages) == 4 * len(SITES)
    assert {message["verdict"] for message in messages} == {"same"}


def test_no_log_holds_a_record(finished: Live) -> None:
    for name in ("coordinator", *SITES):
        text = log_of(finished, name).read_text(encoding="utf-8")
        assert "patient with" not in text
        assert "bed " not in text


def test_a_number_changed_in_one_site_s_log_is_found(finished: Live) -> None:
    path = log_of(finished, "beta")
    whole = path.read_bytes()
    number = next(entry for entry in read(finished, "beta") if entry.event.kind is Kind.VIEW).event.sequence
    try:
        path.write_bytes(whole.replace(b'"training":18', b'"training":19'))
        (report,) = finished.json("audit", "verify", "beta", expect=1)
        assert (report["broken"]["line"], report["broken"]["fault"]) == (number, "edited")
    finally:
        path.write_bytes(whole)


def test_a_damaged_log_keeps_a_site_from_starting_and_a_torn_one_does_not(finished: Live) -> None:
    path = log_of(finished, "alpha")
    whole = path.read_bytes()
    try:
        path.write_bytes(whole + b"{}\n")
        assert "damaged at its end" in finished.cli("up", expect=1).stderr
        finished.cli("down")
        path.write_bytes(whole + b'{"facts":{')
        finished.cli("up")
    finally:
        finished.cli("down", expect=None)
    found = [entry.event.kind for entry in read(finished, "alpha")]
    assert found[whole.count(b"\n") :][:2] == [Kind.TORN, Kind.START]
    assert finished.json("audit", "verify", "alpha")[0]["broken"] is None
    part = next(path.parent.glob("torn-*.part"))
    assert part.read_bytes() == b'{"facts":{'
