# SPDX-License-Identifier: Apache-2.0
"""Which messages NVFlare's processes take from whom; every other one is dropped unread.

NVFlare's server passes on whatever a participant with a certificate sends to another, and a site's processes take any
message for the server's. So a person could ask a site's job process for a round by themselves and receive that one
site's update, and a site could command another. Here, in this order:

1. Whoever sends bears the name in the certificate of the connection, which the roster in force must accept now, as that
   of a person or of a site.
2. The server takes what a person's session and a site need, addressed to itself or to its job process. It passes
   nothing on from one participant to another.
3. A site's processes take what a job needs from the server and from each other, and nothing from anybody else.

The tables are what a running federation of NVFlare 2.9 was seen to send.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from nvflare.apis.fl_constant import AdminCommandNames, ReservedTopic, ServerCommandNames
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import CellChannel, CellChannelTopic, MessageHeaderKey, MessagePropKey, ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.streaming.download_service import OBJ_DOWNLOADER_CHANNEL, OBJ_DOWNLOADER_TOPIC
from nvflare.fuel.f3.streaming.stream_const import (
    STREAM_ACK_TOPIC,
    STREAM_CHANNEL,
    STREAM_DATA_TOPIC,
    STREAM_ERROR_TOPIC,
    StreamHeaderKey,
)
from nvflare.fuel.utils.admin_name_utils import is_valid_admin_client_name
from nvflare.private.defs import CellMessageHeaderKeys, ClientType, TrainingTopic
from nvflare.private.stream_runner import TOPIC_STREAM_ABORT, TOPIC_STREAM_REQUEST

from cloister.certificates.identity import Identity
from cloister.errors import CertificateError
from cloister.flare.connections import CERTIFICATE, SENDER
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import Holder

_log = logging.getLogger(__name__)

_SERVER: str = FQCN.ROOT_SERVER

Topics = Mapping[str, frozenset[str] | None]
"""Topics by channel; None for every topic."""

MAILBOX = "cloister.mailbox"
"""The channel of `cloister.flare.mailbox`."""

SYNC, COLLECT, DEPOSIT = "sync", "collect", "deposit"
"""Its topics: what everybody may say, and what those do who carry letters from and to the authority."""

ROUNDS = "cloister.rounds"
"""The channel between the server's and a site's process of one job."""

READY, TASK, ANSWER, CHUNK = "ready", "task", "answer", "chunk"
"""Its topics: a site takes tasks; here is one; it is done; a piece of what is too large for a message."""

STREAM = "stream"
"""Of the same channel: the server's process of the job has a site begin to stream what it offers."""

BYTES, ISSUE, REVOKE = "bytes", "issue", "revoke"
"""Likewise: how much was sent; a ticket begins to count, and ends. The server's job process asks its parent, and from
nobody else any of this is taken."""

_OF_ROUNDS: Topics = {ROUNDS: frozenset({READY, TASK, ANSWER, CHUNK, STREAM})}  # requests one way, replies the other

_OF_STREAMS: Topics = {STREAM_CHANNEL: frozenset({STREAM_ACK_TOPIC, STREAM_ERROR_TOPIC})}
_BYE: Topics = {CellChannel.CELLNET: frozenset({CellChannelTopic.Bye})}

_FROM_A_PERSON: Topics = {
    **_OF_STREAMS,
    **_BYE,
    CellChannel.SERVER_MAIN: frozenset({CellChannelTopic.Challenge, CellChannelTopic.Register}),
    CellChannel.HCI: None,  # commands: here NVFlare asks what the person's role may do
    CellChannel.AUX_COMMUNICATION: frozenset({TOPIC_STREAM_REQUEST, TOPIC_STREAM_ABORT}),  # a job on its way in
    OBJ_DOWNLOADER_CHANNEL: frozenset({OBJ_DOWNLOADER_TOPIC}),  # a result on its way out
    MAILBOX: frozenset({SYNC, COLLECT, DEPOSIT}),
}
_SITE_LIFE = frozenset(
    {
        CellChannelTopic.Challenge,
        CellChannelTopic.Register,
        CellChannelTopic.HEART_BEAT,
        CellChannelTopic.Quit,
        CellChannelTopic.REPORT_JOB_FAILURE,
    }
)
_FROM_A_SITE: Topics = {
    **_OF_ROUNDS,
    **_OF_STREAMS,
    **_BYE,
    CellChannel.SERVER_MAIN: _SITE_LIFE,
    CellChannel.CLIENT_MAIN: None,  # replies: the server itself has nobody who would take such a request
    CellChannel.RETURN_ONLY: None,
    CellChannel.AUX_COMMUNICATION: frozenset(
        {ReservedTopic.JOB_HEART_BEAT, ReservedTopic.SYNC_RUNNER, ReservedTopic.TASK_CHECK}
    ),
    CellChannel.SERVER_COMMAND: frozenset({ServerCommandNames.GET_TASK, ServerCommandNames.SUBMIT_UPDATE}),
    MAILBOX: frozenset({SYNC}),
}
_FROM_THE_SERVER: Topics = {
    **_OF_ROUNDS,
    **_OF_STREAMS,
    **_BYE,
    CellChannel.SERVER_MAIN: _SITE_LIFE,  # replies
    CellChannel.CLIENT_MAIN: None,  # commands: see `cloister.flare.commands`
    CellChannel.RETURN_ONLY: None,
    CellChannel.AUX_COMMUNICATION: frozenset({ReservedTopic.END_RUN}),
    MAILBOX: frozenset({SYNC}),  # replies
}
# The other end of a connection says itself what it is called, and a hostile server could say that it is of the site.
_WITHIN_A_SITE: Topics = {
    **_OF_STREAMS,
    **_BYE,
    CellChannel.CLIENT_MAIN: frozenset({TrainingTopic.NOTIFY_JOB_STATUS}),
    CellChannel.CLIENT_COMMAND: frozenset({AdminCommandNames.ABORT}),
    CellChannel.RETURN_ONLY: None,
}


