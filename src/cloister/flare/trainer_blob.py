# SPDX-License-Identifier: Apache-2.0
"""What lies in the bytes between a site's job process and its trainer: exchanged tensors, and those that are kept.

The trainer is untrusted, so that what it sends is told apart by the names that the job declares, and by nothing that
it says. A blob that is not exactly that is refused as a whole: nothing of it leaves, and nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from cloister.adapter_file import AdapterFile
from cloister.errors import EgressError
from cloister.jobs import AdapterLayout, TensorSpec
from cloister.jobs.adapter import Arrays
from cloister.jobs.folded_tensors import FOLDED
from cloister.jobs.kept_tensors import KEPT
from cloister.vectors import BLOCK_VALUES, Vector
from cloister.weights_file import Readable, WeightsFile

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Kept:
    """Tensors that stay at a site.

    Attributes:
        layout: which.
        values: theirs.
    """

    layout: AdapterLayout
    values: Readable

    def arrays(self) -> Arrays:
        """Every tensor, in memory."""
        return {
            tensor.name: self.values.read(start, start + tensor.size).reshape(tensor.shape)
            for tensor, start in _starts(self.layout)
        }


def blob_layout(exchanged: AdapterLayout, kept: AdapterLayout) -> AdapterLayout:
    """All tensors of one blob; of its size no blob may be longer, see `cloister.adapter_file.maximum_blob_bytes`."""
    if not kept.tensors:
        return exchanged
    marked = tuple(replace(tensor, name=KEPT + tensor.name) for tensor in kept.tensors)
    return replace(exchanged, tensors=tuple(sorted((*exchanged.tensors, *marked), key=lambda tensor: tensor.name)))


def join(path: Path, exchanged: WeightsFile, kept: Kept, folded: Mapping[str, Array] = MappingProxyType({})) -> Path:
    """The file that holds the blob of a request.

    Args:
        path: where to, if there is more in it than what came from the server; what lies there is written over.
        exchanged: what came from the server.
        kept: what the site has kept so far.
        folded: what is to be folded into the base model.
    """
    if not kept.layout.tensors and not folded:
        return exchanged.path
    places: dict[str, tuple[TensorSpec, Readable, int]] = {}
    for tensor, start in _starts(exchanged.layout):
        places[tensor.name] = (tensor, exchanged, start)
    for tensor, start in _starts(kept.layout):
        places[KEPT + tensor.name] = (tensor, kept.values, start)
    for name, array in folded.items():
        places[FOLDED + name] = (TensorSpec(name, array.shape, "zeros"), _InMemory(array), 0)

    def pieces() -> Iterator[Vector]:
        for _, (tensor, values, start) in sorted(places.items()):
            for first in range(start, start + tensor.size, BLOCK_VALUES):
                yield values.read(first, min(first + BLOCK_VALUES, start + tensor.size))

    tensors = tuple(replace(tensor, name=name) for name, (tensor, _, _) in sorted(places.items()))
    return WeightsFile.write(path, AdapterLayout(tensors, ()), pieces(), over=path).path


def split(path: Path, exchanged: AdapterLayout, kept: AdapterLayout) -> AdapterFile:
    """See that a trainer gave back the tensors of the job, under the names that `join` gives them.

    Args:
        path: the trainer's bytes.
        exchanged: what the job exchanges.
        kept: what the job keeps at its sites.

    Raises:
        EgressError: where a tensor of either is missing, extra, of another shape or type, or holds a value that is not
            finite; where the blob is longer than both take; and where it cannot be told, for whatever reason.
    """
    try:
        return AdapterFile.open(path, blob_layout(exchanged, kept))
    except EgressError:
        raise
    except Exception as error:  # a gate: where it cannot tell, nothing leaves
        raise EgressError("what the trainer gave back could not be told apart") from error


@dataclass(frozen=True)
class _InMemory:
    array: Array

    def read(self, start: int, stop: int) -> Vector:
        return self.array.reshape(-1)[start:stop]


def _starts(layout: AdapterLayout) -> Iterator[tuple[TensorSpec, int]]:
    start = 0
    for tensor in layout.tensors:
        yield tensor, start
        start += tensor.size
