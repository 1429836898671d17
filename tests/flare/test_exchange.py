# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from cloister.errors import JobError
from cloister.flare.exchange import (
    MAXIMUM_MESSAGE_BYTES,
    Ask,
    Prepared,
    Refusal,
    Reply,
    TaskName,
    Update,
    content_of,
    read_task,
    reply_in,
    reply_of,
    reply_with,
)
from tests.flare.wire_form import sent

PREPARED = Prepared(
    training=18, validation=6, view="0" * 64, policy="1" * 64, sandbox="bubblewrap", layout={"tensors": []}
)
UPDATE = Update(round=1, records=18, metrics={"accuracy": 0.5}, restarts=0)
REFUSAL = Refusal(denied=True, reason="`purpose`: no")


def shareable_of(params: Any) -> Shareable:
    return FLModelUtils.to_shareable(FLModel(params_type=ParamsType.FULL, params=params))


def test_a_task_comes_as_it_went() -> None:
    assert read_task(sent(Ask(round=3), b"adapter")) == (Ask(round=3), b"adapter")


@pytest.mark.parametrize("reply", [PREPARED, UPDATE, REFUSAL])
def test_a_reply_comes_as_it_went(reply: Reply) -> None:
    message, tensors = content_of(reply_of(reply, b"tensors"))
    assert (reply_in(message), tensors) == (reply, b"tensors")


@given(message=st.binary(max_size=100), tensors=st.binary(max_size=100))
def test_bytes_travel_as_bytes(message: bytes, tensors: bytes) -> None:
    assert content_of(reply_with(message, tensors)) == (message, tensors)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"message": b"{}"},
        {"adapter": b""},
        {"message": b"{}", "adapter": b"", "more": b""},
        {"message": "{}", "adapter": b""},
        {"message": b"{}", "adapter": "tensors"},
        {"message": b"{}", "adapter": {"w": 1.0}},
        {"message": bytearray(b"{}"), "adapter": b""},
        {"message": b"{}", "adapter": None},
    ],
)
def test_parts_that_do_not_belong_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(JobError, match="parts that"):
        content_of(shareable_of(params))
    with pytest.raises(JobError, match="parts that"):
        read_task(shareable_of(params))


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(JobError):
        content_of(FLModelUtils.to_shareable(FLModel(metrics={"accuracy": 0.5})))


def test_what_is_not_a_model_never_becomes_a_task() -> None:
    for shareable in (Shareable(), DXO(DataKind.ANALYTIC, data={"patient": "Ada"}).to_shareable()):
        with pytest.raises((JobError, ValueError)):
            read_task(shareable)


def test_a_message_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(JobError, match="too long"):
        content_of(reply_with(b" " * (MAXIMUM_MESSAGE_BYTES + 1), b""))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}",
        b"null",
        b'{"kind": "other"}',
        b'{"kind": "update", "round": 1, "records": 1, "metrics": {}}',
        b'{"kind": "update", "round": -1, "records": 1, "metrics": {}, "restarts": 0}',
        b'{"kind": "update", "round": 1, "records": -1, "metrics": {}, "restarts": 0}',
        b'{"kind": "update", "round": 1, "records": 1, "metrics": {"accuracy": true}, "restarts": 0}',
        b'{"kind": "update", "round": 1, "records": 1, "metrics": {}, "restarts": 0, "patient": "Ada"}',
        b'{"kind": "refusal", "denied": true, "reason": "' + b"x" * 2001 + b'"}',
        b'{"kind": "refusal", "denied": "yes", "reason": ""}',
        PREPARED.model_dump_json().replace('"training":18', '"training":0').encode(),
        PREPARED.model_dump_json().replace("bubblewrap", "none").encode(),
        PREPARED.model_dump_json().replace("0" * 64, "0" * 63).encode(),
        b"[" * 100_000,
    ],
)
def test_a_message_that_is_no_reply_is_refused(message: bytes) -> None:
    with pytest.raises(JobError, match="the site sent a reply that is not one"):
        reply_in(message)


@pytest.mark.parametrize("message", [b"", b"{}", b'{"round": -1}', b'{"round": "1"}', b'{"round": 1, "command": "id"}'])
def test_a_message_that_is_no_task_is_refused(message: bytes) -> None:
    with pytest.raises(JobError, match="the server sent a task that is not one"):
        read_task(reply_with(message, b""))


def test_there_are_four_tasks() -> None:
    assert {task.value for task in TaskName} == {"prepare", "settle", "train", "evaluate"}


@pytest.mark.parametrize(("reply", "key"), [(PREPARED, "training"), (PREPARED, "validation"), (UPDATE, "restarts")])
@pytest.mark.parametrize("number", [2**53 + 1, 10**400])
def test_no_count_is_larger_than_sums_bear(reply: Reply, key: str, number: int) -> None:
    """One site's 10^400 records would be none that a mean can be weighted by, and end the job of all."""
    message = reply.model_copy(update={key: number}).model_dump_json().encode()
    with pytest.raises(JobError, match="not one"):
        reply_in(message)
