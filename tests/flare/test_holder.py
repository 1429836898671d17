# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message

from cloister.errors import JobError
from cloister.flare import holder as holding
from cloister.flare.chunks import MAXIMUM_CHUNK_BYTES, ChunkHead
from cloister.flare.exchange import digest_of
from cloister.flare.holder import Holder
from cloister.flare.parcel import Reference, pack
from cloister.flare.traffic import CHUNK, ROUNDS
from tests.flare.cells import SERVER, Wire, process_of
from tests.flare.offering import ALPHA, MESSAGE, fetched, holder, wire

__all__ = ["holder", "wire"]


@pytest.mark.parametrize("process", [process_of("beta"), "alpha", SERVER, f"{ALPHA}.child", "alpha.another-job"])
def test_whom_it_is_not_for_gets_nothing(wire: Wire, holder: Holder, tmp_path: Path, process: str) -> None:
    reference = holder.offer(MESSAGE, b"x" * 100, {ALPHA})
    with pytest.raises(JobError, match="does not have"):
        fetched(wire, tmp_path / "into", reference, process)
    assert not (tmp_path / "into").exists()


def test_what_was_withdrawn_or_never_offered_cannot_be_fetched(wire: Wire, holder: Holder, tmp_path: Path) -> None:
    first, second = holder.offer(MESSAGE, b"first", {ALPHA}), holder.offer(MESSAGE, b"second", {ALPHA})
    holder.withdraw(first)
    assert fetched(wire, tmp_path / "second", second).read_bytes() == b"second"
    holder.withdraw()
    for reference in (first, second, Reference(digest="0" * 64, bytes=5)):
        with pytest.raises(JobError, match="does not have"):
            fetched(wire, tmp_path / "into", reference)


@pytest.mark.parametrize(
    "head",
    [
        {"offset": 0, "bytes": 101},
        {"offset": 100, "bytes": 1},
        {"offset": 1 << 60, "bytes": 1},
        {"offset": 50, "bytes": MAXIMUM_CHUNK_BYTES},
    ],
)
def test_nothing_beyond_its_end_is_handed_out(wire: Wire, holder: Holder, head: dict[str, int]) -> None:
    reference = holder.offer(MESSAGE, b"x" * 100, {ALPHA})
    carrier = pack(ChunkHead(digest=reference.digest, **head))
    reply = wire.cell(ALPHA).send_request(ROUNDS, CHUNK, SERVER, carrier, 1.0, True)
    assert reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.INVALID_REQUEST


@pytest.mark.parametrize("payload", [None, b"", b"junk"])
def test_what_is_no_request_is_refused(wire: Wire, holder: Holder, payload: bytes | None) -> None:
    reply = wire.cell(ALPHA).send_request(ROUNDS, CHUNK, SERVER, Message({}, payload), 1.0, True)
    assert reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.INVALID_REQUEST


def test_a_gate_that_throws_hands_out_nothing(
    wire: Wire, holder: Holder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reference = holder.offer(MESSAGE, b"x" * 100, {ALPHA})

    def broken(_carrier: Message) -> str:
        raise KeyError("on purpose")

    monkeypatch.setattr(holding, "origin_of", broken)
    with pytest.raises(JobError):
        fetched(wire, tmp_path / "into", reference)


@pytest.mark.parametrize("in_a_file", [True, False])
def test_a_digest_that_is_known_is_taken_and_a_wrong_one_found_out_by_who_fetches(
    wire: Wire, holder: Holder, tmp_path: Path, in_a_file: bool
) -> None:
    content = os.urandom(3_000_000)
    source = tmp_path / "source"
    source.write_bytes(content)
    payload = source if in_a_file else content
    known = digest_of(MESSAGE, content)
    reference = holder.offer(MESSAGE, payload, {ALPHA}, known)
    assert reference == Reference(digest=known, bytes=len(content))
    assert fetched(wire, tmp_path / "into", reference).read_bytes() == content
    wrong = holder.offer(MESSAGE, payload, {ALPHA}, digest_of(MESSAGE, b"else"))
    with pytest.raises(JobError, match="not what was named"):
        fetched(wire, tmp_path / "wrong", wrong)
    assert not (tmp_path / "wrong").exists()
