# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import TrainerError
from cloister.jobs import AdapterLayout, DatasetRef, FederationPlan, Lora, Method, Task, Training
from cloister.jobs.aggregation import ClientRule, Scaffold
from cloister.messages import (
    MAXIMUM_MESSAGE_BYTES,
    Done,
    Evaluate,
    Failed,
    Progress,
    Ready,
    Reply,
    Request,
    Setup,
    Train,
    read_reply,
    read_request,
    setup_of,
)
from cloister.silos import Column, ColumnKind, Dataset
from tests.frames import encode
from tests.jobs.tables import job

_BLOB_BYTES = 64
_SETUP = Setup(
    view="/view",
    base_model="/base-model",
    task=Task.TEXT_CLASSIFICATION,
    dataset=DatasetRef(name="notes", text="note", label="triage", labels=("routine", "urgent")),
    columns={"note": ColumnKind.TEXT, "triage": ColumnKind.CATEGORY},
    method=Method(lora=Lora(rank=2, alpha=4, targets=("query",))),
    rounds=2,
    training=Training(steps=2, batch_size=4, learning_rate=0.002),
    shapes={"a.weight": (2, 3)},
    head_modules=("classifier",),
    threads=1,
)

_SCAFFOLD = _SETUP.model_copy(
    update={
        "client": ClientRule(scaffold=Scaffold()),
        "shapes": {"a.weight": (2, 3), "control.a.weight": (2, 3)},
        "kept": {"control_own.a.weight": (2, 3)},
    }
)


def test_a_trainer_is_told_how_many_rounds_the_job_has(tmp_path: Path) -> None:
    """By what a learning rate that falls is reckoned."""
    the_job = job().model_copy(update={"federation": FederationPlan(rounds=7)})
    columns = {name: Column(kind=ColumnKind.CATEGORY, values=("a", "b")) for name in ("age", "smoker", "ward", "ill")}
    dataset = Dataset.model_construct(columns=columns)
    setup = setup_of(the_job, dataset, AdapterLayout((), ()), view=tmp_path, base_model=None, threads=1)
    assert setup.rounds == 7


def _reader(content: bytes, asked: list[int] | None = None) -> Callable[[int], bytes]:
    """Reads exactly, as the pipe's reader does, and notes how much was asked for."""
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        if asked is not None:
            asked.append(count)
        if position + count > len(content):
            raise TrainerError("the pipe ended")
        position += count
        return content[position - count : position]

    return read


def _frame(text: bytes, blob: bytes = b"", *, magic: bytes = b"CLS1") -> bytes:
    return struct.pack("<4sQQ", magic, len(text), len(blob)) + text + blob


@pytest.mark.parametrize("request_", [_SETUP, _SCAFFOLD, Train(round=3), Train(round=3, frozen="a"), Evaluate()])
def test_requests_come_back_as_they_went(request_: Request) -> None:
    assert read_request(_reader(encode(request_, b"blob")), maximum_blob_bytes=_BLOB_BYTES) == (request_, b"blob")


@pytest.mark.parametrize(
    "reply",
    [Ready(), Progress(step=1, steps=2), Done(metrics={"accuracy": 0.5}, records=3), Failed(reason="no\nmemory")],
)
def test_replies_come_back_as_they_went(reply: Reply) -> None:
    read = _reader(encode(reply, b"blob"))
    assert read_reply(read, maximum_blob_bytes=_BLOB_BYTES) == (reply, 4)
    assert read(4) == b"blob"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b'{"kind": "train", "round": 1}',
        b'{"kind": "setup"}',
        b'{"kind": "ready", "patient": "Ada"}',
        b'{"kind": "done", "metrics": {}, "records": -1}',
        b'{"kind": "done", "metrics": {}, "records": 1.5}',
        b'{"kind": "done", "metrics": {}, "records": true}',
        b'{"kind": "done", "metrics": {"accuracy": "0.5"}, "records": 1}',
        b'{"kind": "done", "metrics": {"accuracy": true}, "records": 1}',
        b'{"kind": "done", "metrics": [], "records": 1}',
        b'{"kind": "ready"}{"kind": "ready"}',
        b'{"kind": "ready"',
        b'\xff\xfe{"kind": "ready"}',
        b"[" * 100_000,
    ],
)
def test_a_reply_that_is_none_is_refused_without_repeating_it(text: bytes) -> None:
    with pytest.raises(TrainerError) as caught:
        read_reply(_reader(_frame(text)), maximum_blob_bytes=_BLOB_BYTES)
    assert str(caught.value) == "the trainer sent something that is no reply"


def test_another_magic_is_refused() -> None:
    with pytest.raises(TrainerError, match="not a frame"):
        read_reply(_reader(_frame(b'{"kind": "ready"}', magic=b"CLS2")), maximum_blob_bytes=_BLOB_BYTES)


@pytest.mark.parametrize(
    ("text_bytes", "blob_bytes"), [(MAXIMUM_MESSAGE_BYTES + 1, 0), (2, _BLOB_BYTES + 1), (2**64 - 1, 2**64 - 1)]
)
def test_a_length_above_the_limit_is_refused_before_anything_is_read(text_bytes: int, blob_bytes: int) -> None:
    asked: list[int] = []
    head = struct.pack("<4sQQ", b"CLS1", text_bytes, blob_bytes)
    with pytest.raises(TrainerError, match="too long"):
        read_reply(_reader(head + b"{}" * 100, asked), maximum_blob_bytes=_BLOB_BYTES)
    assert asked == [len(head)]


@given(content=st.binary(max_size=200), honest_magic=st.booleans())
def test_noise_never_gets_through_and_never_raises_anything_else(content: bytes, honest_magic: bool) -> None:
    stream = (b"CLS1" if honest_magic else b"") + content
    asked: list[int] = []
    with pytest.raises(TrainerError):
        read_reply(_reader(stream, asked), maximum_blob_bytes=_BLOB_BYTES)
    assert sum(asked) <= 20 + MAXIMUM_MESSAGE_BYTES + _BLOB_BYTES


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    message=st.fixed_dictionaries(
        {"kind": st.sampled_from(["ready", "progress", "done", "failed", "setup", "train"])},
        optional={"metrics": _JSON, "records": _JSON, "step": _JSON, "steps": _JSON, "reason": _JSON, "more": _JSON},
    )
)
def test_whatever_passes_is_one_of_the_four_replies(message: dict[str, object]) -> None:
    frame = _frame(json.dumps(message).encode())
    try:
        reply, blob = read_reply(_reader(frame), maximum_blob_bytes=_BLOB_BYTES)
    except TrainerError:
        return
    assert isinstance(reply, Ready | Progress | Done | Failed)
    assert set(message) == set(reply.model_dump())
    assert blob == 0
    if isinstance(reply, Done):
        assert type(reply.records) is int
        assert reply.records >= 0
        assert all(type(value) is float for value in reply.metrics.values())


@given(round_=st.integers(), blob=st.binary(max_size=_BLOB_BYTES))
def test_any_train_request_survives_the_pipe(round_: int, blob: bytes) -> None:
    message = Train(round=round_)
    assert read_request(_reader(encode(message, blob)), maximum_blob_bytes=_BLOB_BYTES) == (message, blob)
