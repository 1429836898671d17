# SPDX-License-Identifier: Apache-2.0
"""How large a compressed picture says to be, before anything decodes it, and whether it is whole.

A decoder makes room for what a codestream promises, not for what the file's header says: a few bytes can promise
terabytes. Read are the frame header of JPEG and JPEG-LS (ITU-T T.81, B.2.2; T.87, C.2.2) and the SIZ segment of JPEG
2000 (ITU-T T.800, A.5.1).
"""

from __future__ import annotations

import struct

_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG2000_START = b"\xff\x4f\xff\x51"
# Start of frame: all of C0 to CF but DHT, JPG and DAC, and F7 for JPEG-LS.
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_SCAN = 0xDA
_PADDING = 16  # bytes; the end of the codestream and what pads it
_BOX_SEARCH = 4096  # bytes in which a JP2 file's boxes must give way to its codestream


def size_of(frame: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and samples per pixel that a codestream promises; None where it is none of those known here."""
    try:
        if frame.startswith(_JPEG_START):
            return _jpeg(frame)
        at = frame.find(_JPEG2000_START, 0, _BOX_SEARCH)
        return _jpeg2000(frame, at + 4) if at >= 0 else None
    except (IndexError, struct.error):
        return None


def is_whole(frame: bytes) -> bool:
    """Whether a codestream ends as it must; both families end with the same two bytes.

    An odd length is padded with 00, and some makers pad with FF.
    """
    return frame.rstrip(b"\x00\xff")[-1:] == _JPEG_END[-1:] and _JPEG_END in frame[-_PADDING:]


def _jpeg(frame: bytes) -> tuple[int, int, int] | None:
    at = 2
    while True:
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAMES:
            rows, columns, samples = struct.unpack_from(">HHB", frame, at + 5)
            return rows, columns, samples
        elif marker == _SCAN:
            return None
        else:
            at += 2 + struct.unpack_from(">H", frame, at + 2)[0]


def _jpeg2000(frame: bytes, at: int) -> tuple[int, int, int]:
    # Lsiz, Rsiz, Xsiz, Ysiz, XOsiz, YOsiz, XTsiz, YTsiz, XTOsiz, YTOsiz, Csiz
    _, _, right, bottom, left, top, *_, samples = struct.unpack_from(">HH8IH", frame, at)
    return bottom - top, right - left, samples
