# SPDX-License-Identifier: Apache-2.0
"""Whose connection the server takes, over real connections of NVFlare's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from nvflare.fuel.f3.communicator import Mode

from cloister.errors import CertificateError
from cloister.flare.closing import _end as end_at_once
from cloister.flare.connections import (
    CERTIFICATE,
    hear_refusals,
    keep_certificates,
    refusal_of,
    refuse_strangers,
)
from cloister.flare.state import State
from cloister.flare.trust_watch import TrustWatch
from cloister.provisioning import Authority
from cloister.provisioning.revoking import revoke
from tests.flare.signed_jobs import provisioned, publish_roster
from tests.flare.wire import any_url, end, undone_after, until

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    undone_after(monkeypatch)
    return provisioned(tmp_path)


@pytest.fixture
def refused(root: Path) -> list[tuple[str, str]]:
    """What the server, which looks at each connection, refused."""
    refused: list[tuple[str, str]] = []
    keep_certificates()
    refuse_strangers(TrustWatch(State(root).server).holder, lambda peer, reason: refused.append((peer, reason)))
    return refused


def test_the_whole_certificate_comes_with_each_connection(root: Path, refused: list[tuple[str, str]]) -> None:
    url, state = any_url(), State(root)
    with (
        end("server", state.server, url, Mode.PASSIVE) as server,
        end("alpha", state.site("alpha"), url, Mode.ACTIVE) as alpha,
    ):
        until(lambda: alpha.connections_to("server"))
        alpha.send("server", b"hello")
        until(lambda: server.heard)
        payload, properties = server.heard[0]
        assert payload == b"hello"
        assert properties[CERTIFICATE] == (state.site("alpha") / "startup" / "client.crt").read_bytes()
    assert refused == []


def test_a_revoked_certificate_gets_no_connection_and_is_told_why(root: Path, refused: list[tuple[str, str]]) -> None:
    url, state = any_url(), State(root)
    revoke(Authority.open(state.folder / "authority"), "alpha", "stolen", datetime.now(UTC))
    publish_roster(root)
    told: list[str] = []
    hear_refusals(told.append)
    with (
        end("server", state.server, url, Mode.PASSIVE) as server,
        end("alpha", state.site("alpha"), url, Mode.ACTIVE) as alpha,
    ):
        until(lambda: told)
        assert server.connections_to("alpha") == []
        assert not alpha.heard
    assert "revoked" in told[0] and "stolen" in told[0]
    peer, reason = refused[0]
    assert peer.startswith(("ipv4:127.0.0.1:", "ipv6:")) and "stolen" in reason
    assert len(told) == 1  # once a minute


def test_a_connection_that_is_put_out_ends_though_nothing_more_is_sent(
    root: Path, refused: list[tuple[str, str]]
) -> None:
    """A site whose message was dropped waits half a minute for the answer, and sends nothing meanwhile."""
    url, state = any_url(), State(root)
    with (
        end("server", state.server, url, Mode.PASSIVE) as server,
        end("alpha", state.site("alpha"), url, Mode.ACTIVE) as alpha,
    ):
        until(lambda: server.connections_to("alpha") and alpha.connections_to("server"))
        (there,), (here,) = server.connections_to("alpha"), alpha.connections_to("server")
        end_at_once(there.conn)
        until(lambda: there.get_name() not in server.manager.sfm_conns, 5)
        until(lambda: here.get_name() not in alpha.manager.sfm_conns, 5)


class Context:
    """What gRPC says of a call."""

    def __init__(self, certificate: bytes | None) -> None:
        self._said = {} if certificate is None else {"x509_pem_cert": [certificate]}

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._said


def test_a_call_without_a_certificate_is_refused(root: Path) -> None:
    holder = TrustWatch(State(root).server).holder
    assert refusal_of(Context(None), holder) == "the connection shows no certificate"
    assert refusal_of(Context(b""), holder) == "the connection shows no certificate"
    assert "does not hold a certificate" in refusal_of(Context(b"nonsense"), holder)


@pytest.mark.parametrize("error", [KeyError("x"), AttributeError("x"), RuntimeError("x")])
def test_whatever_goes_wrong_inside_refuses(error: Exception) -> None:
    def broken(_certificate: bytes) -> None:
        raise error

    assert refusal_of(Context(b"x"), broken) == "the certificate cannot be judged"
    assert refusal_of(object(), broken) == "the certificate cannot be judged"


def test_the_gate_tells_what_the_judge_said() -> None:
    def judge(_certificate: bytes) -> None:
        raise CertificateError("it was revoked", hint="ask again")

    assert refusal_of(Context(b"x"), judge) == "it was revoked (ask again)"
