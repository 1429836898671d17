# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message

from cloister.errors import JobError
from cloister.flare import fetch
from cloister.flare.chunks import MAXIMUM_CHUNK_BYTES, ChunkHead
from cloister.flare.exchange import digest_of
from cloister.flare.fetch import Fetch
from cloister.flare.holder import Holder
from cloister.flare.parcel import Reference, unpack
from cloister.flare.site_line import SiteLine
from cloister.flare.traffic import CHUNK, ROUNDS
from tests.flare.cells import SERVER, Wire
from tests.flare.offering import ALPHA, MESSAGE, fetched, holder, wire

__all__ = ["holder", "wire"]


SIZES = [0, 1, fetch._FIRST_CHUNK_BYTES, fetch._FIRST_CHUNK_BYTES + 1, 3 * MAXIMUM_CHUNK_BYTES - 7, 40_000_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("in_a_file", [True, False])
def test_what_is_fetched_is_what_was_offered(
    wire: Wire, holder: Holder, tmp_path: Path, size: int, in_a_file: bool
) -> None:
    content = os.urandom(size)
    source = tmp_path / "source"
    source.write_bytes(content)
    reference = holder.offer(MESSAGE, source if in_a_file else content, {ALPHA})
    source.unlink()  # what is offered is held
    assert reference == Reference(digest=digest_of(MESSAGE, content), bytes=size)
    into = fetched(wire, tmp_path / "into", reference)
    assert into.read_bytes() == content
    assert into.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lost", ["request", "reply"])
def test_of_a_broken_connection_only_what_was_on_its_way_is_asked_for_again(
    wire: Wire, holder: Holder, tmp_path: Path, lost: str
) -> None:
    content = os.urandom(20_000_000)
    asked: list[str] = []

    def breaks(topic: str, _origin: str, _destination: str) -> bool:
        asked.append(topic)
        return 4 <= len(asked) < 12

    wire.loses, wire.forgets = (breaks, wire.forgets) if lost == "request" else (wire.loses, breaks)
    reference = holder.offer(MESSAGE, content, {ALPHA})
    assert fetched(wire, tmp_path / "into", reference).read_bytes() == content
    undisturbed = len(asked) - 8
    asked.clear()
    asked.extend([CHUNK] * 100)
    fetched(wire, tmp_path / "again", reference)
    assert undisturbed <= len(asked) - 100 + 2


def test_what_is_too_large_is_not_even_asked_for(wire: Wire, holder: Holder, tmp_path: Path) -> None:
    reference = holder.offer(MESSAGE, b"x" * 100, {ALPHA})
    with pytest.raises(JobError, match="100 bytes, and 99 may be taken"):
        Fetch(wire.cell(ALPHA), SERVER, time.monotonic() + 5, most=99).into(tmp_path / "into", MESSAGE, reference)
    assert wire.sent == []


def test_what_is_not_what_was_named_is_not_kept(wire: Wire, holder: Holder, tmp_path: Path) -> None:
    reference = holder.offer(b"another message", b"x" * 100, {ALPHA})
    with pytest.raises(JobError, match="not what was named"):
        fetched(wire, tmp_path / "into", reference)
    assert list(tmp_path.iterdir()) == []


def test_what_was_added_behind_its_back_is_not_kept_either(wire: Wire, tmp_path: Path) -> None:
    content = b"x" * 100

    class Adds(SiteLine):
        def lands(
            self, path: Path, _reference: Reference, _process: str, _over: Callable[[], bool]
        ) -> Generator[bytes, None, None]:
            path.write_bytes(content + b"and more")
            yield content

    reference = Reference(digest=digest_of(MESSAGE, content), bytes=len(content))
    cell = wire.cell(ALPHA)
    with pytest.raises(JobError, match="not what was named"):
        Fetch(cell, SERVER, time.monotonic() + 10, line=Adds(cell)).into(tmp_path / "into", MESSAGE, reference)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", [b"", b"x" * 99, b"x" * 101, None])
def test_a_piece_of_another_length_is_not_taken(wire: Wire, tmp_path: Path, answer: bytes | None) -> None:
    def serve(carrier: Message) -> Message:
        unpack(carrier, ChunkHead)
        return Message({MessageHeaderKey.RETURN_CODE: ReturnCode.OK}, answer)

    wire.cell(SERVER).register_request_cb(ROUNDS, CHUNK, serve)
    with pytest.raises(JobError):
        fetched(wire, tmp_path / "into", Reference(digest="0" * 64, bytes=100), seconds=0.2)
    assert list(tmp_path.iterdir()) == []


def test_it_is_tried_until_the_deadline_and_no_longer(wire: Wire, holder: Holder, tmp_path: Path) -> None:
    wire.loses = lambda _topic, _origin, _destination: True
    reference = holder.offer(MESSAGE, b"x" * 100, {ALPHA})
    begun = time.monotonic()
    with pytest.raises(JobError, match="did not come in time"):
        fetched(wire, tmp_path / "into", reference, seconds=0.2)
    assert time.monotonic() - begun < 2
    with pytest.raises(JobError, match="did not come in time"):
        Fetch(wire.cell(ALPHA), SERVER, time.monotonic() + 60, over=lambda: True).into(
            tmp_path / "into", MESSAGE, reference
        )


def test_nothing_that_lies_there_is_written_over(wire: Wire, holder: Holder, tmp_path: Path) -> None:
    reference = holder.offer(MESSAGE, b"x" * 100, {ALPHA})
    (tmp_path / "into").write_bytes(b"something else")
    with pytest.raises(FileExistsError):
        fetched(wire, tmp_path / "into", reference)
    assert (tmp_path / "into").read_bytes() == b"something else"


@pytest.mark.parametrize(("seconds", "size"), [(0.01, 2 << 20), (1.0, 1 << 20), (10.0, 1 << 19)])
def test_pieces_are_as_large_as_the_line_is_fast(seconds: float, size: int) -> None:
    assert fetch._next_size(1 << 20, seconds) == size
    assert fetch._next_size(fetch._LEAST_CHUNK_BYTES, 100.0) == fetch._LEAST_CHUNK_BYTES
    assert fetch._next_size(MAXIMUM_CHUNK_BYTES, 0.0) == MAXIMUM_CHUNK_BYTES
