# SPDX-License-Identifier: Apache-2.0
"""Passwords for a site's own stores, read at the site when a store is opened, and kept nowhere.

A password travels as pydantic's `SecretStr`, which shows asterisks wherever it is printed. No message here holds one,
nor a part of one. Trainers cannot find it: their environment is made from nothing, and the file is not among their
mounts (`cloister.sandbox`).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pydantic import SecretStr

from cloister.errors import RecordsError
from cloister.silos import PasswordPlace

MAXIMUM_BYTES = 4096

_OTHERS = 0o077


def read_password(place: PasswordPlace, *, root: Path) -> SecretStr:
    """The password that is found at ``place``.

    Args:
        place: as the silo document names it.
        root: the federation's folder, where relative paths start.

    Raises:
        RecordsError: where there is none, where others may read the file, or where it cannot be a password; names the
            variable or the file.
    """
    if place.environment is not None:
        shown, hint = f"environment variable `{place.environment}`", "set it where the site's processes are started"
        text = os.environ.get(place.environment)
        if text is None:
            raise RecordsError(f"the {shown}, which should hold a password, is not set", hint=hint)
    else:
        file = place.file or ""
        shown, hint = f"file `{file}`", "write the password into it as one line"
        text = _text_of(root / file, shown)
    if not text:
        raise RecordsError(f"the {shown}, which should hold a password, is empty", hint=hint)
    if not text.isprintable():
        # Asked last and answered for the whole: where in it would say something of it.
        raise RecordsError(
            f"the {shown} holds more than one line, or what cannot be printed, and no password", hint=hint
        )
    return SecretStr(text)


def _text_of(path: Path, shown: str) -> str:
    try:
        content, mode = _read(path)
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise RecordsError(f"the {shown}, which should hold a password, cannot be read: {reason}") from None
    if mode & _OTHERS:
        hint = f"chmod 600 {path}, and change the password if somebody may have read it"
        raise RecordsError(f"the {shown} holds a password and can be read by others (mode {mode:04o})", hint=hint)
    if len(content) > MAXIMUM_BYTES:
        raise RecordsError(f"the {shown} is longer than {MAXIMUM_BYTES} bytes, and no password")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        pass
    raise RecordsError(f"the {shown} is not UTF-8, and no password")  # out here: the other error holds the content


def _read(path: Path) -> tuple[bytes, int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError("it is no file")
        return stream.read(MAXIMUM_BYTES + 1), stat.S_IMODE(mode)
