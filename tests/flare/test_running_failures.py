# SPDX-License-Identifier: Apache-2.0
"""What dies in a real federation, and what goes on all the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.federation_folder import make_federation
from tests.flare.live import Live, ended, in_round, kill_tree

pytestmark = pytest.mark.flare

# Long enough to be hit in the middle of a round.
_SLOW = {"training": {"steps": 40}, "federation": {"rounds": 3, "round_deadline_seconds": 120}}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    live = Live(make_federation(tmp_path_factory.mktemp("failures"), job=_SLOW))
    live.cli("provision")
    live.cli("policy", "sign")
    yield live
    live.cli("down", expect=None)


@pytest.fixture
def slow(federation: Live) -> Live:
    """The module's federation, with whatever the test before killed started again."""
    federation.cli("up")
    return federation


def test_a_trainer_killed_in_mid_round_is_started_again(slow: Live):
    job_id = slow.submit()
    with slow.session() as session:
        slow.wait(session, job_id, in_round(2))
        inside = slow.process_of("site_process", "beta").children(recursive=True)
        next(process for process in inside if "cloister.training" in " ".join(process.cmdline())).kill()
        assert slow.wait(session, job_id, ended).completed
    slow.cli("job", "fetch", job_id)
    sites = slow.sites_of_result(job_id)
    assert {name: site["restarts"] for name, site in sites.items()} == {"alpha": 0, "beta": 1, "gamma": 0}
    assert [site["rounds"] for site in sites.values()] == [3, 3, 3]


def test_one_site_of_three_killed_does_not_fail_the_job(slow: Live):
    job_id = slow.submit()
    with slow.session() as session:
        slow.wait(session, job_id, in_round(2))
        kill_tree(slow.process_of("cloister.flare.start", "site", "/gamma"))
        assert slow.wait(session, job_id, ended).completed
    slow.cli("job", "fetch", job_id)
    sites = slow.sites_of_result(job_id)
    assert sites["gamma"]["rounds"] < 3
    assert "not reachable" in sites["gamma"]["reason"]
    assert sites["alpha"]["rounds"] == sites["beta"]["rounds"] == 3


def test_a_sites_job_process_killed_does_not_fail_the_job(slow: Live):
    job_id = slow.submit()
    with slow.session() as session:
        slow.wait(session, job_id, in_round(1))
        kill_tree(slow.process_of("site_process", "gamma"))
        assert slow.wait(session, job_id, ended).completed
    slow.cli("job", "fetch", job_id)
    assert slow.sites_of_result(job_id)["alpha"]["rounds"] == 3


def test_a_job_whose_server_side_dies_fails_in_words(slow: Live):
    job_id = slow.submit()
    with slow.session() as session:
        slow.wait(session, job_id, in_round(1))
        slow.process_of("server_process").kill()
    done = slow.cli("job", "watch", job_id, expect=1)
    assert "ended without a result" in done.stderr


def test_a_job_with_too_few_sites_left_fails_in_words(slow: Live):
    job_id = slow.submit()
    with slow.session() as session:
        slow.wait(session, job_id, in_round(2))
        for site in ("beta", "gamma"):
            kill_tree(slow.process_of("site_process", site))
    done = slow.cli("job", "watch", job_id, expect=1)
    assert "1 of 3 sites" in done.stderr


def test_a_job_that_ran_when_its_server_was_stopped_is_said_to_be_lost(slow: Live):
    job_id = slow.submit()
    with slow.session() as session:
        slow.wait(session, job_id, in_round(1))
    slow.cli("down")
    slow.cli("up")
    done = slow.cli("job", "watch", job_id, expect=1)
    assert "was lost: the server was stopped while it ran" in done.stderr
    assert "has ended already" in slow.cli("job", "abort", job_id, expect=None).stderr


def test_down_leaves_nothing_after_the_server_was_killed(slow: Live):
    job_id = slow.submit()
    with slow.session() as session:
        slow.wait(session, job_id, in_round(1))
    os.kill(slow.local.running()["coordinator"].pid, signal.SIGKILL)
    assert slow.processes()
    slow.cli("down")
    assert slow.processes() == []


def test_down_leaves_nothing_after_up_was_killed(stopped: Live):
    stopped.cli("provision")
    stopped.cli("policy", "sign")
    up = stopped.begin("up")
    deadline = time.monotonic() + 30
    while len(stopped.processes()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    up.kill()
    up.communicate()
    assert stopped.processes()
    stopped.cli("down")
    assert stopped.processes() == []
