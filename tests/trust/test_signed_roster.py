# SPDX-License-Identifier: Apache-2.0
"""A roster counts as the authority signed it, and every altered part of it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.certificates import PrivateKey, pem, profile
from cloister.certificates.crl import make_crl
from cloister.envelope import seal, unseal
from cloister.errors import SignatureError
from cloister.files import canonical_json
from cloister.provisioning import Authority
from cloister.provisioning.publication import publish
from cloister.provisioning.revoking import revoke
from cloister.roster import Federation
from cloister.trust import Trust, read_roster, signed_roster
from cloister.trust.signed_roster import KIND, sign_roster
from tests.provisioning.world import PERSON, SERVER, SITE

Statement = dict[str, Any]


@pytest.fixture
def content(authority: Authority, roster: Federation, now: datetime) -> bytes:
    revoke(authority, PERSON, "a lost laptop", now)
    return publish(authority, roster, now)


def stated(content: bytes) -> Statement:
    return unseal(KIND, content).value()


def signed(authority: Authority, statement: Statement) -> bytes:
    """A statement with the real authority's signature, whatever it says."""
    root = authority.certificate
    return seal(KIND, canonical_json(statement), authority.key_of(root), root)


def test_it_says_what_is_true(authority: Authority, roster: Federation, now: datetime, content: bytes) -> None:
    trust = read_roster(content, authority.roots)
    assert trust.federation == roster
    assert (trust.version, trust.issued_at) == (2, now.replace(microsecond=0))
    assert trust.next_update - trust.issued_at == timedelta(days=90)
    assert trust.anchors.roots == authority.roots
    issued = {pem.fingerprint(each): each for each in authority.issued()}
    assert set(trust.pins) == {SERVER, SITE}, "whose only certificate was revoked has none"
    assert set().union(*trust.pins.values()) < set(issued)
    (revocation,) = trust.revocations
    assert (revocation.name, revocation.reason, revocation.revoked_at) == (PERSON, "a lost laptop", trust.issued_at)
    certificate = issued[revocation.fingerprint]
    assert trust.anchors.is_revoked(certificate)
    assert trust.revocation_of(certificate) == revocation
    assert trust.revocation_of(authority.certificate) is None


def test_it_can_be_written_again_as_it_was_read(authority: Authority, content: bytes) -> None:
    trust = read_roster(content, authority.roots)
    again = sign_roster(trust, authority.key_of(authority.certificate), authority.certificate)
    assert stated(again) == stated(content)
    assert read_roster(again, authority.roots) == trust


def test_it_is_stale_from_the_second_after(authority: Authority, content: bytes) -> None:
    trust = read_roster(content, authority.roots)
    assert not trust.is_stale(trust.next_update)
    assert trust.is_stale(trust.next_update + timedelta(seconds=1))


