# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import RecordsError
from cloister.silos.dialogue import Message, messages_of


def cell(*messages: object) -> str:
    return json.dumps(list(messages))


def said(role: object, content: object = "x") -> dict[str, object]:
    return {"role": role, "content": content, "name": "ignored"}


def test_messages_in_order() -> None:
    assert messages_of(cell(said("system", "be brief"), said("user", "?"), said("assistant", ""))) == (
        Message("system", "be brief"),
        Message("user", "?"),
        Message("assistant", ""),
    )


def test_characters_beyond_the_first_plane_are_text() -> None:
    assert messages_of(cell(said("assistant", "\U0001f600")))[0].content == "\U0001f600"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"messages": []}', "is no list of messages"),
        ("[]", "has no message of the assistant"),
        (cell(said("user")), "has no message of the assistant"),
        (cell(said("assistant"), said("system")), "has a system's message behind another one"),
        (cell(said("Jane")), "has a message without a `role` that is known and a `content` that is text"),
        (cell(said(["user"])), "has a message without a `role` that is known and a `content` that is text"),
        (cell(said("user", None)), "has a message without a `role` that is known and a `content` that is text"),
        (cell(said("user", "\ud800")), "has a message without a `role` that is known and a `content` that is text"),
        (cell("Jane"), "has a message without a `role` that is known and a `content` that is text"),
    ],
)
def test_what_is_wrong_is_said_without_the_cell(text: str, wrong: str) -> None:
    with pytest.raises(RecordsError) as caught:
        messages_of(text)
    assert str(caught.value) == wrong


@given(st.text(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(RecordsError, match=r"^(is|has) "):
        messages_of(text)
