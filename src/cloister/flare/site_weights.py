# SPDX-License-Identifier: Apache-2.0
"""The weights as a site has them: what the server sends takes them from one version to the next."""

from __future__ import annotations

import numpy as np

from cloister.errors import JobError
from cloister.flare.exchange import Sent
from cloister.flare.payload import Payload
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays
from cloister.jobs.live_tensors import live_layout
from cloister.vectors import BLOCK_VALUES, Vector
from cloister.wire import CODECS, EncodedVector, Schema, unflatten


class SiteWeights:
    """The weights of one job at one site.

    Args:
        layout: the tensors that the job exchanges.
    """

    def __init__(self, layout: AdapterLayout) -> None:
        self._layout, self._schema = layout, Schema.of(layout)
        self._version: int | None = None
        self._values: Vector = np.zeros(self._schema.size, np.float32)

    def take(self, sent: Sent | None, payload: Payload) -> Arrays:
        """Go on to the version that ``sent`` speaks of; returns the weights, which share memory with the site's own.

        Args:
            sent: what the server says of the payload; None where it says nothing.
            payload: encoded values.

        Raises:
            CloisterError: where the payload is not what ``sent`` says, or does not follow the version that is here.
        """
        if sent is None:
            raise JobError("the server sent a task without weights")
        if sent.kind == "whole":
            if sent.base is not None or sent.without is not None:
                raise JobError("the server sent whole weights and says that they are not whole")
        elif sent.base is None or sent.base != self._version:
            raise JobError("the server sent a change to weights that this site does not have")
        part = live_layout(self._layout, sent.without)
        came = EncodedVector.open(payload, CODECS[sent.codec], Schema.of(part))
        came.check()
        self._version = None  # until all of it is taken over
        self._apply(came, part, added=sent.kind == "differences")
        self._version = sent.version
        return unflatten(self._values, self._schema)

    def _apply(self, came: EncodedVector, part: AdapterLayout, *, added: bool) -> None:
        number, held = -1, np.empty(0, np.float32)
        for tensor in part.tensors:
            place = self._schema.places[tensor.name]
            start, stop = place.start, place.stop
            while start < stop:
                if not held.size:
                    number += 1
                    held = came.block(number)
                step = min(stop - start, held.size)
                here = self._values[start : start + step]
                with np.errstate(over="ignore"):  # it is looked at
                    here[...] = here + held[:step] if added else held[:step]
                held, start = held[step:], start + step
        for first in range(0, self._values.size, BLOCK_VALUES):
            if not np.isfinite(self._values[first : first + BLOCK_VALUES]).all():
                raise JobError("the server's weights are no longer finite")
