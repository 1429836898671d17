# SPDX-License-Identifier: Apache-2.0
"""The passphrase of this process's encrypted keys: where it comes from, and how it goes on to a process of ours.

It is looked for in this order, and the first place that there is decides:

1. the descriptor that the parent process named, a pipe: how `cloister up` and a site's parent hand it on;
2. the file that `CLOISTER_PASSPHRASE_FILE` names, which only its owner may read;
3. `cloister-passphrase` among systemd's credentials (systemd.exec(5), `$CREDENTIALS_DIRECTORY`);
4. `CLOISTER_PASSPHRASE`, the weakest: it stays readable in `/proc/PID/environ` for root and for the same user as long
   as the process that was started with it lives, although it is taken out of the environment that others inherit.

It is never an argument, and never in the environment of a process that we start. Python cannot wipe memory, so it stays
in that of the process until its end, as the key does.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import ProvisioningError

FILE, VARIABLE, CREDENTIALS = "CLOISTER_PASSPHRASE_FILE", "CLOISTER_PASSPHRASE", "CREDENTIALS_DIRECTORY"
CREDENTIAL = "cloister-passphrase"
"""What the passphrase is called among systemd's credentials."""

DESCRIPTOR = "CLOISTER_PASSPHRASE_FD"
"""Names the descriptor, which is no secret, that the parent process hands the passphrase over on."""

MINIMUM_CHARACTERS = 15
"""What a key of ours may be encrypted with (NIST SP 800-63B-4, 3.1.1.2: a password that stands alone)."""

_MAXIMUM_BYTES = 1024
_OTHERS = 0o077
_HINT = f"put it into a file that only you may read, and name that in {FILE}"


class Passphrase:
    """A passphrase; it shows itself to nobody who prints it.

    Args:
        secret: its bytes, UTF-8 where people chose it.

    Raises:
        ProvisioningError: where it is empty or too long.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if not secret:
            raise ProvisioningError("the passphrase is empty", hint=_HINT)
        if len(secret) > _MAXIMUM_BYTES:
            raise ProvisioningError(f"the passphrase is longer than {_MAXIMUM_BYTES} bytes")
        self._secret = secret

    def __repr__(self) -> str:
        return "<Passphrase>"

    def __reduce__(self) -> str:
        raise TypeError("a passphrase is not written anywhere")

    def reveal(self) -> bytes:
        """Its bytes, for whoever encrypts or decrypts a key at once."""
        return self._secret

    def check_strength(self) -> None:
        """See that a key may be encrypted with it.

        Raises:
            ProvisioningError: where it is too short.
        """
        if len(self._secret.decode("utf-8", "replace")) < MINIMUM_CHARACTERS:
            hint = "let a machine choose it: openssl rand -base64 32"
            raise ProvisioningError(f"the passphrase has fewer than {MINIMUM_CHARACTERS} characters", hint=hint)


@dataclass
class _Kept:
    """What this process can read once only, and therefore keeps."""

    handed_over: Passphrase | None = None
    variable: Passphrase | None = None


_kept = _Kept()
_lock = threading.Lock()


def own() -> Passphrase | None:
    """The passphrase that this process was given; None where it was given none.

    Raises:
        ProvisioningError: where it was given one that cannot be read, or that others can read.
    """
    keep_from_environment()
    if _kept.handed_over is not None:
        return _kept.handed_over
    if path := os.environ.get(FILE):
        return _in_file(Path(path), _OTHERS)
    if (folder := os.environ.get(CREDENTIALS)) and (path_there := Path(folder) / CREDENTIAL).exists():
        # systemd gives it to one user by an access control list, whose mask shows as rights of the group.
        return _in_file(path_there, 0)
    return _kept.variable


def keep_from_environment() -> None:
    """Take what lies in the environment, or waits on the descriptor named there, before another process inherits it.

    Raises:
        ProvisioningError: where there is something and it is no passphrase.
    """
    with _lock:  # a thread that found it taken and not yet kept would write its key without it
        if (secret := os.environ.pop(VARIABLE, None)) is not None:
            _kept.variable = Passphrase(os.fsencode(secret))
        if (number := os.environ.pop(DESCRIPTOR, None)) is not None:
            _kept.handed_over = _from_parent(number)


def forget() -> None:
    """Forget what was kept, as a process does that was given none."""
    _kept.handed_over = _kept.variable = None


@contextmanager
def handed_over(secret: Passphrase | None) -> Iterator[tuple[int, dict[str, str]]]:
    """What gives ``secret`` to one process that is started meanwhile.

    Yields:
        Its standard input, a pipe that holds the passphrase and nothing more, and the variables that say so to it; an
        empty input and no variable where there is no passphrase.
    """
    if secret is None:
        reading = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    else:
        reading, writing = os.pipe()  # neither is inherited, unless it is named as such
        os.write(writing, secret.reveal())  # shorter than a pipe's buffer, so this never waits
        os.close(writing)
    try:
        yield reading, {} if secret is None else {DESCRIPTOR: "0"}
    finally:
        os.close(reading)


def _in_file(path: Path, forbidden: int) -> Passphrase:
    """The passphrase in the file at ``path``, none of whose mode's bits may be ``forbidden``; without a line's end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ProvisioningError(f"`{path}`, which is to hold the passphrase, is not a regular file")
            if status.st_mode & forbidden:
                mode = stat.S_IMODE(status.st_mode)
                hint = f"chmod 600 {path}, and choose another passphrase if somebody may have read this one"
                raise ProvisioningError(
                    f"the passphrase in `{path}` can be read by others (mode {mode:04o})", hint=hint
                )
            content = stream.read(_MAXIMUM_BYTES + 3)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise ProvisioningError(f"`{path}`, which is to hold the passphrase, cannot be read: {why}") from error
    return Passphrase(content.removesuffix(b"\n").removesuffix(b"\r"))


def _from_parent(number: str) -> Passphrase:
    try:
        descriptor = int(number)
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise ProvisioningError(f"{DESCRIPTOR} names no pipe")
        content = b""
        while piece := os.read(descriptor, _MAXIMUM_BYTES + 1):
            content += piece
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # nobody else may take the number for the pipe
        os.dup2(nothing, descriptor, inheritable=descriptor <= 2)
        os.close(nothing)
    except (OSError, ValueError) as error:
        raise ProvisioningError(f"{DESCRIPTOR} names no pipe that can be read") from error
    return Passphrase(content)
