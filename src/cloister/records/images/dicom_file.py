# SPDX-License-Identifier: Apache-2.0
"""One DICOM file, as pydicom reads it (PS3.10), and what must be known before it is let to.

1. A file is DICOM where it says so (`DICM` after 128 bytes), or where it begins like a file meta group or a data set
   and names its SOP class. Files without a meta group are read as what their first bytes show; they were never
   compressed.
2. A data set that is deflated as a whole is refused: pydicom inflates it without a bound.
3. Whatever pydicom says of a file is dropped, because it quotes values; so are its warnings and its log.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from cloister.errors import RecordsError

MAXIMUM_FILE_BYTES = 4 << 30
"""A file that is larger is not opened: its header, or all of it, is held in memory."""

_MAXIMUM_DEPTH = 32  # sequences in sequences; the deepest of the standard are some ten, and pydicom hangs at thousands
_AGAIN = "export it again"
_PREAMBLE = 128
_MAGIC = b"DICM"
_DIRECTORY = UID("1.2.840.10008.1.3.10")  # Media Storage Directory Storage
# The first element's group number: 0002 (file meta), 0008 in little and in big endian.
_BEGINNINGS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")

for _name in ("pydicom", "pylibjpeg", "libjpeg", "openjpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


@contextmanager
def guarded(shown: str) -> Iterator[None]:
    """For whatever reads values of a header, which pydicom decodes when they are first asked for.

    Warnings are not shown, and what pydicom raises becomes a refusal of the file that messages call ``shown``: both
    quote what is in it.

    Raises:
        RecordsError: where anything was raised.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (RecordsError, OSError):
        raise
    except Exception:  # noqa: BLE001 - a stranger's bytes, and pydicom raises nearly anything: all of it refuses
        raise RecordsError(f"`{shown}` is a damaged DICOM file: its header makes no sense", hint=_AGAIN) from None


def read_header(path: Path, shown: str) -> FileDataset | None:
    """All of the file but its pixels; None where it is not DICOM, or a directory of DICOM files.

    Args:
        path: where it lies.
        shown: what messages call it.

    Raises:
        RecordsError: where it is DICOM, and cannot be read.
    """
    return _read(path, shown, pixels=False)


def read_file(path: Path, shown: str) -> FileDataset:
    """All of the file.

    Raises:
        RecordsError: where it is not DICOM, or cannot be read.
    """
    found = _read(path, shown, pixels=True)
    if found is None:
        raise RecordsError(f"`{shown}` is not a DICOM image", hint="export it again")
    return found


def class_of(header: Dataset) -> UID | None:
    """The SOP class that the file says to hold, from its data set or else its file meta group."""
    meta = getattr(header, "file_meta", None)
    for found in (header.get("SOPClassUID"), meta.get("MediaStorageSOPClassUID") if meta is not None else None):
        if isinstance(found, str) and found:
            return UID(found)
    return None


def _read(path: Path, shown: str, *, pixels: bool) -> FileDataset | None:
    try:
        with path.open("rb") as stream, guarded(shown):
            begun = _begin(stream, shown)
            if begun is None:
                return None
            found = _parsed(begun, shown, pixels=pixels)
            if not len(found):  # what pydicom makes of a file that ends inside an element
                raise RecordsError(f"`{shown}` is a damaged DICOM file: its header is not whole", hint=_AGAIN)
            nothing = class_of(found) == _DIRECTORY or (class_of(found) is None and begun is not stream)
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise RecordsError(f"`{shown}` cannot be opened: {reason}") from error
    return None if nothing else found


def _begin(stream: BinaryIO, shown: str) -> BinaryIO | None:
    """The stream from its first byte, with a preamble before it where a meta group has none; None if not DICOM."""
    head = stream.read(_PREAMBLE + len(_MAGIC))
    size = os.fstat(stream.fileno()).st_size
    if size > MAXIMUM_FILE_BYTES:
        raise RecordsError(f"`{shown}` is larger than {MAXIMUM_FILE_BYTES >> 30} GiB")
    stream.seek(0)
    if head[_PREAMBLE:] == _MAGIC:
        return stream
    if head[:2] not in _BEGINNINGS:
        return None
    before = b"\x00" * _PREAMBLE + _MAGIC if head[:2] == _BEGINNINGS[0] else b""
    return io.BytesIO(before + stream.read())


def _parsed(stream: BinaryIO, shown: str, *, pixels: bool) -> FileDataset:
    if _transfer_syntax(stream) == DeflatedExplicitVRLittleEndian:
        raise RecordsError(f"`{shown}` is deflated as a whole, which is not read", hint="export it as explicit VR")
    found = dcmread(stream, stop_before_pixels=not pixels, force=True)
    _check_depth(found)
    return found


def _transfer_syntax(stream: BinaryIO) -> str | None:
    """What the file meta group says, which is always explicit little endian (PS3.10, 7.1); nothing is inflated."""
    stream.seek(_PREAMBLE)
    if stream.read(len(_MAGIC)) != _MAGIC:
        stream.seek(0)
        return None
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    stream.seek(0)
    found = meta.get("TransferSyntaxUID")
    return found if isinstance(found, str) else None


def _check_depth(data: Dataset, depth: int = 0) -> None:
    """Decode all sequences, and nothing else.

    Raises:
        ValueError: where they lie too deep in each other.
    """
    if depth > _MAXIMUM_DEPTH:
        raise ValueError("sequences in sequences")
    for tag in list(data.keys()):
        if is_sequence(data, tag):
            for item in data[tag].value:
                _check_depth(item, depth + 1)


def is_sequence(data: Dataset, tag: BaseTag) -> bool:
    """Whether an element is a sequence, without decoding it."""
    stated: str | None = data.get_item(tag).VR
    if stated is not None:
        return bool(stated == "SQ")
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