def test_no_byte_of_it_may_change(authority: Authority, content: bytes) -> None:
    for place in range(0, len(content), 41):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(SignatureError):
            read_roster(bytes(changed), authority.roots)
    for short in (b"", content[:-1], content[: len(content) // 2], content + b"\n", b"\xff", b"null"):
        with pytest.raises(SignatureError):
            read_roster(short, authority.roots)


def with_document(statement: Statement, **changes: Any) -> None:
    statement["document"] = statement["document"] | changes


ALTERED: dict[str, Callable[[Statement], object]] = {
    "a part more": lambda it: it.update(note=""),
    **{f"without {key}": lambda it, key=key: it.pop(key) for key in sorted(signed_roster._KEYS)},  # type: ignore[misc]
    "version 0": lambda it: it.update(version=0),
    "version below": lambda it: it.update(version=-3),
    "version as text": lambda it: it.update(version="2"),
    "version as fraction": lambda it: it.update(version=2.5),
    "version true": lambda it: it.update(version=True),
    "another federation's name": lambda it: it.update(federation="elsewhere"),
    "another federation's document": lambda it: with_document(it, federation="elsewhere"),
    "a document with a key too many": lambda it: with_document(it, note=""),
    "a document without people": lambda it: with_document(it, people=[]),
    "no document": lambda it: it.update(document=None),
    "no authority": lambda it: it.update(roots=[], crls=[]),
    "an authority thrice": lambda it: it.update(roots=it["roots"] * 3, crls=it["crls"] * 3),
    "an authority that is none": lambda it: it.update(roots=["nonsense"]),
    "no revocation list": lambda it: it.update(crls=[]),
    "a list too many": lambda it: it.update(crls=it["crls"] * 2),
    "half a revocation list": lambda it: it.update(crls=[it["crls"][0][:200]]),
    "stale before it is issued": lambda it: it.update(next_update=it["issued_at"]),
    "no date": lambda it: it.update(issued_at="yesterday"),
    "a date without a zone": lambda it: it.update(issued_at=it["issued_at"].rstrip("Z")),
    "a date as a number": lambda it: it.update(next_update=4102444800),
    "pins that are none": lambda it: it.update(pins=[]),
    "pins of nobody": lambda it: it.update(pins={SITE: None}),
    "a revocation with a part more": lambda it: it["revocations"][0].update(note=""),
    "a revocation without a reason": lambda it: it["revocations"][0].pop("reason"),
    "a revocation without a date": lambda it: it["revocations"][0].update(revoked_at=""),
    "revocations that are none": lambda it: it.update(revocations=[5]),
}


@pytest.mark.parametrize("what", ALTERED)
def test_what_is_no_roster_is_refused_whoever_signs_it(authority: Authority, content: bytes, what: str) -> None:
    statement = stated(content)
    assert read_roster(signed(authority, statement), authority.roots)
    ALTERED[what](statement)
    with pytest.raises(SignatureError, match="roster") as caught:
        read_roster(signed(authority, statement), authority.roots)
    assert "\n" not in caught.value.message


def test_the_authorities_must_be_this_federations(
    authority: Authority, rsa_keys: tuple[rsa.RSAPrivateKey, ...], now: datetime, content: bytes
) -> None:
    """A signing authority may name its successor, and nobody else."""
    weak, sha256 = rsa.generate_private_key(65537, 2048), hashes.SHA256()
    strangers = {
        "another name": profile.root_builder("elsewhere", rsa_keys[1].public_key(), 30, now).sign(rsa_keys[1], sha256),
        "a weak key": profile.root_builder("trial", weak.public_key(), 30, now).sign(weak, sha256),
        "no authority": authority.issued()[0],
    }
    for root in strangers.values():
        statement = stated(content)
        statement["roots"].append(pem.certificate_pem(root).decode())
        key = PrivateKey(rsa_keys[1])
        dates = (now, now + timedelta(days=1))
        statement["crls"].append(make_crl(root, key, 1, [], dates).decode())
        with pytest.raises(SignatureError, match="roster"):
            read_roster(signed(authority, statement), authority.roots)


def test_whoever_signs_must_be_among_the_authorities(
    authority: Authority, other_authority: Authority, now: datetime, content: bytes
) -> None:
    root = other_authority.certificate
    statement = stated(content) | {"roots": [pem.certificate_pem(root).decode()]}
    crl = make_crl(root, other_authority.key_of(root), 1, [], (now, now + timedelta(days=1)))
    with pytest.raises(SignatureError, match="not the one that signed it"):
        read_roster(signed(authority, statement | {"crls": [crl.decode()]}), authority.roots)


def test_a_list_of_another_authority_is_refused(
    authority: Authority, other_authority: Authority, now: datetime, content: bytes
) -> None:
    root = other_authority.certificate
    crl = make_crl(root, other_authority.key_of(root), 1, [], (now, now + timedelta(days=1)))
    with pytest.raises(SignatureError, match="revocation list is not signed by the authority"):
        read_roster(signed(authority, stated(content) | {"crls": [crl.decode()]}), authority.roots)


def test_only_a_trusted_authority_signs_rosters(
    state: Path, authority: Authority, other_authority: Authority, roster: Federation, now: datetime, content: bytes
) -> None:
    with pytest.raises(SignatureError, match="signed by an authority that is not trusted here"):
        read_roster(publish(other_authority, roster, now), authority.roots)
    with pytest.raises(SignatureError, match="not trusted here"):
        read_roster(content, ())
    # A site's own key and certificate, even where somebody laid them in the place of the authority's.
    startup = state / "sites" / SITE / "startup"
    leaf, key = pem.read_certificate(startup / "client.crt"), PrivateKey.load(startup / "client.key")
    forged = seal(KIND, canonical_json(stated(content)), key, leaf)
    with pytest.raises(SignatureError, match="not trusted here"):
        read_roster(forged, authority.roots)
    with pytest.raises(SignatureError, match="no authority's"):
        read_roster(forged, (leaf,))


def test_a_statement_of_another_kind_is_no_roster(authority: Authority, content: bytes) -> None:
    root, payload = authority.certificate, canonical_json(stated(content))
    other = seal("application/vnd.cloister.policy+json", payload, authority.key_of(root), root)
    with pytest.raises(SignatureError, match="of another kind"):
        read_roster(other, authority.roots)


def test_a_second_spelling_is_refused(authority: Authority, content: bytes) -> None:
    root = authority.certificate
    twice = canonical_json(stated(content)).replace(b'"version":2', b'"version":1,"version":2')
    for payload in (twice, json.dumps(stated(content)).encode(), b"[]", b"null"):
        with pytest.raises(SignatureError):
            read_roster(seal(KIND, payload, authority.key_of(root), root), authority.roots)


@pytest.mark.parametrize("gate", ["_trust", "_check", "unseal"])
def test_whatever_goes_wrong_inside_nothing_is_trusted(
    authority: Authority, content: bytes, monkeypatch: pytest.MonkeyPatch, gate: str
) -> None:
    def stumble(*_arguments: object) -> Trust:
        raise RuntimeError("Ada Lovelace")

    monkeypatch.setattr(signed_roster, gate, stumble)
    with pytest.raises((SignatureError, RuntimeError)) as caught:
        read_roster(content, authority.roots)
    if gate == "_trust":
        assert str(caught.value) == "the roster does not say what a roster says"
