# SPDX-License-Identifier: Apache-2.0
"""An encrypted key, opened for NVFlare and gRPC: in memory alone, under one path that is the same in each process.

They read a key from a file and ask nobody for a passphrase. So it is opened into a file that has no name and lies in
memory (memfd_create(2)), which nobody can write to any more (F_SEAL_WRITE) and no process that is started inherits
(MFD_CLOEXEC). `/proc/self/fd/N` is the path to it, in each process to its own; the number is fixed, because the path
stands in the kit's configuration, which is compared byte for byte by every process of the participant.

A process keeps the file as it keeps the key in its memory. Where the key on the disk is replaced, as by a renewal, the
new one is opened under the same number within a second.
"""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloister.certificates import PrivateKey
from cloister.certificates.keys import is_encrypted
from cloister.errors import CloisterError, FederationError, ProvisioningError
from cloister.flare.trust_watch import Stamp, stamp_of

NUMBER = 240
"""Of the descriptor: above those that a process has opened when it opens its key, below the usual limit of 1024."""

PATH = Path(f"/proc/self/fd/{NUMBER}")

_LOOK_SECONDS = 1.0
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_log = logging.getLogger(__name__)


@dataclass
class _Opened:
    """What this process has opened.

    Attributes:
        key: the encrypted key on the disk; None where nothing is open.
        stamp: of that file when it was read last, whether or not it could be opened.
        kept: whether it is open for the life of this process.
        sessions: how many use it.
        watched: whether a thread looks for a renewed one.
    """

    key: Path | None = None
    stamp: Stamp = ()
    kept: bool = False
    sessions: int = 0
    watched: bool = False


_opened = _Opened()
_lock = threading.Lock()


def path_in_kit(key: Path) -> str:
    """What a kit's configuration names as the key: the file itself, or where it is opened, if it is encrypted."""
    return str(PATH) if is_encrypted(key) else key.name


def open_key(key: Path) -> Path:
    """Open the key at ``key`` for NVFlare, if it is encrypted; again, if it was replaced since.

    Args:
        key: of the participant whose process this is.

    Returns:
        The path from which NVFlare reads it: ``key`` itself where it is not encrypted.

    Raises:
        ProvisioningError: where it cannot be opened, or this process has opened another one.
    """
    with _lock:
        path = _open(key)
        _opened.kept = path == PATH
        return path


@contextmanager
def key_opened(key: Path) -> Iterator[Path]:
    """As `open_key`, for as long as a session lasts; the last one of several closes it."""
    with _lock:
        path = _open(key)
        _opened.sessions += 1
    try:
        yield path
    finally:
        with _lock:
            _opened.sessions -= 1
            if _opened.sessions == 0 and not _opened.kept:
                _close()


def close_key() -> None:
    """Close what is open, as the end of the process does."""
    with _lock:
        _close()


def _close() -> None:
    if _opened.key is not None:
        os.close(NUMBER)
        _opened.key, _opened.stamp, _opened.kept = None, (), False


def _open(key: Path) -> Path:
    if _opened.key is None:
        if not is_encrypted(key):
            return key
        stamp = _stamp_of(key)
        # The kernel would write the key onto the disk with all else that the process holds.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        _put(PrivateKey.load(key).opened_pem(), first=True)
        _opened.key, _opened.stamp = key, stamp
        if not _opened.watched:
            _opened.watched = True
            threading.Thread(target=_watch, name="opened-key", daemon=True).start()
    elif _opened.key != key:
        raise ProvisioningError(f"this process has opened the key `{_opened.key}` and opens no second one")
    else:
        _renew()
    return PATH


def _renew() -> None:
    """Open the key anew, if the file is another by now; the caller holds the lock."""
    if _opened.key is None or (stamp := _stamp_of(_opened.key)) == _opened.stamp:
        return
    _opened.stamp = stamp
    _put(PrivateKey.load(_opened.key).opened_pem(), first=False)


def _stamp_of(key: Path) -> Stamp:
    try:
        return stamp_of(key)
    except OSError:
        return ()


def _watch() -> None:
    stop = threading.Event()
    while not stop.wait(_LOOK_SECONDS):
        with _lock:
            if _opened.key is None:
                _opened.watched = False
                return
            try:
                _renew()
            except CloisterError as error:
                _log.error("the renewed key cannot be opened, so the earlier one stays in use: %s", error)


def _put(content: bytes, *, first: bool) -> None:
    """Lay ``content`` under the fixed number, in one step for whoever reads there."""
    try:
        if first and _is_open(NUMBER):
            raise FederationError(f"descriptor {NUMBER} is in use, and the opened key needs it")
        descriptor = os.memfd_create("cloister-key", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o400)
            stream.write(content)
            stream.flush()
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            os.dup2(descriptor, NUMBER, inheritable=False)
    except OSError as error:
        hint = "it needs memfd_create(2), /proc, and a limit of open files above that"
        raise ProvisioningError(f"the key cannot be opened in memory as descriptor {NUMBER}", hint=hint) from error


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
