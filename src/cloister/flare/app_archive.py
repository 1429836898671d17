# SPDX-License-Identifier: Apache-2.0
"""An app as it comes over the wire: a ZIP archive, read in memory before anything of it is written anywhere."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib

from cloister.errors import DeniedError
from cloister.flare.app_check import MAXIMUM_APP_BYTES

_MAXIMUM_ENTRIES = 100


def files_of(app_data: bytes) -> dict[str, bytes]:
    """Content of every file of a ZIP archive, none of it written anywhere.

    Raises:
        DeniedError: where the archive holds anything but a few small files with plain names.
    """
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(app_data)) as archive:
            if len(archive.infolist()) > _MAXIMUM_ENTRIES:
                raise DeniedError("the job is larger than a job may be")
            left = MAXIMUM_APP_BYTES
            for entry in archive.infolist():
                _check_entry(entry)
                if entry.filename in files:
                    raise DeniedError("the job carries two files of one name")
                if not entry.is_dir():
                    files[entry.filename] = content_of(archive, entry, left)
                    left -= len(files[entry.filename])
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise DeniedError("the job is not a ZIP archive that can be read") from error
    return files


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """See that an entry is a plain file inside the app, or a folder that one of them lies in."""
    parts = entry.filename.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or {"..", "."}.intersection(parts) or "" in parts:
        raise DeniedError("the job carries a file with an unsafe name or kind")
    if "\\" in entry.filename or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DeniedError("the job carries a file with an unsafe name or kind")
    if entry.is_dir() and entry.filename != "config/":
        raise DeniedError("the job carries a folder beside `config`", hint="jobs carry a document and no code")


def content_of(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, maximum: int) -> bytes:
    """Content of an entry; never inflates more than ``maximum`` bytes, whatever size the archive declares."""
    with archive.open(entry) as stream:
        content = stream.read(maximum + 1)
    if len(content) > maximum or entry.file_size > maximum:
        raise DeniedError("the job is larger than a job may be")
    return content
