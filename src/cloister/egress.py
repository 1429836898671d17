# SPDX-License-Identifier: Apache-2.0
"""The gate on what leaves a site, and its twin on what the server takes in.

1. Only the tensors that the job's layout names leave: same names, same shapes, float32, every value finite.
2. Only metrics that the policy lists leave, each a finite number that such a metric can be. Others are dropped, not
   refused: a trainer may measure more than it may tell.
3. What leaves is written anew from the checked values, in the form that the job says (`cloister.wire`), and read once
   more as the server will read it. Metadata, padding, stray keys and the order in which the trainer wrote its file do
   not get through.
4. How much may leave, and how large an update may be, is the policy's to say: what passed here is measured as the
   server will see it, after rounding, and then held against the policy by `cloister.policies.decide`.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import safetensors
from safetensors.numpy import load, save

from cloister.errors import EgressError
from cloister.jobs import METRICS, AdapterLayout
from cloister.jobs.adapter import Arrays
from cloister.vectors import Vector
from cloister.wire import EncodedVector, Encoder, Schema, flatten

_HEADER_BYTES_PER_TENSOR = 512

_LARGEST = sys.float_info.max  # NaN and infinities compare as not below it, and so do whole numbers beyond it


@dataclass(frozen=True)
class Release:
    """What passed the gate.

    Attributes:
        tensors: the update, encoded; empty where only metrics leave.
        metrics: by name.
        norm: Euclidean (L2) norm of the update over all its tensors; None where only metrics leave.
        parts: of the update that leave, in the words of a policy; see `cloister.jobs.AdapterLayout.parts`.
    """

    tensors: bytes
    metrics: Mapping[str, float]
    norm: float | None = None
    parts: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Tensors and metrics together."""
        return len(self.tensors) + len(json.dumps(dict(self.metrics)))


def maximum_blob_bytes(layout: AdapterLayout) -> int:
    """The most that an adapter of ``layout`` takes as a safetensors file."""
    return layout.bytes + maximum_header_bytes(layout)


def maximum_header_bytes(layout: AdapterLayout) -> int:
    """The most that names, types and shapes take of it."""
    return _HEADER_BYTES_PER_TENSOR * (len(layout.tensors) + 1)


def read_adapter(blob: bytes, layout: AdapterLayout) -> Arrays:
    """The tensors in ``blob``, which must be exactly those of ``layout``.

    Raises:
        EgressError: where a tensor is missing, extra, of another shape or type, or holds a value that is not finite.
    """
    if len(blob) > maximum_blob_bytes(layout):
        raise EgressError("the adapter has more bytes than the job's tensors take")
    expected = layout.shapes()
    _check_header(blob, expected)
    try:
        arrays: Arrays = load(blob)
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise EgressError("the adapter is not a safetensors file") from error
    for name, shape in expected.items():
        array = arrays.get(name)
        # The header was read twice, by two parsers; nothing passes on which they disagree.
        if array is None or len(arrays) != len(expected) or array.shape != shape or array.dtype != np.float32:
            raise EgressError("the adapter is not a safetensors file")
        if not np.isfinite(array).all():
            raise EgressError(f"tensor `{name}` holds a value that is not finite")
    return arrays


def _check_header(blob: bytes, expected: Mapping[str, tuple[int, ...]]) -> None:
    try:
        (length,) = struct.unpack_from("<Q", blob)
        if length > len(blob) - 8:
            raise ValueError("header longer than the file")
        header = json.loads(blob[8 : 8 + length])
        found = {
            str(name): (entry["dtype"], tuple(entry["shape"]))
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise EgressError("the adapter is not a safetensors file") from error
    if missing := sorted(expected.keys() - found.keys()):
        raise EgressError(f"tensor `{missing[0]}` is missing")
    if found.keys() - expected.keys():
        # The trainer chose these names and their number, so they stay unsaid: either could carry a record.
        raise EgressError("some tensors are not part of this job")
    for name, shape in expected.items():
        if found[name] != ("F32", shape):
            raise EgressError(f"tensor `{name}` is not float32 of shape {list(shape)}")


def write_adapter(arrays: Arrays) -> bytes:
    """The tensors as safetensors, sorted by name."""
    return bytes(save({name: np.ascontiguousarray(arrays[name], np.float32) for name in sorted(arrays)}))


def difference(trained: Arrays, received: Arrays) -> Arrays:
    """The update: what training added to the adapter that came from the server."""
    return {name: trained[name] - received[name] for name in sorted(received)}


def release(
    layout: AdapterLayout,
    allowed: Collection[str],
    metrics: Mapping[str, float],
    update: Arrays,
    encoder: Encoder,
    seed: int,
) -> Release:
    """Write anew what may leave, and measure it.

    Args:
        layout: the tensors that leave in this round.
        allowed: names of the metrics that may leave.
        metrics: what the trainer measured.
        update: what it learnt, by the names in ``layout``, float32.
        encoder: makes of the update's values what travels.
        seed: what its rounding is drawn from, see `cloister.wire.rounding_seed`.

    Raises:
        EgressError: where anything that would leave is not what it should be.
    """
    kept = permitted_metrics(metrics, allowed)
    schema = Schema.of(layout)
    tensors = encoder.encode(_checked(update, schema), schema, seed).content
    travelling = EncodedVector.open(tensors, encoder.codec, schema)
    return Release(tensors, kept, _norm_of(travelling, schema), layout.parts)


def release_metrics(allowed: Collection[str], metrics: Mapping[str, float]) -> Release:
    """What may leave where nothing was learnt; see `release`.

    Raises:
        EgressError: where a metric is not what it should be.
    """
    return Release(b"", permitted_metrics(metrics, allowed))


def _checked(update: Arrays, schema: Schema) -> Vector:
    vector = flatten(update, schema)
    for name, place in schema.places.items():
        if not np.isfinite(vector[place]).all():
            raise EgressError(f"tensor `{name}` holds a value that is not finite")
    return vector


def _norm_of(travelling: EncodedVector, schema: Schema) -> float:
    blocks = (travelling.block(number) for number in range(schema.blocks))
    return math.sqrt(sum(float(np.sum(np.square(block, dtype=np.float64))) for block in blocks))


def permitted_metrics(metrics: Mapping[str, float], allowed: Collection[str]) -> dict[str, float]:
    """Those of ``metrics`` that may leave.

    Raises:
        EgressError: where one of them is not a finite number, or one that such a metric cannot be.
    """
    kept: dict[str, float] = {}
    for name in sorted(set(metrics) & set(allowed)):
        value = metrics[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
            raise EgressError(f"metric `{name}` is not a finite number")
        known = METRICS.get(name)
        least, most = (-math.inf, math.inf) if known is None else (known.least, known.most)
        if not least <= value <= most:
            raise EgressError(f"metric `{name}` is not between {least:g} and {most:g}")
        kept[name] = float(value)
    return kept
