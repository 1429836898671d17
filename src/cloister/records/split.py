# SPDX-License-Identifier: Apache-2.0
"""Which records are kept for validation: a secret of the site decides, together with the job's seed and share.

Whoever submits a job chooses seed and share. Were the split to follow from them alone, one could try seeds until a text
that one knows is the only one kept, and read from the metrics whether the site has it, and with which class. So the
order in which texts are kept is that of an HMAC under a key that never leaves the site.
"""

from __future__ import annotations

import hmac
import math
import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cloister.errors import RecordsError
from cloister.files import write_once

FILE = "split.key"
KEY_BYTES = 32

_OTHERS = 0o077


def held_back(key: bytes, text: str, seed: int, share: float) -> bool:
    """Whether a record is kept for validation.

    The first 64 bits of HMAC-SHA256 (RFC 2104) of seed and text, as a share of 2**64, are below ``share``. So equal
    texts fall on one side.

    Args:
        key: the site's, 32 random bytes.
        text: what the record is told by: whom it is about, or what it says.
        seed: the job's.
        share: of records to keep, 0 to 1.
    """
    return Split(key, seed, share).held_back([text])[0]


class Split:
    """One job's split at one site: see `held_back`, here for many texts at once.

    Args:
        key: the site's, 32 random bytes.
        seed: the job's.
        share: of records to keep, 0 to 1.
    """

    def __init__(self, key: bytes, seed: int, share: float) -> None:
        self._key = key
        self._seed = seed
        # As bytes the first 64 bits compare as the number does, which spares a conversion for each record.
        bound = math.ceil(share * 2**64)
        self._everything = bound >= 2**64
        self._bound = min(bound, 2**64 - 1).to_bytes(8, "big")

    def held_back(self, texts: Sequence[str]) -> list[bool]:
        """For each of ``texts`` whether its record is kept for validation."""
        if self._everything:
            return [True] * len(texts)
        key, begin, bound, digest = self._key, f"{self._seed}\0", self._bound, hmac.digest
        return [digest(key, (begin + text).encode(), "sha256")[:8] < bound for text in texts]

    def pseudonyms(self, people: Sequence[str]) -> list[str]:
        """For each of ``people`` 32 hexadecimal digits that nobody outside the site can turn back, others in each job.

        The first 128 bits of HMAC-SHA256 of the seed, the word `pseudonym` and the person.
        """
        key, begin, digest = self._key, f"{self._seed}\0pseudonym\0", hmac.digest
        return [digest(key, (begin + person).encode(), "sha256")[:16].hex() for person in people]


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
