# SPDX-License-Identifier: Apache-2.0
"""Rosters for somebody who does not believe the server yet; over a connection: `test_redial`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.experimental
import pytest

from cloister.errors import SignatureError
from cloister.flare.roster_service import METHOD, answer, fetch_rosters, rosters_newer_than
from cloister.flare.state import State
from cloister.flare.trust_watch import TrustWatch
from cloister.trust import roster_file, take_up
from cloister.trust.mailbox import FOLDER, put_roster
from tests.flare.renewed import new_roster
from tests.flare.signed_jobs import provisioned


@pytest.fixture
def watch(tmp_path: Path) -> TrustWatch:
    return TrustWatch(State(provisioned(tmp_path)).server)


def test_everything_newer_is_handed_out_in_its_order(watch: TrustWatch) -> None:
    root, folder = watch.workspace.parents[1], watch.workspace / FOLDER
    assert rosters_newer_than(watch.trust().version, watch) == []
    content = new_roster(root)
    take_up(watch.workspace, content)
    assert rosters_newer_than(1, watch) == [content]  # though nobody put it into the mailbox
    put_roster(folder, content, 2)
    assert rosters_newer_than(1, watch) == [content]
    assert rosters_newer_than(2, watch) == []
    assert rosters_newer_than(1 << 53, watch) == []
    assert rosters_newer_than(0, watch)[-1] == content


@pytest.mark.parametrize("request_", [b"", b"x", b"1e9", b"\xff" * 1000, b"9" * 1000])
def test_whoever_asks_nonsense_learns_nothing(watch: TrustWatch, request_: bytes) -> None:
    assert json.loads(answer(request_, watch)) == []


def test_a_server_without_a_roster_has_none_to_hand_out(watch: TrustWatch) -> None:
    roster_file(watch.workspace).unlink()
    assert json.loads(answer(b"0", watch)) == []


class Stranger(grpc.GenericRpcHandler):
    """Somebody else at the server's place, who says what they like."""

    def __init__(self, said: bytes) -> None:
        self.said = said

    def service(self, details: object) -> object:
        assert details.method == METHOD  # type: ignore[attr-defined]
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: self.said)


@pytest.mark.parametrize("said", [b"", b"{}", b"1", b"nonsense", b"[1]", b'["{}"]', b"[null]"])
def test_whatever_a_stranger_says_the_roster_in_force_stays(watch: TrustWatch, said: bytes) -> None:
    before = roster_file(watch.workspace).read_bytes()
    with serving(said) as place:
        try:
            assert not fetch(place, watch)
        except SignatureError:
            assert json.loads(said)
    assert roster_file(watch.workspace).read_bytes() == before


def test_a_roster_of_another_federation_is_not_taken_up(watch: TrustWatch, tmp_path: Path) -> None:
    other = provisioned(tmp_path / "other", "theirs")
    content = roster_file(State(other).server).read_bytes().decode()
    with serving(json.dumps([content]).encode()) as place, pytest.raises(SignatureError):
        fetch(place, watch)


def test_an_older_roster_changes_nothing(watch: TrustWatch) -> None:
    content = roster_file(watch.workspace).read_bytes().decode()
    with serving(json.dumps([content]).encode()) as place:
        assert not fetch(place, watch)


@contextmanager
def serving(said: bytes) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Stranger(said),))
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None)


def fetch(place: str, watch: TrustWatch) -> bool:
    return fetch_rosters(place, grpc.experimental.insecure_channel_credentials(), watch.workspace, 1)
