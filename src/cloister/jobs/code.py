# SPDX-License-Identifier: Apache-2.0
"""Training code of a job's own: a few small text files that travel as data, and the digest by which sites approve them.

1. Files are UTF-8 text that ends in `.py`, `.json`, `.yaml`, `.txt` or `.md`; at most 100 of them, 512 KiB together.
2. Names are plain: ASCII letters, digits, `_` and `-`; no hidden file, no `__pycache__`, nothing compiled, no link.
3. `trainer.py` is one of them.
4. Whoever reviews the text sees what Python sees. A Python file is ASCII that can be seen, with line feeds and tabs. It
   declares no encoding but UTF-8 (PEP 263), under which the same bytes would be another program. Other files may hold
   any character that is printable and leaves a mark. That keeps out what turns text around or hides it
   (https://trojansource.codes), invisible characters in which a program can be written down, and what a terminal obeys.
5. One set of files has one spelling as bytes, canonical JSON, and the digest is taken over that.

Nothing here runs, imports or compiles any of it.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

from cloister.errors import DeniedError, JobError
from cloister.files import canonical_json, private_folder, sha256_of, write_atomically
from cloister.jobs.model import Job

ENTRY = "trainer.py"
SUFFIXES = (".py", ".json", ".yaml", ".txt", ".md")
MAXIMUM_FILES = 100
MAXIMUM_BYTES = 512 * 1024
"""Of all files together, as UTF-8."""

_MAXIMUM_MESSAGE_BYTES = 2 * MAXIMUM_BYTES + 64 * 1024  # JSON writes a line feed or a quote as two bytes
_PLAIN = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_PATH = re.compile(rf"({_PLAIN}/){{0,4}}{_PLAIN}\.[a-z]+")

# Default_Ignorable_Code_Point of https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt: drawn as
# nothing, and in part printable to Python. Then three characters that are drawn as a blank and are none.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\u2800\U00016fe4\U0001d159]"
)


@dataclass(frozen=True)
class Code:
    """The files of a job's training code.

    Attributes:
        files: text of each file by its path inside the folder, with `/` between parts.

    Raises:
        ValueError: where a rule of this module is broken; says which, and quotes nothing but a cleaned path.
    """

    files: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(self.files) > MAXIMUM_FILES:
            raise ValueError(f"holds more than {MAXIMUM_FILES} files")
        for path, text in self.files.items():
            _check_path(path)
            _check_text(path, text)
        if ENTRY not in self.files:
            raise ValueError(f"holds no `{ENTRY}`")
        if sum(len(text.encode()) for text in self.files.values()) > MAXIMUM_BYTES:
            raise ValueError(f"holds more than {MAXIMUM_BYTES // 1024} KiB")
        ordered = {path: self.files[path] for path in sorted(self.files)}
        object.__setattr__(self, "files", MappingProxyType(ordered))

    def to_bytes(self) -> bytes:
        """The one spelling: canonical JSON of ``{"files": {path: text}}``."""
        return canonical_json({"files": dict(self.files)})

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of `to_bytes`: what a policy approves."""
        return sha256_of(self.to_bytes())

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote, and nothing else.

        Raises:
            DeniedError: where ``content`` is spelled otherwise or breaks a rule of this module.
        """
        if len(content) > _MAXIMUM_MESSAGE_BYTES:
            raise DeniedError("the job's training code is larger than training code may be")
        files = _files_in(content)
        try:
            code = cls(files)
        except ValueError as error:
            raise DeniedError(f"the job's training code {error}") from error
        if code.to_bytes() != content:
            raise DeniedError("the job's training code is not spelled canonically")
        return code

    def write(self, folder: Path) -> Path:
        """Write the files below ``folder``, for their owner alone; returns it.

        Raises:
            FileExistsError: where something is there already, which a trainer would then see as well.
        """
        private_folder(folder.parent)
        folder.mkdir(mode=0o700)
        for path, text in self.files.items():
            private_folder((folder / path).parent)
            write_atomically(folder / path, text.encode())
        return folder


def code_of(root: Path, job: Job) -> Code | None:
    """The training code that ``job`` brings, read from the federation's folder ``root``; None where it brings none.

    Raises:
        JobError: where the folder is not there, or holds what may not travel.
    """
    if job.code is None:
        return None
    folder = root
    for part in job.code.split("/"):
        folder = folder / part
        if folder.is_symlink():
            raise JobError(f"training code `{job.code}` is reached over a symbolic link", hint="use a plain folder")
    return read_code(folder, name=job.code)


def read_code(folder: Path, *, name: str | None = None) -> Code:
    """Read the training code in ``folder``.

    Args:
        folder: where it lies.
        name: the path to show in messages; ``folder`` itself where not given.

    Raises:
        JobError: where the folder is not there, or breaks a rule of this module.
    """
    shown = name or str(folder)
    if folder.is_symlink() or not folder.is_dir():
        raise JobError(f"training code `{shown}` is no folder", hint=f"make it, with a `{ENTRY}` in it")
    files: dict[str, str] = {}
    left = MAXIMUM_BYTES
    try:
        for path in _files_below(folder):
            if len(files) == MAXIMUM_FILES:
                raise ValueError(f"holds more than {MAXIMUM_FILES} files")
            inside = path.relative_to(folder).as_posix()
            _check_path(inside)
            content = _content_of(path, inside, left)
            left -= len(content)
            files[inside] = _decoded(inside, content)
        return Code(files)
    except ValueError as error:
        hint = "docs/custom-code.md says what training code may consist of"
        raise JobError(f"training code `{shown}` {error}", hint=hint) from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise JobError(f"training code `{shown}` cannot be read: {reason}") from error


def _files_in(content: bytes) -> dict[str, str]:
    try:
        files: dict[str, str] = json.loads(content)["files"]
        if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DeniedError("the job's training code is not a set of text files") from error
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            raise ValueError(f"holds the symbolic link {_shown(path.name)}")
        if path.name.startswith("."):
            raise ValueError(f"holds the hidden {_shown(path.name)}")
        if path.name == "__pycache__":
            raise ValueError("holds a `__pycache__`; delete it")
        if path.is_dir():
            yield from _files_below(path)
        else:
            yield path


def _content_of(path: Path, name: str, maximum: int) -> bytes:
    """The bytes of a plain file, at most ``maximum``; a link or device put in its place meanwhile is not opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ValueError(f"holds {_shown(name)}, which is not a plain file")
        content = stream.read(maximum + 1)
    if len(content) > maximum:
        raise ValueError(f"holds more than {MAXIMUM_BYTES // 1024} KiB")
    return content


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"holds {_shown(name)}, which is not UTF-8 text") from None


