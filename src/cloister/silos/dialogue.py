# SPDX-License-Identifier: Apache-2.0
"""What a cell of kind `messages` holds: a conversation, `[{"role": "user", "content": "…"}]`.

Roles are `system`, `user` and `assistant`. The system speaks first or not at all, and the assistant at least once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from cloister.errors import RecordsError

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Message:
    """What one side said.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: the text.
    """

    role: str
    content: str


def messages_of(cell: str) -> tuple[Message, ...]:
    """The messages that ``cell`` holds, in order.

    Raises:
        RecordsError: where it is no conversation. The message says what is wrong with the cell, and holds none of it.
    """
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        raise RecordsError("is not JSON") from None
    if not isinstance(value, list):
        raise RecordsError("is no list of messages")
    messages = tuple(_message(each) for each in value)
    if any(message.role == SYSTEM for message in messages[1:]):
        raise RecordsError("has a system's message behind another one")
    if not any(message.role == ASSISTANT for message in messages):
        raise RecordsError("has no message of the assistant")
    return messages


def _message(value: Any) -> Message:
    if isinstance(value, dict):
        role, content = value.get("role"), value.get("content")
        # JSON can write half of a character's surrogate pair, which is no text that could be encoded.
        if role in (SYSTEM, USER, ASSISTANT) and isinstance(content, str) and not _SURROGATE.search(content):
            return Message(role, content)
    raise RecordsError("has a message without a `role` that is known and a `content` that is text")
