# SPDX-License-Identifier: Apache-2.0
"""The server's mailbox and a participant's side of it, without a wire between them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message

from cloister import __version__
from cloister.certificates import Identity, pem
from cloister.errors import CloisterError, DeniedError, FederationError
from cloister.flare.connections import CERTIFICATE
from cloister.flare.letters import exchange_letters, must_ask, own_certificate
from cloister.flare.mailbox import MAXIMUM_BYTES, Mailbox, ask
from cloister.flare.state import State
from cloister.flare.trust_watch import TrustWatch
from cloister.flare.upkeep import Upkeep, exchange_at_server
from cloister.provisioning import Authority
from cloister.provisioning.granting import grant_renewals
from cloister.provisioning.renewal import is_requested, request_renewal
from cloister.provisioning.revoking import revoke
from cloister.provisioning.rotation import announce, switch
from cloister.repository import load_repository
from cloister.trust import roster_file, trust_in_force
from cloister.trust.mailbox import grant_for, put_grant, put_roster, requests_in
from tests.federation_folder import OFFICER, PERSON
from tests.flare.renewed import new_roster, renewed
from tests.flare.signed_jobs import provisioned

CARRIER = "ivan@research.example"


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return provisioned(tmp_path)


@pytest.fixture
def mailbox(root: Path) -> Mailbox:
    return Mailbox(State(root).server, TrustWatch(State(root).server))


@pytest.fixture
def alpha(root: Path) -> TrustWatch:
    return TrustWatch(State(root).site("alpha"))


def entry(root: Path, name: str) -> Identity:
    return TrustWatch(State(root).server).entry(name)


def authority(root: Path) -> Authority:
    return Authority.open(State(root).folder / "authority")


def answered(root: Path, mailbox: Mailbox) -> dict[str, str]:
    """Have the authority answer what waits in the mailbox, and a carrier bring the answers; returns who was refused."""
    carrier = entry(root, CARRIER)
    requests = {name: text.encode() for name, text in mailbox.collect(carrier, {})["requests"].items()}
    federation = load_repository(root).federation.value
    granted, refused = grant_renewals(authority(root), federation, requests, datetime.now(UTC))
    brought = {
        "rosters": [new_roster(root).decode()],
        "grants": {name: content.decode() for name, content in granted.items()},
    }
    assert mailbox.deposit(carrier, brought)["refused"] == {}
    return {name: str(error) for name, error in refused.items()}


def exchange(root: Path, mailbox: Mailbox, name: str) -> Any:
    """How a participant asks: through JSON, as over the wire."""
    return lambda body: json.loads(json.dumps(mailbox.sync(entry(root, name), json.loads(json.dumps(body)))))


def test_a_renewal_goes_there_and_back_and_is_asked_for_once(root: Path, mailbox: Mailbox, alpha: TrustWatch) -> None:
    identity, before = entry(root, "alpha"), own_certificate(alpha, "alpha")
    asking = exchange(root, mailbox, "alpha")
    assert not exchange_letters("alpha", alpha, asking)
    assert requests_in(mailbox.folder) == {}  # it is not time
    request_renewal(alpha.workspace, identity, datetime.now(UTC), new_key=True)
    assert not exchange_letters("alpha", alpha, asking)
    assert list(requests_in(mailbox.folder)) == ["alpha"]
    assert answered(root, mailbox) == {}
    assert requests_in(mailbox.folder) == {}
    assert alpha.trust().version == 1
    assert exchange_letters("alpha", alpha, asking)
    assert alpha.trust().version == 2
    after = own_certificate(alpha, "alpha")
    assert after.public_key() != before.public_key()
    assert requests_in(mailbox.folder) == {}  # sent once more before its answer was there
    assert not is_requested(alpha.workspace)
    assert not exchange_letters("alpha", alpha, asking)
    assert own_certificate(alpha, "alpha") == after


def test_an_answer_from_before_is_no_answer_to_the_next_request(
    root: Path, mailbox: Mailbox, alpha: TrustWatch
) -> None:
    """The certificate that a site has came by another way than the one which lies in the mailbox, for the same key."""
    put_grant(mailbox.folder, "alpha", renewed(root, "alpha"))
    time.sleep(1.1)  # a certificate begins at a second
    by_kit = renewed(root, "alpha")
    mailbox.bring_roster(new_roster(root))
    asking = exchange(root, mailbox, "alpha")
    exchange_letters("alpha", alpha, lambda body: {**asking(body), "grant": None})
    (alpha.workspace / "startup" / "client.crt").write_bytes(by_kit)
    request_renewal(alpha.workspace, entry(root, "alpha"), datetime.now(UTC))
    assert not exchange_letters("alpha", alpha, asking)
    assert list(requests_in(mailbox.folder)) == ["alpha"]


def test_the_same_goes_for_people(root: Path, mailbox: Mailbox) -> None:
    watch = TrustWatch(State(root).person(PERSON))
    request_renewal(watch.workspace, entry(root, PERSON), datetime.now(UTC))
    before = own_certificate(watch, PERSON)
    exchange_letters(PERSON, watch, exchange(root, mailbox, PERSON))
    answered(root, mailbox)
    assert exchange_letters(PERSON, watch, exchange(root, mailbox, PERSON))
    assert own_certificate(watch, PERSON) != before


def test_past_half_of_its_lifetime_and_under_a_parting_authority_it_asks(root: Path, alpha: TrustWatch) -> None:
    certificate, now = own_certificate(alpha, "alpha"), datetime.now(UTC)
    assert not must_ask(certificate, alpha.trust(), now)
    assert must_ask(certificate, alpha.trust(), now + timedelta(days=200))
    federation = load_repository(root).federation.value
    switch(announce(authority(root), federation, now), federation, now)
    watch = Mailbox(alpha.workspace, alpha)  # any mailbox verifies as the roster in force there does
    for path in sorted((State(root).folder / "authority" / "rosters").glob("*.json")):
        watch.bring_roster(path.read_bytes())
    assert must_ask(certificate, alpha.trust(), now)


def test_a_request_of_somebody_else_is_refused(root: Path, mailbox: Mailbox, alpha: TrustWatch) -> None:
    request = request_renewal(alpha.workspace, entry(root, "alpha"), datetime.now(UTC)).decode()
    with pytest.raises(DeniedError, match="another's"):
        mailbox.sync(entry(root, "beta"), {"version": 1, "have": "", "request": request})
    for nonsense in ("x", "{}", "[" * 5000):
        with pytest.raises(CloisterError):
            mailbox.sync(entry(root, "alpha"), {"version": 1, "have": "", "request": nonsense})
    assert requests_in(mailbox.folder) == {}


@pytest.mark.parametrize("name", ["alpha", "coordinator", PERSON, OFFICER])
def test_letters_are_carried_by_those_who_look_after_machines_alone(root: Path, mailbox: Mailbox, name: str) -> None:
    for do in (mailbox.collect, mailbox.deposit):
        with pytest.raises(DeniedError, match="not open"):
            do(entry(root, name), {})


def test_what_does_not_count_is_left_out_with_its_reason(root: Path, mailbox: Mailbox, tmp_path: Path) -> None:
    theirs = roster_file(State(provisioned(tmp_path / "other", "theirs")).server).read_text()
    unlisted, listed = (
        renewed(root, "alpha").decode(),
        (State(root).site("beta") / "startup" / "client.crt").read_text(),
    )
    grants = {"alpha": unlisted, "gamma": listed, "beta": listed, "../x": listed, "nobody": "nonsense"}
    said = mailbox.deposit(entry(root, CARRIER), {"rosters": [theirs, "nonsense", ""], "grants": grants})
    assert said["roster"] == 1
    assert said["grants"] == ["beta"]
    assert said["refused"].keys() == {"roster 1", "roster 2", "roster 3", "alpha", "gamma", "../x", "nobody"}
    assert "not issued" in said["refused"]["alpha"]
    assert "that of `beta`" in said["refused"]["gamma"]
    assert grant_for(mailbox.folder, "alpha") is None


def test_a_grant_that_does_not_count_any_more_is_not_handed_out(
    root: Path, mailbox: Mailbox, alpha: TrustWatch
) -> None:
    put_grant(mailbox.folder, "alpha", renewed(root, "alpha"))
    asking = {"version": 1, "have": "", "request": None}
    assert mailbox.sync(entry(root, "alpha"), asking)["grant"] is None  # in no roster
    mailbox.bring_roster(new_roster(root))
    assert mailbox.sync(entry(root, "alpha"), asking)["grant"]
    own = pem.fingerprint(pem.parse_certificate(grant_for(mailbox.folder, "alpha") or b"", "x"))
    assert mailbox.sync(entry(root, "alpha"), {**asking, "have": own})["grant"] is None
    put_grant(mailbox.folder, "beta", grant_for(mailbox.folder, "alpha") or b"")
    assert mailbox.sync(entry(root, "beta"), asking)["grant"] is None
    revoke(authority(root), "alpha", "stolen", datetime.now(UTC))
    mailbox.bring_roster(new_roster(root))
    assert mailbox.sync(entry(root, "alpha"), asking)["grant"] is None


def test_the_answer_says_the_time_and_the_version(root: Path, mailbox: Mailbox) -> None:
    said = mailbox.sync(entry(root, "alpha"), {"version": 1, "have": "", "request": None})
    assert abs((datetime.fromisoformat(said["time"]) - datetime.now(UTC)).total_seconds()) < 5
    assert said["version"] == __version__


def letter(root: Path, body: object, site: str = "alpha") -> Message:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    message = Message(headers={}, payload=payload)
    message.set_prop(CERTIFICATE, (State(root).site(site) / "startup" / "client.crt").read_bytes())
    return message


def said(message: Message) -> dict[str, Any]:
    assert message.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK
    return dict(json.loads(message.payload))


def test_whose_letter_it_is_the_connection_says(root: Path, mailbox: Mailbox) -> None:
    asked = letter(root, {"version": 1, "have": "", "request": None})
    assert "time" in said(mailbox.answer(asked, mailbox.sync, 1000))
    asked.set_prop(CERTIFICATE, b"")
    assert "error" in said(mailbox.answer(asked, mailbox.sync, 1000))
    assert "not open" in said(mailbox.answer(letter(root, {}), mailbox.collect, 1000))["error"]
    revoke(authority(root), "alpha", "stolen", datetime.now(UTC))
    mailbox.bring_roster(new_roster(root))
    asked = letter(root, {"version": 1, "have": "", "request": None})
    assert "stolen" in said(mailbox.answer(asked, mailbox.sync, 1000))["error"]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"1", b"x" * 1001, b"[" * 900, b"{}", b'{"version": "x"}'])
def test_a_letter_that_says_nothing_is_refused(root: Path, mailbox: Mailbox, body: bytes) -> None:
    assert said(mailbox.answer(letter(root, body), mailbox.sync, 1000))["error"]


def test_a_payload_that_is_no_bytes_is_refused(root: Path, mailbox: Mailbox) -> None:
    asked = letter(root, {})
    asked.payload = {"version": 1}
    assert said(mailbox.answer(asked, mailbox.sync, 1000))["error"]


def test_whatever_goes_wrong_inside_refuses(root: Path, mailbox: Mailbox) -> None:
    def stumble(*_about: object) -> dict[str, Any]:
        raise RuntimeError("the gate's own code throws")

    assert "server's log" in said(mailbox.answer(letter(root, {}), stumble, 1000))["error"]


def test_a_mailbox_without_a_roster_answers_nobody(root: Path, mailbox: Mailbox) -> None:
    roster_file(State(root).server).unlink()
    assert "no certificate can be judged" in said(mailbox.answer(letter(root, {}), mailbox.sync, 1000))["error"]


def cell_that(answers: Any) -> Any:
    return SimpleNamespace(core_cell=SimpleNamespace(send_request=answers))


def reply_of(code: str, payload: bytes) -> Message:
    return Message(headers={MessageHeaderKey.RETURN_CODE: code}, payload=payload)


def test_a_mailbox_that_does_not_answer_is_said_in_words() -> None:
    def unreachable(**_about: object) -> Message:
        raise RuntimeError("not connected")

    for answers in (unreachable, lambda **_: None, lambda **_: reply_of(ReturnCode.TIMEOUT, b"")):
        with pytest.raises(FederationError):
            ask(cell_that(answers), "sync", {})
    for payload in (b"", b"nonsense", b"[]", b"x" * (MAXIMUM_BYTES + 1)):
        with pytest.raises(DeniedError):
            ask(cell_that(lambda payload=payload, **_: reply_of(ReturnCode.OK, payload)), "sync", {})
    refusal = reply_of(ReturnCode.OK, json.dumps({"error": "no", "hint": "ask"}).encode())
    with pytest.raises(DeniedError, match="the server refuses: no"):
        ask(cell_that(lambda **_: refusal), "sync", {})
    assert ask(cell_that(lambda **_: reply_of(ReturnCode.OK, b'{"a": 1}')), "sync", {}) == {"a": 1}


class Audit:
    def __init__(self) -> None:
        self.kinds: list[str] = []

    def append(self, kind: object, _facts: object) -> None:
        self.kinds.append(str(kind))

    def checkpoint(self) -> None:
        self.kinds.append("checkpoint")


def test_the_servers_own_certificate_and_rosters_laid_in_by_hand_go_the_same_way(root: Path, mailbox: Mailbox) -> None:
    watch, audit = TrustWatch(State(root).server), Audit()
    asking = lambda body: exchange_at_server(mailbox, entry(root, "coordinator"), body)  # noqa: E731
    upkeep = Upkeep("coordinator", watch, audit, asking)
    upkeep.tick()
    request_renewal(watch.workspace, entry(root, "coordinator"), datetime.now(UTC), new_key=True)
    upkeep.tick()
    federation = load_repository(root).federation.value
    granted, _ = grant_renewals(authority(root), federation, requests_in(mailbox.folder), datetime.now(UTC))
    put_roster(mailbox.folder, new_roster(root), 2)  # copied into the folder by somebody
    put_grant(mailbox.folder, "coordinator", granted["coordinator"])
    before = own_certificate(watch, "coordinator")
    upkeep.tick()
    assert trust_in_force(State(root).server).version == 2
    assert own_certificate(watch, "coordinator") != before
    assert audit.kinds == ["key", "checkpoint"]
    upkeep.tick()
    assert audit.kinds == ["key", "checkpoint"]


def test_the_upkeep_goes_on_whatever_happens(alpha: TrustWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.flare.upkeep.EVERY_SECONDS", 0.001)
    raised = iter([FederationError("no connection"), DeniedError("no"), KeyError("x"), RuntimeError("x")])
    ticks: list[int] = []

    def asking(_body: object) -> dict[str, Any]:
        ticks.append(1)
        if (error := next(raised, None)) is not None:
            raise error
        return {}

    troubles: list[str] = []
    Upkeep("alpha", alpha, Audit(), asking).run(lambda: len(ticks) >= 6, troubles.append)
    assert troubles == ["upkeep: no"]