@dataclass(frozen=True)
class Envelope:
    """What can be told of a message without reading it.

    Attributes:
        certificate: common name in the certificate of the connection; empty where the connection has none.
        neighbour: NVFlare's name of the process at its other end.
        origin: of the process that the message says it is from.
        destination: of the process that it is for.
        channel: NVFlare's; for a piece of a stream, that of the message in the stream.
        topic: likewise.
        bearer: the name that the message gives beside its token; empty where it gives none.
        registers_as: the kind of participant that it registers; empty where it registers none.
        shown: the whole certificate, PEM; empty where the connection has none.
    """

    certificate: str
    neighbour: str
    origin: str
    destination: str
    channel: str
    topic: str
    bearer: str = ""
    registers_as: str = ""
    shown: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, message: Message) -> Self:
        """The envelope of ``message``."""
        endpoint = message.get_prop(MessagePropKey.ENDPOINT)

        def header(name: str) -> str:
            return str(message.get_header(name) or "")

        channel, topic = header(MessageHeaderKey.CHANNEL), header(MessageHeaderKey.TOPIC)
        if (channel, topic) == (STREAM_CHANNEL, STREAM_DATA_TOPIC):
            channel, topic = header(StreamHeaderKey.CHANNEL), header(StreamHeaderKey.TOPIC)
        return cls(
            str(message.get_prop(MessagePropKey.COMMON_NAME) or ""),
            str(endpoint.name if endpoint else ""),
            header(MessageHeaderKey.ORIGIN),
            header(MessageHeaderKey.DESTINATION),
            channel,
            topic,
            header(CellMessageHeaderKeys.CLIENT_NAME),
            header(CellMessageHeaderKeys.CLIENT_TYPE),
            message.get_prop(CERTIFICATE) or b"",
        )


Rule = Callable[[Envelope], bool]
"""Whether a message is taken."""


def rule_of_server(holder: Holder) -> Rule:
    """What the server takes, or passes on.

    Args:
        holder: whose a certificate is now.
    """

    def takes(envelope: Envelope) -> bool:
        if not envelope.certificate and not envelope.shown:  # its own job process, over the loopback interface
            return _belongs(envelope.neighbour, _SERVER)
        who = _identity(envelope, holder)
        if who is None or who.name != envelope.certificate:
            return False
        if not _belongs(envelope.origin, envelope.neighbour) or envelope.bearer not in ("", who.name):
            return False
        if is_valid_admin_client_name(envelope.neighbour):
            known = who.kind == "person" and envelope.destination == _SERVER
            return known and envelope.registers_as in ("", ClientType.ADMIN) and _listed(envelope, _FROM_A_PERSON)
        known = who.kind == "site" and _belongs(envelope.neighbour, who.name)
        known = known and _belongs(envelope.destination, _SERVER)
        return known and envelope.registers_as in ("", ClientType.REGULAR) and _listed(envelope, _FROM_A_SITE)

    return takes


def _identity(envelope: Envelope, holder: Holder) -> Identity | None:
    try:
        return holder(envelope.shown)
    except CertificateError as error:
        _log.warning("a message from `%.100s` does not count: %s", envelope.neighbour, error)
        return None


def rule_of_site(site: str) -> Rule:
    """What the processes of ``site`` take."""

    def takes(envelope: Envelope) -> bool:
        if _belongs(envelope.origin, site):
            on_its_way_out = _belongs(envelope.destination, _SERVER)
            return _belongs(envelope.neighbour, site) and (on_its_way_out or _listed(envelope, _WITHIN_A_SITE))
        return _belongs(envelope.origin, _SERVER) and _listed(envelope, _FROM_THE_SERVER)

    return takes


def restrict_traffic(rule: Rule) -> None:
    """Have every process of NVFlare's that is started from here take only what ``rule`` lets in."""
    start = CoreCell.start

    def keep(message: Message) -> Message | None:
        try:
            envelope = Envelope.of(message)
            if rule(envelope):
                message.set_header(SENDER, envelope.certificate)
                return None
            _log.warning("dropped a message: %.500r", envelope)
        except Exception:  # noqa: BLE001 - a gate: a message that cannot be judged, for whatever reason, is dropped
            _log.exception("dropped a message that could not be judged")
        return make_reply(ReturnCode.UNAUTHENTICATED)  # any reply tells NVFlare to go no further; nobody gets it

    def start_with_rule(cell: CoreCell) -> None:
        cell.add_incoming_filter("*", "*", keep)
        start(cell)

    substitute(CoreCell, "start", start_with_rule)


def _belongs(name: str, family: str) -> bool:
    """Whether the process ``name`` is ``family`` or, like a job's process, below it."""
    return bool(family) and (name == family or name.startswith(f"{family}."))


def _listed(envelope: Envelope, topics: Topics) -> bool:
    allowed = topics.get(envelope.channel, frozenset())
    return allowed is None or envelope.topic in allowed
