# SPDX-License-Identifier: Apache-2.0
"""What the server's and a site's process of one job send each other: a head as JSON, a message and tensors as bytes.

NVFlare's own messages carry Python objects; these are bytes that each end reads for itself. A parcel is the lengths of
head and message (4 bytes each, little-endian), head, message, tensors.
"""

from __future__ import annotations

import struct
from typing import Annotated, TypeVar

from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message
from pydantic import Field, StringConstraints, ValidationError

from cloister.documents import Model
from cloister.errors import JobError
from cloister.flare.exchange import TaskName
from cloister.names import Sha256

MAXIMUM_INLINE_BYTES = 1 << 20
"""Of tensors that travel in a parcel; more of them is fetched in pieces, see `cloister.flare.chunks`."""

MAXIMUM_PARCEL_BYTES = 8 << 20


_LENGTHS = struct.Struct("<II")
_MAXIMUM_HEAD_BYTES = 4096

Identifier = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Reference(Model):
    """Names tensors that do not travel in the parcel.

    Attributes:
        digest: over message and tensors, as `cloister.flare.exchange.digest_of` has it.
        bytes: of the tensors.
        ticket: with which they can be had in a stream, see `cloister.flare.tickets`.
    """

    digest: Sha256
    bytes: int = Field(ge=0)
    ticket: Identifier | None = None


class StreamHead(Model):
    """Has a site stream what it offers.

    Attributes:
        digest: of the whole, as its reference says.
        ticket: to be shown by it.
    """

    digest: Sha256
    ticket: Identifier


class TaskHead(Model):
    """What the server asks of a site.

    Attributes:
        task: what is to be done.
        identifier: of this asking; every site that is asked gets the same one.
        seconds: for how long the answer is waited for.
        reference: to the tensors, where they are not in the parcel.
    """

    task: TaskName
    identifier: Identifier
    seconds: float = Field(gt=0, le=1e9, allow_inf_nan=False)
    reference: Reference | None = None


class AnswerHead(Model):
    """A site's answer to a task.

    Attributes:
        identifier: of the asking.
        code: NVFlare's word for how it went; without `OK` nothing else comes.
        reference: to the tensors, where they are not in the parcel.
    """

    identifier: Identifier
    code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_ ]{1,64}$")]
    reference: Reference | None = None


T = TypeVar("T", bound=Model)


def pack(head: Model, message: bytes = b"", tensors: bytes = b"") -> Message:
    """A message of NVFlare's that carries a parcel."""
    encoded = head.model_dump_json().encode()
    lengths = _LENGTHS.pack(len(encoded), len(message))
    return Message(headers={}, payload=b"".join((lengths, encoded, message, tensors)))


def unpack(carrier: Message, kind: type[T]) -> tuple[T, bytes, bytes]:
    """Head, message and tensors of the parcel in ``carrier``.

    Raises:
        JobError: where there is none.
    """
    payload = carrier.payload
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise JobError("a message between the job's processes is empty")
    if len(payload) > MAXIMUM_PARCEL_BYTES:
        raise JobError(f"a message between the job's processes has {len(payload)} bytes")
    view = memoryview(payload)
    if len(view) < _LENGTHS.size:
        raise JobError("a message between the job's processes is cut off")
    head_bytes, message_bytes = _LENGTHS.unpack_from(view)
    begin = _LENGTHS.size + head_bytes
    if head_bytes > _MAXIMUM_HEAD_BYTES or begin + message_bytes > len(view):
        raise JobError("a message between the job's processes is cut off")
    try:
        head = kind.model_validate_json(bytes(view[_LENGTHS.size : begin]))
    except ValidationError as error:
        raise JobError("a message between the job's processes is not one") from error
    return head, bytes(view[begin : begin + message_bytes]), bytes(view[begin + message_bytes :])


def origin_of(carrier: Message) -> str:
    """NVFlare's name of the process that sent ``carrier``."""
    return str(carrier.get_header(MessageHeaderKey.ORIGIN) or "")


def acknowledgement(code: str = ReturnCode.OK) -> Message:
    """A reply that says whether a parcel was taken."""
    return Message(headers={MessageHeaderKey.RETURN_CODE: code}, payload=None)


def is_acknowledged(reply: Message | None) -> bool:
    """Whether ``reply`` says that the parcel was taken."""
    return reply is not None and reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK
