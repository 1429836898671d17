# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.certificates.anchors import ROOT_FILE
from cloister.errors import CertificateError, CloisterError
from cloister.flare import trust_watch
from cloister.flare.state import State
from cloister.flare.trust_watch import TrustWatch, stamp_of
from cloister.provisioning import Authority
from cloister.provisioning.revoking import revoke
from cloister.trust import roster_file
from tests.federation_folder import PERSON, change_document
from tests.flare.signed_jobs import provisioned, publish_roster


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return provisioned(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(root: Path, clock: Clock) -> TrustWatch:
    return TrustWatch(State(root).server, clock)


def certificate_of(root: Path, site: str) -> bytes:
    return (State(root).site(site) / "startup" / "client.crt").read_bytes()


def test_a_certificate_is_that_of_its_entry(root: Path, watch: TrustWatch) -> None:
    assert watch.holder(certificate_of(root, "alpha")).name == "alpha"
    assert watch.entry(PERSON).kind == "person"


def test_a_newer_roster_counts_at_once(root: Path, watch: TrustWatch) -> None:
    shown = certificate_of(root, "gamma")
    assert watch.holder(shown).name == "gamma"
    version = watch.trust().version
    revoke(Authority.open(State(root).folder / "authority"), "gamma", "stolen", datetime.now(UTC))
    publish_roster(root)
    with pytest.raises(CertificateError, match=r"revoked.*stolen"):
        watch.holder(shown)
    assert watch.trust().version == version + 1


def test_a_name_that_left_the_roster_is_nobody(root: Path, watch: TrustWatch) -> None:
    shown = certificate_of(root, "gamma")
    assert watch.entry("gamma").name == "gamma"
    change_document(
        root, "provisioning/federation.yaml", {"sites": [{"name": "beta", "organisation": "beta-hospital"}]}
    )
    publish_roster(root)
    with pytest.raises(CertificateError, match="not in the roster"):
        watch.holder(shown)
    with pytest.raises(CertificateError):
        watch.entry("gamma")


def test_a_certificate_ends_while_it_is_known(root: Path, watch: TrustWatch, clock: Clock) -> None:
    shown = certificate_of(root, "alpha")
    assert watch.holder(shown)
    clock.now += timedelta(days=366)
    with pytest.raises(CertificateError, match="expired"):
        watch.holder(shown)
    clock.now -= timedelta(days=366)
    assert watch.holder(shown)
    clock.now -= timedelta(days=1)  # a clock that is put back judges anew as well
    with pytest.raises(CertificateError, match="not valid before"):
        watch.holder(shown)


def test_a_verdict_is_not_asked_for_with_each_message(
    root: Path, watch: TrustWatch, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    judge = trust_watch.judge_pem
    monkeypatch.setattr(
        trust_watch, "judge_pem", lambda content, *about: asked.append(content) or judge(content, *about)
    )
    for _ in range(10):
        watch.holder(certificate_of(root, "alpha"))
        for nonsense in (b"", b"nonsense"):
            with pytest.raises(CertificateError):
                watch.holder(nonsense)
    assert len(asked) == 3
    clock.now += timedelta(seconds=3)
    watch.holder(certificate_of(root, "alpha"))
    assert len(asked) == 4


def test_verdicts_do_not_pile_up(watch: TrustWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust_watch, "_MOST_VERDICTS", 5)
    for number in range(20):
        with pytest.raises(CertificateError):
            watch.holder(b"%d" % number)
    assert len(watch._verdicts) <= 5


@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_nobody_counts_where_the_roster_is_damaged_or_gone(root: Path, watch: TrustWatch, damage: bytes | None) -> None:
    shown = certificate_of(root, "alpha")
    assert watch.holder(shown)
    path = roster_file(watch.workspace)
    whole = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage)
    for _ in range(2):
        with pytest.raises(CertificateError, match="no certificate can be judged"):
            watch.holder(shown)
        with pytest.raises(CertificateError):
            watch.entry("alpha")
        with pytest.raises(CloisterError):
            watch.trust()
    path.write_bytes(whole)
    assert watch.holder(shown)


def test_nobody_counts_without_roots(root: Path, watch: TrustWatch) -> None:
    (watch.workspace / "startup" / ROOT_FILE).unlink()
    with pytest.raises(CertificateError):
        watch.holder(certificate_of(root, "alpha"))


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), MemoryError()])
def test_a_judgement_that_fails_is_a_refusal(
    root: Path, watch: TrustWatch, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def stumble(*_about: object) -> None:
        raise error

    monkeypatch.setattr(trust_watch, "judge_pem", stumble)
    with pytest.raises(CertificateError, match="cannot be judged"):
        watch.holder(certificate_of(root, "alpha"))


def test_a_stamp_changes_as_a_file_is_replaced_or_written(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"1")
    first = stamp_of(path)
    other.write_bytes(b"2")
    other.replace(path)
    assert stamp_of(path) != first
    with pytest.raises(OSError):
        stamp_of(path, other)
