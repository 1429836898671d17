# SPDX-License-Identifier: Apache-2.0
"""What lies in the bytes between a site's job process and its trainer: exchanged tensors, and those that are kept.

The trainer is untrusted, so that what it sends is told apart by the names that the job declares, and by nothing that
it says. A blob that is not exactly that is refused as a whole: nothing of it leaves, and nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from cloister.egress import read_adapter, write_adapter
from cloister.errors import EgressError
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import Arrays
from cloister.jobs.folded_tensors import FOLDED
from cloister.jobs.kept_tensors import KEPT

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Apart:
    """What a trainer gave back after a round.

    Attributes:
        exchanged: what may leave, if the egress gate and the policy say so; by its names in the job's exchanged layout.
        kept: what stays, by its names in the job's kept layout.
    """

    exchanged: Arrays
    kept: Arrays


def blob_layout(exchanged: AdapterLayout, kept: AdapterLayout) -> AdapterLayout:
    """All tensors of one blob; of its size no blob may be longer, see `cloister.egress.maximum_blob_bytes`."""
    if not kept.tensors:
        return exchanged
    marked = tuple(replace(tensor, name=KEPT + tensor.name) for tensor in kept.tensors)
    return replace(exchanged, tensors=tuple(sorted((*exchanged.tensors, *marked), key=lambda tensor: tensor.name)))


def join(exchanged: Arrays, kept: Arrays, folded: Mapping[str, Array] = MappingProxyType({})) -> bytes:
    """The blob of a request.

    Args:
        exchanged: what came from the server.
        kept: what the site has kept so far.
        folded: what is to be folded into the base model.
    """
    marked = {KEPT + name: array for name, array in kept.items()}
    return write_adapter(exchanged | marked | {FOLDED + name: array for name, array in folded.items()})


def split(blob: bytes, exchanged: AdapterLayout, kept: AdapterLayout) -> Apart:
    """Tell apart what a trainer gave back.

    Args:
        blob: the trainer's bytes.
        exchanged: what the job exchanges.
        kept: what the job keeps at its sites.

    Raises:
        EgressError: where a tensor of either is missing, extra, of another shape or type, or holds a value that is not
            finite; where the blob is longer than both take; and where it cannot be told, for whatever reason.
    """
    try:
        arrays = read_adapter(blob, blob_layout(exchanged, kept))
        return Apart(
            {tensor.name: arrays[tensor.name] for tensor in exchanged.tensors},
            {tensor.name: arrays[KEPT + tensor.name] for tensor in kept.tensors},
        )
    except EgressError:
        raise
    except Exception as error:  # a gate: where it cannot tell, nothing leaves
        raise EgressError("what the trainer gave back could not be told apart") from error
