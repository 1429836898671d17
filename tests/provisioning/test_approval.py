# SPDX-License-Identifier: Apache-2.0
"""Several people approve a first request, each with their own key, or it is not signed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey, read_certificate, startup_folder
from cloister.errors import DeniedError, SignatureError
from cloister.provisioning import Authority, provision
from cloister.provisioning.approval import approve, approver_of, check_approved, key_fingerprint
from cloister.provisioning.granting import grant, trust_of
from cloister.provisioning.kit import KitPaths
from cloister.roster import Federation
from cloister.trust import Trust
from tests.provisioning.world import PERSON, SITE, federation, identity

ANN, BEN, CAT = "ann@research.example", "ben@research.example", "cat@research.example"


def rules(approvals: int = 2, approvers: tuple[str, ...] = (ANN, BEN)) -> Federation:
    people = [
        {"name": PERSON, "organisation": "institute", "role": "data-scientist"},
        *({"name": name, "organisation": "institute", "role": "it-admin"} for name in (ANN, BEN, CAT)),
    ]
    return federation(people=people, authority={"approvers": approvers, "approvals": approvals})


@pytest.fixture
def place(tmp_path: Path, now: datetime, pooled_keys: None) -> Path:
    """A federation of which everybody has a certificate."""
    provision(rules(), tmp_path / "state", now)
    return tmp_path / "state"


@pytest.fixture
def trust(place: Path, now: datetime) -> Trust:
    return trust_of(Authority.open(place / "authority"), rules(), now)


@pytest.fixture
def csr(keys: tuple[PrivateKey, ...]) -> bytes:
    return keys[0].request(identity(rules(), SITE))


def word_of(place: Path, name: str, csr: bytes, now: datetime) -> bytes:
    who = identity(rules(), name)
    paths = KitPaths.of(startup_folder(place, who), who)
    return approve(csr, PrivateKey.load(paths.key), read_certificate(paths.certificate), now)


def test_two_approvers_are_enough(place: Path, trust: Trust, csr: bytes, now: datetime) -> None:
    words = [word_of(place, name, csr, now) for name in (BEN, ANN)]
    assert check_approved(csr, words, trust, now) == (ANN, BEN)
    made = grant(Authority.open(place / "authority"), rules(), csr, words, now)
    assert made.approvers == (ANN, BEN)


@pytest.mark.parametrize("who", [(), (ANN,), (ANN, ANN), (ANN, CAT), (ANN, PERSON), (ANN, SITE)])
def test_fewer_are_not(place: Path, trust: Trust, csr: bytes, now: datetime, who: tuple[str, ...]) -> None:
    words = [word_of(place, name, csr, now) for name in who]
    with pytest.raises(DeniedError, match=f"the request of `{SITE}` has {min(len(who), 1)} of 2 approvals"):
        check_approved(csr, words, trust, now)
    authority = Authority.open(place / "authority")
    before = len(authority.issued())
    with pytest.raises(DeniedError):
        grant(authority, rules(), csr, words, now)
    assert len(authority.issued()) == before


def test_an_approval_is_for_one_request(
    place: Path, trust: Trust, csr: bytes, keys: tuple[PrivateKey, ...], now: datetime
) -> None:
    other = keys[1].request(identity(rules(), SITE))
    with pytest.raises(SignatureError, match="for another request"):
        approver_of(word_of(place, ANN, other, now), csr, trust, now)


def test_nobody_vouches_for_themselves(place: Path, trust: Trust, keys: tuple[PrivateKey, ...], now: datetime) -> None:
    own = keys[0].request(identity(rules(), ANN))
    words = [word_of(place, name, own, now) for name in (ANN, BEN)]
    with pytest.raises(DeniedError, match="1 of 2 approvals"):
        check_approved(own, words, trust, now)


def test_what_is_no_approval_is_told_and_does_not_count(place: Path, trust: Trust, csr: bytes, now: datetime) -> None:
    words = [word_of(place, ANN, csr, now), b"{}", word_of(place, BEN, csr, now)[:-1]]
    with pytest.raises(DeniedError, match="1 of 2 approvals; one does not count: the signed statement"):
        check_approved(csr, words, trust, now)


def test_the_first_approvers_get_their_certificates_without_any(
    tmp_path: Path, keys: tuple[PrivateKey, ...], now: datetime, pooled_keys: None
) -> None:
    document = rules()
    authority = Authority.create(tmp_path / "authority", document, now)
    for name in (ANN, BEN):
        grant(authority, document, keys[0].request(identity(document, name)), (), now)
    # From then on it takes two, for an approver as well.
    for name in (SITE, ANN):
        with pytest.raises(DeniedError, match="0 of 2 approvals"):
            grant(authority, document, keys[0].request(identity(document, name)), (), now)


def test_without_approvers_nobody_is_asked(keys: tuple[PrivateKey, ...], tmp_path: Path, now: datetime) -> None:
    document = federation()
    authority = Authority.create(tmp_path / "authority", document, now)
    assert grant(authority, document, keys[0].request(identity(document, SITE)), (), now).approvers == ()


@pytest.mark.parametrize(
    "authority", [{"approvals": 2}, {"approvers": [ANN], "approvals": 2}, {"approvers": ["x@y.example"]}]
)
def test_a_rule_that_nobody_could_meet_is_refused(authority: dict[str, object]) -> None:
    people = [{"name": ANN, "organisation": "institute", "role": "it-admin"}]
    with pytest.raises(ValueError, match="approvers"):
        federation(people=people, authority=authority)


def test_the_fingerprint_is_of_the_key(keys: tuple[PrivateKey, ...]) -> None:
    site, person = (keys[0].request(identity(rules(), name)) for name in (SITE, PERSON))
    assert key_fingerprint(site) == key_fingerprint(person) != key_fingerprint(keys[1].request(identity(rules(), SITE)))
