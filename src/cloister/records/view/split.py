# SPDX-License-Identifier: Apache-2.0
"""Which records are kept for validation: a secret of the site decides, together with the job's seed and share.

Whoever submits a job chooses seed and share. Were the split to follow from them alone, one could try seeds until a text
that one knows is the only one kept, and read from the metrics whether the site has it, and with which class. So the
order in which texts are kept is that of a keyed hash, under a key that never leaves the site.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloister.errors import RecordsError
from cloister.files import write_once

FILE = "split.key"
KEY_BYTES = 32

_OTHERS = 0o077


def held_back(key: bytes, text: str, seed: int, share: float) -> bool:
    """Whether a record is kept for validation.

    Its number, see `Split.numbers`, is below ``share`` times 2**64. So equal texts fall on one side.

    Args:
        key: the site's, 32 random bytes.
        text: what the record is told by: whom it is about, or what it says.
        seed: the job's.
        share: of records to keep, 0 to 1.
    """
    split = Split(key, seed, share)
    return bool(split.held_back(split.numbers([text.encode()]))[0])


class Split:
    """One job's split at one site, for many records at once.

    Both what is drawn for a record and a person's pseudonym are keyed BLAKE2b (RFC 7693, section 2.9), each under a key
    of its own that follows from the site's and the job's seed in the same way.

    Args:
        key: the site's, 32 random bytes.
        seed: the job's.
        share: of records to keep, 0 to 1.
        asked: of which dataset, and what of it: a person has other pseudonyms where something else is asked for.
    """

    def __init__(self, key: bytes, seed: int, share: float, asked: str = "") -> None:
        split_key = blake2b(f"split\0{seed}".encode(), key=key, digest_size=KEY_BYTES).digest()
        self._split_state = blake2b(key=split_key, digest_size=8)
        self._pseudonym_key = blake2b(f"pseudonym\0{seed}\0{asked}".encode(), key=key, digest_size=KEY_BYTES).digest()
        self._bound = share * 2.0**64

    def numbers(self, texts: Sequence[bytes]) -> npt.NDArray[np.uint64]:
        """For each of ``texts``, UTF-8, its 64 bits, the first being the highest; shape (n,)."""
        drawn = bytearray()
        for text in texts:
            state = self._split_state.copy()  # taking in the key anew costs half as much again
            state.update(text)
            drawn += state.digest()
        return np.frombuffer(drawn, ">u8").astype(np.uint64)

    def repeated(self, numbers: npt.NDArray[np.uint64], occurrences: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """The 64 bits of records that came before: their own for the first, and others for each that is like it.

        The others are those of SplitMix64 (Steele, Lea and Flood, https://doi.org/10.1145/2660193.2660195), which
        starts from the first's, that only the site knows.
        """
        mixed = numbers + occurrences.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.where(occurrences == 0, numbers, mixed ^ (mixed >> np.uint64(31)))

    def held_back(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """For each of ``numbers``, as `numbers` gives them, whether its record is kept for validation."""
        return numbers < self._bound if self._bound < 2.0**64 else np.ones(len(numbers), np.bool_)

    def pseudonyms(self, people: Sequence[bytes]) -> list[str]:
        """For each of ``people`` 32 hexadecimal digits; only the site can tell whose they are.

        They are others for each seed, dataset and choice of columns.
        """
        key = self._pseudonym_key
        return [blake2b(person, key=key, digest_size=16).hexdigest() for person in people]


def seal_of(key: bytes, content: bytes) -> str:
    """What only the site can make of ``content``, 64 hexadecimal digits; from it the site's key cannot be told."""
    own = blake2b(b"seal", key=key, digest_size=KEY_BYTES).digest()
    return blake2b(content, key=own, digest_size=32).hexdigest()


def split_key(workspace: Path) -> bytes:
    """The site's key, from `split.key` in its workspace; made where there is no such file.

    A file that is not a key is never replaced: another key is another split, and records that were kept from training
    under the one are trained on under the other.

    Raises:
        RecordsError: where it cannot be made or read, is no key, or can be read by others.
    """
    path = workspace / FILE
    try:
        if not os.path.lexists(path):
            with suppress(FileExistsError):  # another job's process made it meanwhile
                write_once(path, secrets.token_bytes(KEY_BYTES))
        content, mode = _read(path)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise RecordsError(f"the key of the split, `{path}`, cannot be read: {reason}") from error
    if mode & _OTHERS:
        hint = f"chmod 600 {path}, and remove it if somebody may have read it"
        raise RecordsError(f"the key of the split, `{path}`, can be read by others (mode {mode:04o})", hint=hint)
    if len(content) != KEY_BYTES:
        hint = "put back the copy that was saved, or remove the file; with a new key the records are split anew"
        raise RecordsError(f"`{path}` is not a key of {KEY_BYTES} bytes", hint=hint)
    return content


def _read(path: Path) -> tuple[bytes, int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would wait
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError("not a file")
        return stream.read(KEY_BYTES + 1), stat.S_IMODE(mode)
