# SPDX-License-Identifier: Apache-2.0
"""A job's weights as a safetensors file that is read and written block by block, so that it is never in memory whole.

Tensors are float32 and sorted by name, so the file's data is the vector that `cloister.aggregation` speaks of, byte for
byte (https://huggingface.co/docs/safetensors#format). The file is what `safetensors` itself would write.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from cloister.errors import JobError
from cloister.files import sha256_of_file, write_pieces
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays
from cloister.vectors import BLOCK_VALUES, Vector

_Piece = bytes | memoryview

_VALUE_BYTES = 4
_ALIGNMENT = 8

Change = Callable[[int, Vector], Vector]
"""Is given a block's number in the vector of a part and its values as they are, and gives the new ones."""


@dataclass(frozen=True)
class WeightsFile:
    """Weights of one layout in a file that does not change any more.

    Attributes:
        path: the file.
        layout: its tensors.
    """

    path: Path
    layout: AdapterLayout

    @classmethod
    def write(
        cls,
        path: Path,
        layout: AdapterLayout,
        pieces: Iterable[Vector],
        *,
        over: Path | None = None,
    ) -> WeightsFile:
        """Write the values ``pieces``, which together are the vector, atomically, but not durably.

        Args:
            path: where to.
            layout: the tensors.
            pieces: their values.
            over: a file that nobody will read again, see `cloister.files.writing`.

        Raises:
            JobError: where there are more or fewer values than ``layout`` has; nothing is written then.
        """

        def content() -> Iterable[_Piece]:
            yield _header(layout)
            left = layout.size
            for piece in pieces:
                left -= piece.size
                if left < 0:
                    raise JobError("there are more values than the job's tensors have")
                yield np.ascontiguousarray(piece, np.dtype("<f4")).data.cast("B")
            if left:
                raise JobError(f"{left} values of the job's tensors are missing")

        write_pieces(path, content(), durable=False, over=over)
        return cls(path, layout)

    @property
    def size(self) -> int:
        """Number of values."""
        return self.layout.size

    def block(self, number: int) -> Vector:
        """Block ``number``, from 0, float32."""
        start = number * BLOCK_VALUES
        return self.read(start, min(start + BLOCK_VALUES, self.size))

    def read(self, start: int, stop: int) -> Vector:
        """The values from ``start`` up to ``stop``, float32.

        Raises:
            JobError: where the file has fewer.
        """
        values = np.empty(max(0, stop - start), np.dtype("<f4"))
        with self.path.open("rb", buffering=0) as stream:
            offset = os.fstat(stream.fileno()).st_size - _VALUE_BYTES * (self.size - start)
            view, done = values.data.cast("B"), 0
            while done < len(view):
                read = os.preadv(stream.fileno(), [view[done:]], offset + done) if offset > 0 else 0
                if not read:
                    raise JobError(f"the weights in `{self.path.name}` end before their time")
                done += read
        return values

    def arrays(self) -> Arrays:
        """Every tensor, in memory."""
        found: Arrays = {}
        start = 0
        for tensor in self.layout.tensors:
            found[tensor.name] = self.read(start, start + tensor.size).reshape(tensor.shape)
            start += tensor.size
        return found

    def changed(self, path: Path, part: AdapterLayout, change: Change, *, over: Path | None = None) -> WeightsFile:
        """Write weights that differ in the tensors of ``part`` alone.

        Args:
            path: the new file.
            part: some of the tensors, or all.
            change: is given a block's number in the vector of ``part`` and its values as they are, and gives the new
                ones; asked in order.
            over: as in `write`; not this file.

        Raises:
            JobError: where ``part`` has a tensor that is none of these.
        """
        return self.changed_in_parts(path, [(part, change)], over=over)

    def changed_in_parts(
        self,
        path: Path,
        changes: Sequence[tuple[AdapterLayout, Change]],
        *,
        over: Path | None = None,
    ) -> WeightsFile:
        """As `changed`, of parts that have no tensor in common, each with its own change; asked in turns."""
        strands = [_Strand(self.part(part), change) for part, change in changes]
        return WeightsFile.write(path, self.layout, _woven(self, strands), over=over)

    def part(self, part: AdapterLayout) -> Part:
        """The tensors of ``part``, some or all of these, as a vector of their own.

        Raises:
            JobError: where ``part`` has a tensor that is none of these.
        """
        return Part(self, spans_of(self.layout, part))

    def digest(self) -> str:
        """Hexadecimal SHA-256 of the file."""
        return sha256_of_file(self.path)


