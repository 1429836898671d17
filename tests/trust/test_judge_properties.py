# SPDX-License-Identifier: Apache-2.0
"""Whatever is shown: it is the right certificate, or refused in a sentence; nothing else comes out of the judgement."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloister.certificates import Identity
from cloister.errors import CertificateError
from cloister.provisioning.kit import Kit, KitPaths, faults
from cloister.trust.judge import judge, judge_pem
from tests.trust.chains import draft as der
from tests.trust.chains.world import NAMES, World, pem

pytestmark = pytest.mark.filterwarnings("ignore")

Change = Callable[[bytes], bytes]


def flip(place: int, bit: int) -> Change:
    def change(content: bytes) -> bytes:
        at = place % len(content)
        return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]

    return change


def cut(place: int, size: int) -> Change:
    return lambda content: content[: place % len(content)] + content[place % len(content) + size :]


def put(place: int, what: bytes) -> Change:
    return lambda content: content[: place % len(content)] + what + content[place % len(content) :]


def repeat(place: int, size: int) -> Change:
    def change(content: bytes) -> bytes:
        at = place % len(content)
        return content[: at + size] + content[at : at + size] + content[at + size :]

    return change


PLACES = st.integers(0, 5000)
CHANGES = st.lists(
    st.one_of(
        st.builds(flip, PLACES, st.integers(0, 7)),
        st.builds(cut, PLACES, st.integers(1, 80)),
        st.builds(put, PLACES, st.binary(min_size=1, max_size=20)),
        st.builds(repeat, PLACES, st.integers(1, 80)),
    ),
    min_size=1,
    max_size=4,
)
KINDS = st.sampled_from(sorted(NAMES))


def changed(content: bytes, changes: list[Change]) -> bytes:
    for change in changes:
        content = change(content) if content else content
    return content


def accepted(content: bytes, world: World) -> Identity | None:
    """Whose it is; what comes out otherwise is a sentence."""
    try:
        return judge_pem(content, world.trust, world.now)
    except CertificateError as error:
        assert error.message.isprintable()
        assert "\n" not in error.hint
        return None


def parsed(content: bytes) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(content)[0]
    except Exception:  # noqa: BLE001 - whatever the library makes of nonsense
        return None


def assert_only_the_right_one(content: bytes, world: World) -> None:
    found = accepted(content, world)
    certificate = parsed(content)
    if found is not None:
        assert (certificate, found) == (world.good, world.who)
    if certificate is None:
        return
    # As an object too, that nobody has read to the end, and as part of a kit.
    try:
        assert judge(certificate, world.trust, world.now) == world.who
        assert certificate == world.good
    except CertificateError as error:
        assert error.message.isprintable()
    kit = Kit(KitPaths.of(Path("startup"), world.who), None, certificate, world.trust.anchors.roots)
    for finding in faults(kit, world.who, world.now, world.trust.anchors):
        assert finding.message.isprintable()


@given(kind=KINDS, content=st.binary(max_size=3000))
def test_arbitrary_octets(worlds: dict[str, World], kind: str, content: bytes) -> None:
    assert accepted(content, worlds[kind]) is None


@given(kind=KINDS, content=st.binary(max_size=3000))
def test_arbitrary_octets_in_pem(worlds: dict[str, World], kind: str, content: bytes) -> None:
    assert_only_the_right_one(pem(content), worlds[kind])


@given(kind=KINDS, text=st.text(max_size=400), before=st.booleans())
def test_arbitrary_text_beside_the_right_one(worlds: dict[str, World], kind: str, text: str, before: bool) -> None:
    world = worlds[kind]
    content = text.encode() + world.pem if before else world.pem + text.encode()
    assert_only_the_right_one(content, world)


@given(kind=KINDS, changes=CHANGES)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_changed_text_of_the_right_one(worlds: dict[str, World], kind: str, changes: list[Change]) -> None:
    assert_only_the_right_one(changed(worlds[kind].pem, changes), worlds[kind])


@given(kind=KINDS, changes=CHANGES)
def test_changed_octets_of_the_right_one(worlds: dict[str, World], kind: str, changes: list[Change]) -> None:
    assert_only_the_right_one(pem(changed(worlds[kind].der, changes)), worlds[kind])


@given(kind=st.sampled_from(["site", "person"]), changes=CHANGES)
def test_changed_octets_that_the_authority_signed(worlds: dict[str, World], kind: str, changes: list[Change]) -> None:
    # The thief's dream: whatever they like to say, with the authority's own signature.
    world = worlds[kind]
    statement, algorithm, _ = der.split(der.inside(world.der))
    said = changed(statement, changes)
    signature = world.root_key.sign(said, padding.PKCS1v15(), hashes.SHA256())
    assert_only_the_right_one(
        pem(der.element(der.SEQUENCE, said, algorithm, der.element(der.BIT_STRING, b"\0", signature))), world
    )


@given(kind=st.sampled_from(["site", "person"]), serial=st.integers(-(1 << 200), 1 << 200))
def test_any_other_number(worlds: dict[str, World], kind: str, serial: int) -> None:
    world = worlds[kind]
    draft = der.Draft.of(world.good)
    content = pem(replace(draft, serial=serial).signed(world.root_key))
    assert_only_the_right_one(content, world)


@given(kind=KINDS, seconds=st.integers(-(10**9), 10**9))
def test_at_any_time(worlds: dict[str, World], kind: str, seconds: int) -> None:
    world = worlds[kind]
    moment = world.now + timedelta(seconds=seconds)
    right = world.good.not_valid_before_utc <= moment <= world.good.not_valid_after_utc
    try:
        assert judge_pem(world.pem, world.trust, moment) == world.who
        assert right
    except CertificateError:
        assert not right


@given(kind=KINDS, text=st.text(max_size=80))
def test_any_other_name(worlds: dict[str, World], kind: str, text: str) -> None:
    world = worlds[kind]
    name = der.name(("2.5.4.3", text), ("2.5.4.10", world.who.organisation))
    content = pem(replace(world.draft, subject=name).signed(world.root_key))
    assert accepted(content, world) is None or text == world.who.name


def test_what_fails_inside_denies(worlds: dict[str, World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = worlds["site"]

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the judgement itself is broken")

    places = {
        "cloister.trust.judge": ("objections", "identity_of"),
        "cloister.certificates.profile": ("departures", "is_issued_by", "key_identifier"),
        "cloister.certificates.path": ("PolicyBuilder",),
        "cloister.certificates.pem": ("fingerprint", "damage"),
        "cloister.certificates.keys": ("weakness",),
    }
    for module, names in places.items():
        for name in names:
            with monkeypatch.context() as patch:
                patch.setattr(importlib.import_module(module), name, broken)
                with pytest.raises(CertificateError, match=r"cannot be judged|does not pass path validation"):
                    judge_pem(world.pem, world.trust, world.now)
    assert judge_pem(world.pem, world.trust, world.now) == world.who
