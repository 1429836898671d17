# SPDX-License-Identifier: Apache-2.0
"""Reads what a safetensors file says of itself, trusting none of it (https://huggingface.co/docs/safetensors#format)."""

from __future__ import annotations

import json
import math
import os
import re
import struct
from pathlib import Path
from typing import Any

from cloister.errors import RecordsError

_MAXIMUM_HEADER_BYTES = 16 << 20  # the format allows 100 MB; a model of 100 000 tensors needs no more than this
_MAXIMUM_DIMENSIONS = 16
_TENSOR_NAME = re.compile(r"[\x21-\x7e]{1,500}")
_TYPE_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in the safetensors file at ``path``; its values are not read.

    The header is held to the format's rules as the reference implementation checks them: names differ, each tensor's
    bytes are as many as its shape and type need, and all tensors together fill the file without gap or overlap.

    Raises:
        RecordsError: where the file is missing or its header is not one.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(_MAXIMUM_HEADER_BYTES, size - 8):
                raise ValueError("its header is longer than the file or the limit")
            header = json.loads(stream.read(length), object_pairs_hook=_without_duplicates)
        if not isinstance(header, dict):
            raise ValueError("its header is not a mapping")  # noqa: TRY004  told of like the others
        header.pop("__metadata__", None)
        tensors = {name: _checked_entry(name, entry) for name, entry in header.items()}
        _check_places([place for _, place in tensors.values()], size - 8 - length)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise RecordsError(f"base model file `{path}` cannot be read: {reason}") from error
    except struct.error as error:
        raise RecordsError(f"base model file `{path}` is not safetensors: it is too short") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordsError(f"base model file `{path}` is not safetensors: its header is not JSON") from error
    except ValueError as error:
        raise RecordsError(f"base model file `{path}` is not safetensors: {error}") from error
    return {name: shape for name, (shape, _) in tensors.items()}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header has a name twice")
    return found


def _checked_entry(name: str, entry: Any) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Shape, and first and last offset, of one tensor of a header."""
    if not _TENSOR_NAME.fullmatch(name):
        raise ValueError("a tensor's name is too long or holds odd characters")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor `{name}` is not described as the format says")
    shape, places = entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape) or not _are_sizes(places) or len(shape) > _MAXIMUM_DIMENSIONS or len(places) != 2:
        raise ValueError(f"tensor `{name}` has no sensible shape or place")
    bits = _TYPE_BITS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if bits is None:
        raise ValueError(f"tensor `{name}` is of a type that the format does not know")
    if bits * math.prod(shape) != 8 * (places[1] - places[0]):
        raise ValueError(f"tensor `{name}` has a shape that does not fit its place")
    return tuple(shape), (places[0], places[1])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 2**63 for each in value)


def _check_places(places: list[tuple[int, int]], data_bytes: int) -> None:
    end = 0
    for start, stop in sorted(places):
        if start != end:
            raise ValueError("its tensors overlap or leave a gap")
        end = stop
    if end != data_bytes:
        raise ValueError("its tensors are not as long as the file")
