# SPDX-License-Identifier: Apache-2.0
"""Trust that changes while a federation runs: renewed, handed over, revoked, and kept out.

The authority is offline: all that it says comes in through the session of a person who carries letters. The tests go
one after the other through the life of one federation.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from cloister.audit import FOLDER, Log
from cloister.audit.reader import entries
from cloister.certificates import identities, profile
from cloister.documents import load
from cloister.errors import DeniedError, FederationError
from cloister.flare.complaints import POINT
from cloister.flare.port import is_free
from cloister.flare.session import PersonSession
from cloister.provisioning.renewal import request_renewal
from cloister.provisioning.rotation import announce, finish, switch
from cloister.repository import load_repository
from cloister.roster import ROSTER, Federation
from cloister.trust import take_up, trust_in_force
from tests.federation_folder import JOB, OFFICER, PERSON, SITES, change_document, make_federation
from tests.flare.live import Live, ended, in_round, kill_tree
from tests.flare.offline_authority import OfflineAuthority, wait

pytestmark = [pytest.mark.flare, pytest.mark.slow]

CARRIER, OTHER = "ivan@research.example", "bob@research.example"
SERVER = "coordinator"
MACHINES = (SERVER, *SITES)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, OfflineAuthority]]:
    """A federation that is up, and its authority, which is elsewhere."""
    people = [
        {"name": PERSON, "organisation": "institute", "role": "data-scientist"},
        {"name": OFFICER, "organisation": "institute", "role": "compliance-officer"},
        {"name": CARRIER, "organisation": "institute", "role": "it-admin"},
        {"name": OTHER, "organisation": "institute", "role": "data-scientist"},
    ]
    # Some two minutes, in which there is time for what happens meanwhile.
    federation = {"rounds": 20, "minimum_sites": 2, "round_deadline_seconds": 60}
    job = {"federation": federation, "training": {"steps": 8}}
    root = make_federation(tmp_path_factory.mktemp("running"), roster={"people": people}, job=job)
    live = Live(root)
    live.cli("provision")
    live.cli("policy", "sign")
    authority = OfflineAuthority.taken_from(root, tmp_path_factory.mktemp("offline") / "authority")
    try:
        live.cli("up")
        yield live, authority
    finally:
        live.cli("down", expect=None)


@contextmanager
def carried(live: Live, authority: OfflineAuthority) -> Iterator[PersonSession]:
    """Somebody carries letters all the time, over a session of their own."""
    stop = threading.Event()

    def carry() -> None:
        while not stop.wait(1.0):
            authority.answer(session)

    with live.session(CARRIER) as session:
        thread = threading.Thread(target=carry, daemon=True)
        thread.start()
        try:
            yield session
        finally:
            stop.set()
            thread.join()


def submitted(live: Live, session: PersonSession) -> str:
    return session.submit(load_repository(live.root).jobs[JOB], list(SITES))


def brought(carrier: PersonSession, roster: bytes) -> None:
    """Leave a roster at the server, which takes it."""
    taken = carrier.deposit([roster], {})
    assert taken["refused"] == {}, taken


def logged(live: Live, name: str) -> str:
    return logged_in(live.local.state.server if name == SERVER else live.local.state.site(name))


def logged_in(workspace: Path) -> str:
    return (workspace / "log.txt").read_text(encoding="utf-8")


def test_a_running_job_survives_new_keys_of_its_site_and_of_the_server(
    running: tuple[Live, OfflineAuthority],
) -> None:
    live, authority = running
    with live.session() as session:
        job_id = submitted(live, session)
        live.wait(session, job_id, in_round(2))
        before = {name: authority.certificate_of(name) for name in ("alpha", SERVER)}
        for identity in identities(authority.federation):
            if identity.name in before:
                request_renewal(authority.workspace(identity.name), identity, datetime.now(UTC), new_key=True)
        with carried(live, authority):
            for name in before:
                wait(lambda name=name: authority.certificate_of(name) != before[name], f"a certificate of {name}")
        for name, certificate in before.items():
            assert authority.certificate_of(name).public_key() != certificate.public_key()
        wait(lambda: logged(live, "alpha").count("connected to the server anew") > 0, "another connection")
        view = session.job(job_id)
        assert not view.finished, "the job ended before there was anything to survive"
        assert live.wait(session, job_id, ended).completed
        session.fetch(job_id, live.local.state.result(job_id))
    assert set(live.sites_of_result(job_id)) == set(SITES)
    assert authority.refused == {}
    kill_tree(live.process_of("cloister.flare.start", "server"))
    port = live.local.remembered_port()
    wait(lambda: port is not None and is_free(port), "the end of the server")
    assert live.local.start([]) == [SERVER]
    assert live.local.remembered_port() == port
    live.local.wait_until_listening(60)
    with live.session() as session:  # the sites' tokens are signed with the key before the last
        wait(lambda: sorted(session.connected_sites()) == sorted(SITES), "the sites")


def test_an_authority_hands_over_while_everything_runs(running: tuple[Live, OfflineAuthority]) -> None:
    live, authority = running
    first = authority.authority.certificate
    with live.session() as session:
        with live.session(CARRIER) as carrier:
            announce(authority.authority, authority.federation, datetime.now(UTC))
            brought(carrier, authority.latest())
            authority.wait_for_roster(*MACHINES)
            assert len(trust_in_force(authority.workspace("alpha")).anchors.roots) == 2
            job_id = submitted(live, session)
            live.wait(session, job_id, in_round(2))
            switch(authority.authority, authority.federation, datetime.now(UTC))
            brought(carrier, authority.latest())
            following = authority.authority.certificate
            assert following != first
        with carried(live, authority):
            wait(lambda: all(_is_by(authority, name, following) for name in MACHINES), "certificates of the next one")
            for person in (PERSON, OFFICER, CARRIER, OTHER):
                with live.session(person) as own:
                    wait(lambda own=own, person=person: own.sync() or _is_by(authority, person, following), person)
        assert authority.refused == {}
        assert live.wait(session, job_id, ended).completed
        session.fetch(job_id, live.local.state.result(job_id))
    assert set(live.sites_of_result(job_id)) == set(SITES)
    # What an officer signed with a certificate of the first authority ends with that one.
    live.cli("policy", "sign", "baseline", *SITES)
    with live.session(CARRIER) as carrier:
        finish(authority.authority, authority.federation, datetime.now(UTC))
        brought(carrier, authority.latest())
        authority.wait_for_roster(*MACHINES)
    for name in MACHINES:
        assert trust_in_force(authority.workspace(name)).anchors.roots == (following,)
    with live.session() as session:
        assert sorted(session.connected_sites()) == sorted(SITES)
        assert live.wait(session, submitted(live, session), ended).completed


def _is_by(authority: OfflineAuthority, name: str, root: x509.Certificate) -> bool:
    return profile.is_issued_by(authority.certificate_of(name), root)


def test_certificates_of_minutes_are_renewed_in_time_and_whoever_does_not_renew_is_put_out(
    running: tuple[Live, OfflineAuthority],
) -> None:
    """Nobody answers one of the sites, which comes back with a new kit."""
    live, authority = running
    short = {name: authority.issue(name, datetime.now(UTC), timedelta(minutes=3)) for name in SITES}
    with live.session(CARRIER) as carrier:
        brought(carrier, authority.publish())
    for name, certificate in short.items():
        authority.lay_down(name, certificate)
    end = max(authority.certificate_of(name).not_valid_after_utc for name in SITES)
    authority.held_back.add("gamma")
    with live.session() as session:
        job_id = submitted(live, session)
        with carried(live, authority):
            renewed = ("alpha", "beta")
            wait(lambda: all(authority.certificate_of(each).not_valid_after_utc > end for each in renewed), "renewals")
        assert live.wait(session, job_id, ended).completed
        left = (end - datetime.now(UTC)).total_seconds()
        took = wait(lambda: session.connected_sites() == ["alpha", "beta"], "the end of gamma", max(left, 0) + 20)
        assert took > left - 1
        wait(lambda: "expired" in logged(live, SERVER) and "expired" in logged(live, "gamma"), "words for it")
    with live.session(CARRIER) as carrier:
        certificate = authority.issue("gamma", datetime.now(UTC), timedelta(days=30))
        roster = authority.publish()
        brought(carrier, roster)
        take_up(authority.workspace("gamma"), roster)
        authority.lay_down("gamma", certificate)
        wait(lambda: carrier.connected_sites() == sorted(SITES), "the return of gamma")
    with live.session() as session:
        assert live.wait(session, submitted(live, session), ended).completed


def test_a_revoked_persons_queued_job_is_refused_and_their_session_ends(
    running: tuple[Live, OfflineAuthority], record_property: Callable[[str, object], None]
) -> None:
    live, authority = running
    with live.session() as session, live.session(CARRIER) as carrier:
        first = submitted(live, session)
        live.wait(session, first, in_round(1))
        with live.session(OTHER) as theirs:
            queued = submitted(live, theirs)
            assert theirs.jobs()
            brought(carrier, authority.revoke(OTHER, "left the institute"))
            begun = time.monotonic()
            with pytest.raises((FederationError, DeniedError)):
                while time.monotonic() < begun + 60:
                    theirs.jobs()
                    time.sleep(0.2)
            record_property("seconds until a revoked person was put out", round(time.monotonic() - begun, 1))
        assert not session.job(first).finished
        with pytest.raises(FederationError, match="revoked"), live.session(OTHER):
            pass
        assert live.wait(session, first, ended).completed
        view = live.wait(session, queued, ended)
        assert not view.completed
        said = [line for line in logged(live, SERVER).splitlines() if queued in line and "revoked" in line]
        assert said, "the server's log says why the job was refused"


def test_a_revoked_sites_connection_ends_and_its_job_goes_on_without_it(
    running: tuple[Live, OfflineAuthority], record_property: Callable[[str, object], None]
) -> None:
    live, authority = running
    with live.session() as session, live.session(CARRIER) as carrier:
        job_id = submitted(live, session)
        live.wait(session, job_id, in_round(3))
        begun = time.monotonic()
        brought(carrier, authority.revoke("gamma", "its key was on a stolen laptop"))
        wait(lambda: session.connected_sites() == ["alpha", "beta"], "the end of gamma", 60)
        record_property("seconds until a revoked site was put out", round(time.monotonic() - begun, 1))
        assert not session.job(job_id).finished, "the job ended before there was anything to go on with"
        assert live.wait(session, job_id, ended).completed
        session.fetch(job_id, live.local.state.result(job_id))
        assert "gamma" not in session.connected_sites()
    said = live.sites_of_result(job_id)
    assert set(said) >= {"alpha", "beta"}
    wait(lambda: "stolen laptop" in logged(live, "gamma"), "what gamma is told")
    assert "stolen laptop" in logged(live, SERVER)
    assert any("stolen laptop" in reason for reason in recorded(authority, SERVER))


def test_whoever_left_the_roster_cannot_join_and_no_certificate_that_was_not_issued(
    running: tuple[Live, OfflineAuthority],
) -> None:
    live, authority = running
    roster = load(live.root / ROSTER, Federation).value.model_dump(mode="json", exclude_defaults=True)
    left = [site for site in roster["sites"] if site["name"] != "gamma"]
    beta = authority.workspace("beta")
    with live.session(CARRIER) as carrier:
        change_document(live.root, ROSTER, {"sites": [site for site in left if site["name"] != "beta"]})
        brought(carrier, authority.publish())
        wait(lambda: carrier.connected_sites() == ["alpha"], "beta to be put out")
        wait(lambda: "not in the roster" in logged_in(beta), "what beta is told")
        assert any("`beta`" in reason and "not in the roster" in reason for reason in recorded(authority, SERVER))
        # A site that runs would be handed its own certificate back, by the mailbox, within ten seconds.
        live.process_of("cloister.flare.start", str(live.local.state.site("alpha"))).kill()
        wait(lambda: carrier.connected_sites() == [], "alpha to be gone")
        authority.lay_down("alpha", authority.sign_by_a_side_door("alpha"))
        assert live.local.start(["alpha"])
        wait(lambda: "was not issued" in logged(live, SERVER), "words for it")
        time.sleep(15)
        assert carrier.connected_sites() == []


def recorded(authority: OfflineAuthority, name: str) -> list[str]:
    """The reasons in an audit log why connections were refused or closed."""
    log = Log(authority.workspace(name) / FOLDER, name, lambda: None)
    found = [entry.event for entry in entries(log.path)]
    return [str(event.facts["reason"]) for event in found if event.facts.get("point") == POINT]