Spans = tuple[tuple[int, int], ...]
"""Where values lie in a vector: start and stop of each stretch, in order, as few as can be."""


def spans_of(whole: AdapterLayout, part: AdapterLayout) -> Spans:
    """Where the tensors of ``part`` lie in the vector of ``whole``.

    Raises:
        JobError: where ``part`` has a tensor that ``whole`` does not have.
    """
    places, start = {}, 0
    for tensor in whole.tensors:
        places[tensor.name] = (start, start + tensor.size)
        start += tensor.size
    spans: list[tuple[int, int]] = []
    for tensor in part.tensors:
        if tensor.name not in places:
            raise JobError(f"tensor `{tensor.name}` is not part of these weights")
        begin, end = places[tensor.name]
        if spans and spans[-1][1] == begin:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return tuple(spans)


class Readable(Protocol):
    """A vector of which any stretch can be read."""

    def read(self, start: int, stop: int) -> Vector:
        """The values from ``start`` up to ``stop``, float32."""


@dataclass(frozen=True)
class Part:
    """Some tensors of a vector, one after the other; a `cloister.vectors.Source`.

    Attributes:
        whole: the vector.
        spans: where they lie in it.
    """

    whole: Readable
    spans: Spans

    @property
    def size(self) -> int:
        """Number of values."""
        return sum(stop - start for start, stop in self.spans)

    def block(self, number: int) -> Vector:
        """Block ``number``, from 0, float32."""
        first = number * BLOCK_VALUES
        return self.read(first, min(first + BLOCK_VALUES, self.size))

    def read(self, first: int, last: int) -> Vector:
        """The values from ``first`` up to ``last``, float32."""
        passed, pieces = 0, [np.empty(0, np.float32)]
        for start, stop in self.spans:
            low, high = max(first, passed), min(last, passed + stop - start)
            if low < high:
                pieces.append(self.whole.read(start + low - passed, start + high - passed))
            passed += stop - start
        return pieces[-1] if len(pieces) == 2 else np.concatenate(pieces)


class _Strand:
    """The changed values of one part, in order."""

    def __init__(self, part: Part, change: Change) -> None:
        self.part, self._change = part, change
        self._number, self._held = -1, np.empty(0, np.float32)  # what is left of the changed block

    def next(self, count: int) -> Iterable[Vector]:
        """The next ``count`` of them, in pieces."""
        while count:
            if not self._held.size:
                self._number += 1
                self._held = self._change(self._number, self.part.block(self._number))
            step = min(count, self._held.size)
            yield self._held[:step]
            self._held, count = self._held[step:], count - step


def _woven(old: WeightsFile, strands: Sequence[_Strand]) -> Iterable[Vector]:
    """The whole new vector in pieces: what is in no strand's part as it was, the rest changed."""
    done = 0
    spans = ((*span, strand) for strand in strands for span in strand.part.spans)
    for start, stop, strand in sorted(spans, key=lambda span: span[0]):
        yield from _read_on(old, done, start)
        yield from strand.next(stop - start)
        done = stop
    yield from _read_on(old, done, old.size)


def _read_on(old: WeightsFile, start: int, stop: int) -> Iterable[Vector]:
    for place in range(start, stop, BLOCK_VALUES):
        yield old.read(place, min(place + BLOCK_VALUES, stop))


def _header(layout: AdapterLayout) -> bytes:
    entries, place = {}, 0
    for tensor in layout.tensors:
        end = place + _VALUE_BYTES * tensor.size
        entries[tensor.name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
