# SPDX-License-Identifier: Apache-2.0
"""A safetensors file that somebody else wrote, who is not trusted: looked at before anything of it is used.

Nothing of it is in memory but its header and the block that is read (https://huggingface.co/docs/safetensors#format).
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors

from cloister.errors import EgressError
from cloister.jobs import AdapterLayout
from cloister.vectors import BLOCK_VALUES, Vector
from cloister.weights_file import Part

_HEADER_BYTES_PER_TENSOR = 512
_LENGTH = struct.Struct("<Q")
_VALUE_BYTES = 4

_Shapes = Mapping[str, tuple[int, ...]]


def maximum_blob_bytes(layout: AdapterLayout) -> int:
    """The most that an adapter of ``layout`` takes as a safetensors file."""
    return layout.bytes + maximum_header_bytes(layout)


def maximum_header_bytes(layout: AdapterLayout) -> int:
    """The most that names, types and shapes take of it."""
    return _HEADER_BYTES_PER_TENSOR * (len(layout.tensors) + 1)


@dataclass(frozen=True)
class AdapterFile:
    """Tensors of one layout in a file that does not change any more; all values are finite.

    Attributes:
        path: the file.
        begin: where its first value lies, bytes.
        places: by tensor, where its values lie among all: start and stop.
    """

    path: Path
    begin: int
    places: Mapping[str, tuple[int, int]]

    @classmethod
    def open(cls, path: Path, layout: AdapterLayout) -> AdapterFile:
        """Look at all of the file, which must hold exactly the tensors of ``layout``, in whatever order.

        Raises:
            EgressError: where a tensor is missing, extra, of another shape or type, or holds a value that is not
                finite.
            OSError: where the file cannot be read.
        """
        size = path.stat().st_size
        if size > maximum_blob_bytes(layout):
            raise EgressError("the adapter has more bytes than the job's tensors take")
        expected = layout.shapes()
        begin, places = _places(path, size, expected, maximum_header_bytes(layout))
        _check_with_another_parser(path, expected)
        found = cls(path, begin, places)
        for name, (start, stop) in places.items():
            for first in range(start, stop, BLOCK_VALUES):
                if not is_finite(found.read(first, min(first + BLOCK_VALUES, stop))):
                    raise EgressError(f"tensor `{name}` holds a value that is not finite")
        return found

    def read(self, start: int, stop: int) -> Vector:
        """The values from ``start`` up to ``stop``, as they lie in the file.

        Raises:
            EgressError: where the file has become shorter.
        """
        values = np.empty(stop - start, np.dtype("<f4"))
        view, done = values.data.cast("B"), 0
        with self.path.open("rb", buffering=0) as stream:
            while done < len(view):
                place = self.begin + _VALUE_BYTES * start + done
                read = os.preadv(stream.fileno(), [view[done:]], place)
                if not read:
                    raise EgressError("the adapter is not a safetensors file")
                done += read
        return values

    def part(self, layout: AdapterLayout, mark: str = "") -> Part:
        """The tensors of ``layout`` as a vector, each found under ``mark`` and its name."""
        return Part(self, tuple(self.places[mark + tensor.name] for tensor in layout.tensors))


def is_finite(values: Vector) -> bool:
    """Whether every value is; both ends are NaN where one value is, and looking at them takes no memory."""
    return not values.size or bool(np.isfinite(values.max()) and np.isfinite(values.min()))


def _places(path: Path, size: int, expected: _Shapes, most: int) -> tuple[int, dict[str, tuple[int, int]]]:
    try:
        with path.open("rb") as stream:
            (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
            if length > min(size - _LENGTH.size, most):  # what is parsed takes many times its length in memory
                raise ValueError("header longer than the file, or than that of any such file")
            header = json.loads(stream.read(length))
        begin = _LENGTH.size + length
        entries = {str(name): entry for name, entry in header.items() if name != "__metadata__"}
        found = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}
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
    return begin, _values_of(entries, expected, size - begin)


def _values_of(entries: Mapping[str, Mapping[str, object]], expected: _Shapes, size: int) -> dict[str, tuple[int, int]]:
    """Where values lie: tensors fill the file, and none lies where another does."""
    offsets = {}
    for name, entry in entries.items():
        match entry.get("data_offsets"):
            case [int(start), int(stop)] if stop - start == _VALUE_BYTES * math.prod(expected[name]):
                offsets[name] = (start, stop)
            case _:
                raise EgressError("the adapter is not a safetensors file")
    reached = 0
    for start, stop in sorted(offsets.values()):
        if start != reached:
            raise EgressError("the adapter is not a safetensors file")
        reached = stop
    if reached != size:
        raise EgressError("the adapter is not a safetensors file")
    return {name: (start // _VALUE_BYTES, stop // _VALUE_BYTES) for name, (start, stop) in offsets.items()}


def _check_with_another_parser(path: Path, expected: _Shapes) -> None:
    """Nothing passes on which two parsers of the header disagree."""
    try:
        with safetensors.safe_open(path, framework="numpy") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
            found = {name: (each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise EgressError("the adapter is not a safetensors file") from error
    if found != {name: ("F32", shape) for name, shape in expected.items()}:
        raise EgressError("the adapter is not a safetensors file")
