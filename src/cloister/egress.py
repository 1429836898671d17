# SPDX-License-Identifier: Apache-2.0
"""The gate on what leaves a site, and its twin on what the server takes in.

1. Only the tensors that the job's layout names leave: same names, same shapes, float32, every value finite.
2. Only metrics that the policy lists leave, each a finite number that such a metric can be. Others are dropped, not
   refused: a trainer may measure more than it may tell.
3. Nothing leaves above the policy's limit of bytes per round.
4. What leaves is written anew from the checked values. Metadata, padding, stray keys and the order in which the trainer
   wrote its file do not get through.
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
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays

_HEADER_BYTES_PER_TENSOR = 512

_LARGEST = sys.float_info.max  # NaN and infinities compare as not below it, and so do whole numbers beyond it

# What each metric can be: shares lie between 0 and 1; a mean cross-entropy (nats) above 1e6 is no measurement. Without
# bounds one site could claim any number and so decide alone which round is best.
_RANGES = {"accuracy": (0.0, 1.0), "macro_f1": (0.0, 1.0), "loss": (0.0, 1e6), "train_loss": (0.0, 1e6)}


@dataclass(frozen=True)
class Allowance:
    """What one job may send from one site in one round.

    Attributes:
        layout: the tensors of the job's adapter.
        metrics: names of the metrics that may leave.
        maximum_bytes: of tensors and message together.
    """

    layout: AdapterLayout
    metrics: frozenset[str]
    maximum_bytes: int


@dataclass(frozen=True)
class Release:
    """What passed the gate.

    Attributes:
        tensors: the update as safetensors; empty where only metrics leave.
        metrics: by name.
    """

    tensors: bytes
    metrics: Mapping[str, float]


def maximum_blob_bytes(layout: AdapterLayout) -> int:
    """The most that an adapter of ``layout`` takes as a safetensors file."""
    return layout.bytes + _HEADER_BYTES_PER_TENSOR * (len(layout.tensors) + 1)


def read_adapter(blob: bytes, layout: AdapterLayout) -> Arrays:
    """The tensors in ``blob``, which must be exactly those of ``layout``.

    Raises:
        EgressError: where a tensor is missing, extra, of another shape or type, or holds a value that is not finite.
    """
    if len(blob) > maximum_blob_bytes(layout):
        raise EgressError(f"the adapter has {len(blob)} bytes, more than the job's tensors take")
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
    if extra := len(found.keys() - expected.keys()):
        # The trainer chose these names, so they stay unsaid: a name could carry a record.
        raise EgressError(f"{extra} tensors are not part of this job")
    for name, shape in expected.items():
        if found[name] != ("F32", shape):
            raise EgressError(f"tensor `{name}` is not float32 of shape {list(shape)}")


def write_adapter(arrays: Arrays) -> bytes:
    """The tensors as safetensors, sorted by name."""
    return bytes(save({name: np.ascontiguousarray(arrays[name], np.float32) for name in sorted(arrays)}))


def difference(trained: Arrays, received: Arrays) -> Arrays:
    """The update: what training added to the adapter that came from the server."""
    return {name: trained[name] - received[name] for name in sorted(received)}


def release(allowance: Allowance, metrics: Mapping[str, float], update: Arrays | None) -> Release:
    """Let out what may leave.

    Raises:
        EgressError: where anything that would leave may not.
    """
    kept = permitted_metrics(metrics, allowance.metrics)
    tensors = b""
    if update is not None:
        tensors = write_adapter(update)
        read_adapter(tensors, allowance.layout)
    size = len(tensors) + len(json.dumps(kept))
    if size > allowance.maximum_bytes:
        raise EgressError(
            f"the update has {size} bytes, more than the {allowance.maximum_bytes} that may leave per round"
        )
    return Release(tensors, kept)


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
        least, most = _RANGES.get(name, (-math.inf, math.inf))
        if not least <= value <= most:
            raise EgressError(f"metric `{name}` is not between {least:g} and {most:g}")
        kept[name] = float(value)
    return kept
