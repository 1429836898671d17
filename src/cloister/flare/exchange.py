# SPDX-License-Identifier: Apache-2.0
"""What the server and a site's job process say to each other in a job.

A task or its reply is a JSON message and, beside it, encoded weights or an update (`cloister.wire`): bytes, or a file
that holds them. While they pass through NVFlare's filters at a site, both lie in an NVFlare FLModel; neither side ever
builds an object that the other one named.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from pydantic import Field, TypeAdapter, ValidationError

from cloister.documents import Model
from cloister.errors import JobError
from cloister.flare.payload import Payload, pieces_of
from cloister.jobs.compression import CodecName
from cloister.jobs.live_tensors import Factor
from cloister.jobs.statistics import FeatureStatistics
from cloister.names import Sha256

MAXIMUM_MESSAGE_BYTES = 4 << 20

MAXIMUM_COUNT = 1 << 53
"""Of anything that a site counts. Means are weighted by counts, and float64 holds all whole numbers up to this one."""

_MESSAGE, _ADAPTER = "message", "adapter"


class TaskName(StrEnum):
    """What the server may ask of a site."""

    PREPARE = "prepare"  # write the governed view, say what there is; start the trainer, or describe the features
    SETTLE = "settle"  # take over what the features are like over all sites, start the trainer
    TRAIN = "train"  # measure the adapter, train it for one round, send the update
    EVALUATE = "evaluate"  # measure the adapter


class Sent(Model):
    """What the payload of a task holds of the weights.

    Attributes:
        version: of the weights that the site has afterwards: the number of the round that made them, 0 for the first.
        kind: `whole`: every tensor as it is; `values`: some tensors as they are, the others stay; `differences`: what
            is added to some tensors.
        base: the version that the site must have before; None with `whole`.
        without: the low-rank factor that is left out.
        codec: how the payload is encoded.
        folded: what lies behind the encoded values, to be folded into the base model; see `cloister.flare.folding`.
        folded_bytes: how long that is.
    """

    version: int = Field(ge=0)
    kind: Literal["whole", "values", "differences"]
    base: int | None = Field(default=None, ge=0)
    without: Factor | None = None
    codec: CodecName
    folded: Literal["stack", "all"] | None = None
    folded_bytes: int = Field(default=0, ge=0)


class Ask(Model):
    """The message of a task.

    Attributes:
        round: 1-based; 0 for `prepare` and `settle`.
        statistics: of the features, over all sites; with `settle` alone.
        weights: what the payload is; with `train` and `evaluate` alone.
    """

    round: int = Field(ge=0)
    statistics: FeatureStatistics | None = None
    weights: Sent | None = None


class Prepared(Model):
    """A site is ready: the manifest of its view, and what it will send.

    Attributes:
        training: records it will train on.
        validation: records it will measure on.
        view: digest of the view's manifest.
        policy: digest of the policy it was admitted under.
        sandbox: how its trainer is isolated.
        layout: the tensors that it will send, as the site worked them out; None where that has to wait for what the
            features are like over all sites.
        statistics: what the features are like here, where the job asks for that.
        release_minimum_sites: sites that must be behind a result, as its policy demands; 0 where it does not.
        release_minimum_records: records to train on that must be, of all sites together; 0 where it does not.
    """

    kind: Literal["prepared"] = "prepared"
    training: int = Field(ge=1, le=MAXIMUM_COUNT)
    validation: int = Field(ge=0, le=MAXIMUM_COUNT)
    view: Sha256
    policy: Sha256
    sandbox: Literal["bubblewrap", "unsafe-none"]
    layout: dict[str, Any] | None = None
    statistics: FeatureStatistics | None = None
    release_minimum_sites: int = Field(default=0, ge=0)
    release_minimum_records: int = Field(default=0, ge=0)


class Settled(Model):
    """A site is ready after all: what it will send.

    Attributes:
        layout: the tensors, as the site worked them out from the job and what the features are like over all sites.
    """

    kind: Literal["settled"] = "settled"
    layout: dict[str, Any]


class Update(Model):
    """A site's answer to `train` (with tensors) and `evaluate` (without).

    Attributes:
        round: the round that was asked.
        records: training records behind the update.
        metrics: of the adapter as it came, and `train_loss` of the round.
        restarts: how often the trainer died and was started again so far.
        audit: hash of an entry at the end of the site's audit log when the update was made. The server writes it down,
            so that an end of the log that was rewritten or cut off afterwards can be told.
    """

    kind: Literal["update"] = "update"
    round: int = Field(ge=0)
    records: int = Field(ge=0, le=MAXIMUM_COUNT)
    metrics: dict[str, float]
    restarts: int = Field(ge=0, le=MAXIMUM_COUNT)
    audit: Sha256 | None = None


class Refusal(Model):
    """A site says no, and why: a sentence of Cloister's own that quotes no record."""

    kind: Literal["refusal"] = "refusal"
    denied: bool
    reason: Annotated[str, Field(max_length=2000)]


