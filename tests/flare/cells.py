# SPDX-License-Identifier: Apache-2.0
"""Processes of one job as NVFlare's cells, joined in memory by a wire that can lose what is sent over it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nvflare.fuel.f3.cellnet.core_cell import TargetMessage
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.fuel.f3.message import Message

JOB_ID = "0b5e1d6e-9f43-4a5e-8f5c-2f3f8a4d9c11"
SERVER = f"server.{JOB_ID}"

Handler = Callable[[Message], Message | None]


def process_of(site: str, job_id: str = JOB_ID) -> str:
    return f"{site}.{job_id}"


@dataclass
class Wire:
    """What joins the cells.

    Attributes:
        cells: by name.
        sent: topic, origin and destination of every request that was sent.
        loses: says of a request, by topic, origin and destination, that it is lost on its way.
        forgets: likewise of its reply.
    """

    cells: dict[str, InMemory] = field(default_factory=dict)
    sent: list[tuple[str, str, str]] = field(default_factory=list)
    loses: Callable[[str, str, str], bool] = lambda _topic, _origin, _destination: False
    forgets: Callable[[str, str, str], bool] = lambda _topic, _origin, _destination: False

    def cell(self, name: str) -> InMemory:
        return self.cells.setdefault(name, InMemory(name, self))


@dataclass
class InMemory:
    """One process's cell."""

    name: str
    wire: Wire
    handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)

    def register_request_cb(self, channel: str, topic: str, cb: Handler) -> None:
        self.handlers[channel, topic] = cb

    def send_request(
        self, channel: str, topic: str, target: str, request: Message, timeout: float, optional: bool
    ) -> Message:
        about = (topic, self.name, target)
        self.wire.sent.append(about)
        other = self.wire.cells.get(target)
        if other is None or self.wire.loses(*about):
            return make_reply(ReturnCode.TARGET_UNREACHABLE if other is None else ReturnCode.TIMEOUT)
        handler = other.handlers.get((channel, topic))
        if handler is None:
            return make_reply(ReturnCode.PROCESS_EXCEPTION)
        message = Message(copy.copy(request.headers), request.payload)
        message.set_header(MessageHeaderKey.ORIGIN, self.name)
        message.set_header(MessageHeaderKey.DESTINATION, target)
        try:
            reply = handler(message) or make_reply(ReturnCode.PROCESS_EXCEPTION)
        except Exception:  # noqa: BLE001 - as NVFlare does
            reply = make_reply(ReturnCode.PROCESS_EXCEPTION)
        return make_reply(ReturnCode.TIMEOUT) if self.wire.forgets(*about) else reply

    def broadcast_multi_requests(
        self, target_msgs: Mapping[str, TargetMessage], timeout: float, optional: bool
    ) -> dict[str, Message]:
        return {
            name: self.send_request(each.channel, each.topic, name, each.message, timeout, optional)
            for name, each in target_msgs.items()
        }