def _check_path(path: str) -> None:
    parts = path.split("/")
    if not path.endswith(SUFFIXES):
        raise ValueError(f"holds {_shown(path)}, which does not end in {', '.join(SUFFIXES)}")
    if not _PATH.fullmatch(path) or "__pycache__" in parts:
        raise ValueError(f"holds {_shown(path)}, which is no plain name")


def _check_text(path: str, text: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        odd = next((each for each in line if not _can_be_seen(each) and each != "\t"), None)
        if odd is not None:
            raise ValueError(f"holds {_shown(path)}, whose line {number} has the unprintable U+{ord(odd):04X}")
        foreign = next((each for each in line if not each.isascii()), None) if path.endswith(".py") else None
        if foreign is not None:
            raise ValueError(f"holds {_shown(path)}, whose line {number} has U+{ord(foreign):04X}, which is not ASCII")
    if path.endswith(".py"):
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(text.encode()).readline)
        except SyntaxError:
            encoding = "none that exists"
        if encoding != "utf-8":
            raise ValueError(f"holds {_shown(path)}, which declares another encoding than UTF-8")


def _can_be_seen(character: str) -> bool:
    return character.isprintable() and not _INVISIBLE.match(character)


def _shown(path: str) -> str:
    cut = path if len(path) <= 120 else f"{path[:120]}…"
    return "`" + "".join(each if _can_be_seen(each) else f"\\u{ord(each):04x}" for each in cut) + "`"