Reply = Prepared | Settled | Update | Refusal

_REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


def task_with(message: bytes, payload: Payload) -> Shareable:
    """A task's bytes, or its file, as they go through NVFlare's filters at a site."""
    params: dict[str, Any] = {_MESSAGE: message, _ADAPTER: payload}
    return FLModelUtils.to_shareable(FLModel(params_type=ParamsType.FULL, params=params))


def read_task(shareable: Shareable) -> tuple[Ask, Payload]:
    """What a site received.

    Raises:
        JobError: where it is not a task of Cloister's.
    """
    message, payload = _parts(FLModelUtils.from_shareable(shareable))
    try:
        return Ask.model_validate_json(message), payload
    except ValidationError as error:
        raise JobError("the server sent a task that is not one") from error


def reply_of(reply: Reply, tensors: Payload = b"") -> Shareable:
    """What a site sends: a Shareable that holds the message and the tensors, and nothing else."""
    return reply_with(reply.model_dump_json().encode(), tensors)


def content_of(shareable: Shareable) -> tuple[bytes, Payload]:
    """Message and tensors of a reply.

    Raises:
        JobError: where the Shareable is not a reply of Cloister's.
    """
    return _parts(FLModelUtils.from_shareable(shareable))


def reply_with(message: bytes, tensors: Payload) -> Shareable:
    """A fresh Shareable around a reply's bytes."""
    return FLModelUtils.to_shareable(
        FLModel(params_type=ParamsType.FULL, params={_MESSAGE: message, _ADAPTER: tensors})
    )


def digest_of(message: bytes, tensors: Payload) -> str:
    """What identifies a reply: SHA-256 over the message's length (8 bytes, little-endian), message and tensors."""
    digest = hashlib.sha256(len(message).to_bytes(8, "little") + message)
    for piece in pieces_of(tensors):
        digest.update(piece)
    return digest.hexdigest()


def reply_in(message: bytes) -> Reply:
    """The reply that a message holds.

    Raises:
        JobError: where there is none, or it is too long to be looked at.
    """
    _check_length(message)
    try:
        return _REPLY.validate_json(message)
    except ValidationError as error:
        raise JobError("the site sent a reply that is not one") from error


def _parts(model: FLModel) -> tuple[bytes, Payload]:
    params = model.params
    if not isinstance(params, dict) or set(params) != {_MESSAGE, _ADAPTER}:
        raise JobError("the message has parts that do not belong in it")
    message, payload = params[_MESSAGE], params[_ADAPTER]
    if not isinstance(message, bytes) or not isinstance(payload, bytes | Path):
        raise JobError("the message has parts that are not bytes")
    _check_length(message)
    return message, payload


def _check_length(message: bytes) -> None:
    if len(message) > MAXIMUM_MESSAGE_BYTES:
        raise JobError("the message is too long")
