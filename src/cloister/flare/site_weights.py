# SPDX-License-Identifier: Apache-2.0
"""The weights as a site has them: what the server sends takes them from one version to the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cloister.adapter_file import is_finite
from cloister.errors import JobError
from cloister.flare.exchange import Sent
from cloister.flare.payload import Payload
from cloister.in_order import in_order
from cloister.jobs import AdapterLayout
from cloister.jobs.live_tensors import live_layout
from cloister.vectors import Vector
from cloister.weights_file import WeightsFile
from cloister.wire import CODECS, EncodedVector, Schema


class SiteWeights:
    """The weights of one job at one site.

    Args:
        layout: the tensors that the job exchanges.
        folder: for their values.
    """

    def __init__(self, layout: AdapterLayout, folder: Path) -> None:
        self._layout = layout
        self._next, self._after = folder / "weights-0.safetensors", folder / "weights-1.safetensors"  # in turns
        self._version: int | None = None
        self._weights: WeightsFile | None = None

    def take(self, sent: Sent | None, payload: Payload) -> WeightsFile:
        """Go on to the version that ``sent`` speaks of; returns the weights.

        Their file is written over by the version after the next.

        Args:
            sent: what the server says of the payload; None where it says nothing.
            payload: encoded values.

        Raises:
            CloisterError: where the payload is not what ``sent`` says, or does not follow the version that is here,
                which stays then.
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
        self._weights = self._written(sent, came, part)
        self._next, self._after = self._after, self._next
        self._version = sent.version
        return self._weights

    def _written(self, sent: Sent, came: EncodedVector, part: AdapterLayout) -> WeightsFile:
        blocks = in_order(came.block, came.schema.blocks)
        path = self._next  # of the version before the one that is here, which nobody reads any more
        if sent.kind == "whole" or self._weights is None:
            return WeightsFile.write(path, part, blocks, over=path)

        def change(_: int, values: Vector) -> Vector:
            if sent.kind == "values":
                return next(blocks)
            with np.errstate(over="ignore"):  # it is looked at
                values += next(blocks)
            if not is_finite(values):
                raise JobError("the server's weights are no longer finite")
            return values

        return self._weights.changed(path, part, change, over=path)
