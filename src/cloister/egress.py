# SPDX-License-Identifier: Apache-2.0
"""The gate on what leaves a site, and its twin on what the server takes in.

1. Only the tensors that the job's layout names leave: same names, same shapes, float32, every value finite; what a
   trainer wrote is looked at in `cloister.adapter_file`, and what is added to the server's weights once more here.
2. Only metrics that the policy lists leave, each a finite number that such a metric can be. Others are dropped, not
   refused: a trainer may measure more than it may tell.
3. What leaves is written anew from the checked values, in the form that the job says (`cloister.wire`), and decoded
   once more as the server will. Metadata, padding, stray keys and the order in which the trainer wrote its file do not
   get through.
4. How much may leave, and how large an update may be, is the policy's to say: what passed here is measured as the
   server will see it, after rounding, and then held against the policy by `cloister.policies.decide`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from cloister.errors import EgressError
from cloister.files import write_pieces
from cloister.jobs import METRICS, AdapterLayout
from cloister.jobs.adapter import Arrays
from cloister.vectors import Source
from cloister.wire import Encoded, EncodedVector, Encoder, Schema

_PIECE_VALUES = 1 << 16  # so that their squares stay in the processor's cache
_LARGEST = sys.float_info.max  # NaN and infinities compare as not below it, and so do whole numbers beyond it


@dataclass(frozen=True)
class Release:
    """What passed the gate.

    Attributes:
        tensors: the update, encoded, in memory or in a file; empty where only metrics leave.
        size: of it, bytes.
        metrics: by name.
        norm: Euclidean (L2) norm of the update over all its tensors; None where only metrics leave.
        parts: of the update that leave, in the words of a policy; see `cloister.jobs.AdapterLayout.parts`.
    """

    tensors: bytes | Path
    metrics: Mapping[str, float]
    size: int = 0
    norm: float | None = None
    parts: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Tensors and metrics together."""
        return self.size + len(json.dumps(dict(self.metrics)))


def write_adapter(arrays: Arrays) -> bytes:
    """The tensors as safetensors, sorted by name."""
    return bytes(save({name: np.ascontiguousarray(arrays[name], np.float32) for name in sorted(arrays)}))


def release(  # noqa: PLR0913 - what may leave, and in what form, each by its name
    layout: AdapterLayout,
    allowed: Collection[str],
    metrics: Mapping[str, float],
    update: Source,
    encoder: Encoder,
    *,
    seed: int,
    path: Path,
) -> Release:
    """Write anew what may leave, and measure it.

    Args:
        layout: the tensors that leave in this round.
        allowed: names of the metrics that may leave.
        metrics: what the trainer measured.
        update: what it learnt, the tensors of ``layout`` as one vector.
        encoder: makes of the update's values what travels; where anything is raised, it is of no use any more.
        seed: what its rounding is drawn from, see `cloister.wire.rounding_seed`.
        path: where to, if the update has more than one block of values.

    Raises:
        EgressError: where anything that would leave is not what it should be.
    """
    kept = permitted_metrics(metrics, allowed)
    schema = Schema.of(layout)
    pieces = encoder.pieces(update, schema, seed, at_once=True)
    squares: list[float] = []
    tensors = _written(_measured(pieces, squares), schema.blocks, path)
    try:
        EncodedVector.open(tensors, encoder.codec, schema)
        norm = math.sqrt(math.fsum(squares))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    size = len(tensors) if isinstance(tensors, bytes) else tensors.stat().st_size
    return Release(tensors, kept, size, norm, layout.parts)


def release_metrics(allowed: Collection[str], metrics: Mapping[str, float]) -> Release:
    """What may leave where nothing was learnt; see `release`.

    Raises:
        EgressError: where a metric is not what it should be.
    """
    return Release(b"", permitted_metrics(metrics, allowed))


def _written(pieces: Iterator[bytes], blocks: int, path: Path) -> bytes | Path:
    if blocks <= 1:
        return b"".join(pieces)
    write_pieces(path, pieces, durable=False)
    return path


def _measured(pieces: Iterator[Encoded], squares: list[float]) -> Iterator[bytes]:
    """What leaves; adds to ``squares`` the sum of the squares of what the server will read of it."""
    for piece in pieces:
        for start in range(0, piece.values.size, _PIECE_VALUES):
            part = piece.values[start : start + _PIECE_VALUES]
            squares.append(float(np.square(part, dtype=np.float64).sum()))
        yield piece.content


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
