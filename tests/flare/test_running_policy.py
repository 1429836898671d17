# SPDX-License-Identifier: Apache-2.0
"""Policies that are not in force, in a running federation: the next job is refused in one sentence, without a restart.

Where two of three sites refuse, a job that needs two ends as denied; the tests change all sites' policies.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

import pytest

from cloister.repository import load_repository
from tests.federation_folder import JOB, OFFICER, SITES, change_document
from tests.flare.live import Live, ended, in_round
from tests.signed_policies import changed_policies, sign_policies

pytestmark = pytest.mark.flare

_SOON = 30.0


def refused(running: Live) -> str:
    """Submit the job past the command line's own check; what the submitter reads when it has ended, within seconds."""
    begun = time.monotonic()
    with running.session() as session:
        job_id = session.submit(load_repository(running.root).jobs[JOB], list(SITES))
        view = running.wait(session, job_id, ended)
    assert view.finished
    assert not view.completed
    assert time.monotonic() - begun < _SOON
    return running.cli("job", "watch", job_id, expect=3).stderr


def status_of(running: Live, site: str = "alpha") -> dict[str, object]:
    return next(row for row in running.json("status")["processes"] if row["name"] == site)


def test_status_shows_who_signed_what_is_in_force(running: Live):
    version = load_repository(running.root).policies["alpha"].value.version
    shown = dict(status_of(running)["policy"])  # type: ignore[call-overload]
    until = date.fromisoformat(shown.pop("until"))
    assert shown == {"version": version, "signed_by": OFFICER}
    left = until - datetime.now(UTC).date()
    assert timedelta(days=170) < left <= timedelta(days=180), "a signature ends with its officer's certificate"


def test_unsigned_policies_refuse_and_status_says_so(running: Live):
    signatures = [running.root / f"policies/{site}.yaml.sig" for site in SITES]
    before = {path: path.read_bytes() for path in signatures}
    try:
        for path in signatures:
            path.unlink()
        assert "`policies/alpha.yaml` is not signed" in refused(running)
        assert "`policies/alpha.yaml` is not signed" in str(status_of(running)["problems"])
        early = running.cli("run", JOB, expect=3)
        assert "cloister policy sign" in early.stderr
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def test_policies_changed_after_they_were_signed_refuse(running: Live):
    paths = [running.root / f"policies/{site}.yaml" for site in SITES]
    before = {path: path.read_bytes() for path in paths}
    try:
        for path, content in before.items():
            path.write_bytes(content + b"# looser\n")
        assert "`policies/alpha.yaml` was changed after" in refused(running)
        assert "was changed after" in str(status_of(running)["problems"])
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def test_an_older_policy_that_is_put_back_refuses(running: Live):
    older = {path: path.read_bytes() for site in SITES for path in (running.root / "policies").glob(f"{site}.yaml*")}
    for site in SITES:
        version = load_repository(running.root).policies[site].value.version
        change_document(running.root, f"policies/{site}.yaml", {"version": version + 1})
    sign_policies(running.root, *SITES)
    newer = {path: path.read_bytes() for path in older}
    running.cli("job", "watch", running.submit())  # the sites take the newer ones up
    try:
        for path, content in older.items():
            path.write_bytes(content)
        assert "was put back after version" in refused(running)
        assert "was put back after version" in str(status_of(running)["problems"])
    finally:
        for path, content in newer.items():
            path.write_bytes(content)


def test_a_tightened_policy_denies_the_next_job_by_its_rule(running: Live):
    with changed_policies(running.root, {"purposes": ["service-improvement"]}, *SITES):
        said = refused(running)
    assert "`purpose`" in said
    assert "policies/alpha.yaml:" in said
    assert f"jobs/{JOB}.yaml:" in said


def test_revoking_stops_a_running_job_at_its_next_gate(running: Live):
    path = running.root / f"jobs/{JOB}.yaml"
    before = path.read_bytes()
    change_document(running.root, f"jobs/{JOB}.yaml", {"training": {"steps": 20}, "federation": {"rounds": 20}})
    try:
        job_id = running.submit()
        with running.session() as session:
            running.wait(session, job_id, in_round(2))
            running.cli("policy", "revoke", "baseline", "--reason", "a patient objected")
            view = running.wait(session, job_id, ended)
        assert view.finished
        assert not view.completed
        told = running.cli("job", "watch", job_id, expect=3)
        said = f"version 1 of the policy of `baseline` was revoked by `{OFFICER}`: a patient objected"
        assert said in told.stdout + told.stderr
        assert "was revoked" in refused(running)
    finally:
        path.write_bytes(before)
        change_document(running.root, "policies/baseline.yaml", {"version": 2})
        running.cli("policy", "sign", "baseline")
    running.cli("job", "watch", running.submit())  # a higher version takes jobs again
