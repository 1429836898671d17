# SPDX-License-Identifier: Apache-2.0
"""Weights and updates as they travel, for tests that play one of the two ends."""

from __future__ import annotations

import numpy as np
from nvflare.apis.shareable import Shareable

from cloister.flare.exchange import Ask, Reply, Sent, Update, content_of, reply_in, task_with
from cloister.flare.payload import Payload
from cloister.flare.site_exchange import opened
from cloister.flare.site_job import SiteJob
from cloister.jobs import AdapterLayout, initial_adapter
from cloister.jobs.adapter import Arrays
from cloister.jobs.compression import CodecName
from cloister.wire import CODECS, EncodedVector, Encoder, Schema, flatten, unflatten


def encoded(arrays: Arrays, layout: AdapterLayout, codec: CodecName = "float32") -> bytes:
    """``arrays``, whose tensors ``layout`` names, encoded."""
    schema = Schema.of(layout)
    return Encoder(CODECS[codec], error_feedback=False).encode(flatten(arrays, schema), schema, 0).content


def decoded(content: Payload, layout: AdapterLayout, codec: CodecName = "float32") -> Arrays:
    """The tensors that ``content`` holds."""
    schema = Schema.of(layout)
    vector = EncodedVector.open(content, CODECS[codec], schema)
    blocks = [vector.block(number) for number in range(schema.blocks)]
    return unflatten(np.concatenate([np.empty(0, np.float32), *blocks]), schema)


def whole(number: int) -> Ask:
    """The server's word for a task of round ``number`` that brings all weights as they are."""
    return Ask(round=number, weights=Sent(version=max(number - 1, 0), kind="whole", codec="float32"))


def sent(ask: Ask, payload: Payload = b"") -> Shareable:
    """A task as it comes to a site's executor."""
    return task_with(ask.model_dump_json().encode(), payload)


def reply_from(shareable: Shareable) -> tuple[Reply, Payload]:
    """What a site's executor answered."""
    message, tensors = content_of(shareable)
    return reply_in(message), tensors


def first(layout: AdapterLayout, seed: int = 7) -> bytes:
    """The first weights of a job, as the server sends them whole."""
    return encoded(initial_adapter(layout, seed), layout)


def tensors_of(job: SiteJob) -> AdapterLayout:
    """What the job exchanges at a site."""
    return opened(job.exchange).layout


def trained(job: SiteJob, number: int = 1) -> tuple[Update, Payload]:
    """What a site makes of a round that begins at the first weights."""
    return job.train(whole(number), first(tensors_of(job)))


def measured(job: SiteJob, number: int = 3) -> Update:
    """What a site measures of the first weights."""
    return job.evaluate(whole(number), first(tensors_of(job)))
