# SPDX-License-Identifier: Apache-2.0
"""Files that must not be half-written, lost, or read by others."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
_CHUNK_BYTES = 1 << 20


def private_folder(path: Path) -> Path:
    """Make ``path`` and its missing parents, readable by the owner alone; an existing folder is tightened."""
    for parent in reversed(path.parents):
        if not parent.exists():  # `mkdir(parents=True)` would leave these open to others
            parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    path.chmod(PRIVATE_FOLDER)
    return path


def write_atomically(path: Path, content: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Replace ``path`` by ``content`` so that a reader, or a crash, sees the old file or the new one, never a part.

    The file and its folder are fsynced before and after the rename (the sequence of POSIX rename(2) with durable
    directories). A symbolic link at ``path`` is replaced, not followed.
    """
    write_pieces(path, [content], mode=mode)


def write_pieces(
    path: Path,
    pieces: Iterable[bytes | memoryview],
    *,
    mode: int = PRIVATE_FILE,
    durable: bool = True,
    over: Path | None = None,
) -> None:
    """As `write_atomically`, of content that comes in ``pieces``; where those raise, nothing is replaced.

    Args:
        path: where to.
        pieces: the content.
        mode: see `writing`.
        durable: see `writing`.
        over: see `writing`.
    """
    with writing(path, mode=mode, durable=durable, over=over) as stream:
        for piece in pieces:
            stream.write(piece)


@contextlib.contextmanager
def writing(
    path: Path, *, mode: int = PRIVATE_FILE, durable: bool = True, over: Path | None = None
) -> Iterator[BinaryIO]:
    """As `write_atomically`, of what the body writes; where that raises, nothing is replaced.

    Args:
        path: where to.
        mode: of the file.
        durable: whether it is fsynced; what is of no use after a crash need not be.
        over: a file in the same folder that nobody will read again, or the one at ``path`` if nobody will; it is gone
            afterwards, also where the body raises. The content takes its place on the disk and in the page cache, so
            that the kernel need not find new memory for a large file each time. One that has another name as well is
            left to that.
    """
    handle, temporary = (
        tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.") if over is None else (_reopened(over), str(over))
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.truncate()
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if durable:
                os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def _reopened(path: Path) -> int:
    """A descriptor that writes over the file at ``path``, or a new one where there is none that has no other name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if path.is_symlink():
        path.unlink()
    handle = os.open(path, flags, PRIVATE_FILE)
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        os.fchmod(handle, PRIVATE_FILE)  # before anything new is in it
        return handle
    os.close(handle)
    path.unlink()
    return os.open(path, flags | os.O_EXCL, PRIVATE_FILE)


def write_once(path: Path, content: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Make a file that must not exist yet: it appears whole and durable, or not at all, and replaces nothing.

    A rename would replace a file that another process made in the meantime; link(2) refuses.

    Raises:
        FileExistsError: where there is something at ``path`` already.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft = Path(folder) / path.name
        write_atomically(draft, content, mode=mode)
        os.link(draft, path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make the content of ``path`` and its name durable."""
    _sync(path, os.O_RDONLY)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in ``path`` durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_regular(path: Path, maximum: int) -> bytes:
    """Content of the regular file at ``path``, at most ``maximum`` + 1 bytes of it; a link to one is followed.

    Raises:
        OSError: where it cannot be read, or is something else, such as a named pipe, which would never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return stream.read(maximum + 1)


def json_text(value: Any) -> bytes:
    """``value`` as the JSON that Cloister writes into files: indented, sorted keys, one final newline."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def write_json(path: Path, value: Any, *, mode: int = PRIVATE_FILE) -> None:
    """Write ``value`` as `json_text`, atomically."""
    write_atomically(path, json_text(value), mode=mode)


def canonical_json(value: Any) -> bytes:
    """The one spelling of ``value`` that digests are taken over: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_of(content: bytes) -> str:
    """Hexadecimal SHA-256 of ``content``."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of the file at ``path``, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()
