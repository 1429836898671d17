# SPDX-License-Identifier: Apache-2.0
"""`cloister audit export`: a log for a SIEM."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, TextIO

import typer

from cloister import __version__
from cloister.audit import FORMATS, Unreadable, every_line
from cloister.cli.audit_show import NameArgument
from cloister.cli.local_log import local_log
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.errors import AuditError, UsageError
from cloister.files import sync_folder


def export(
    name: NameArgument,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="json (a line each) or cef.")] = "json",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="A new file; standard output where not given.")
    ] = None,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write an audit log as JSON lines or as CEF.

    Every line that can be read is written. Ends with status 1 where one cannot.
    """
    log = local_log(folder, name)
    write = FORMATS.get(form)
    if write is None:
        raise UsageError(f"there is no format `{form}`", hint=f"formats are {', '.join(FORMATS)}")
    if to is None and as_json:
        raise UsageError("standard output cannot carry the log and a JSON value", hint="name a file with --to")
    count, unreadable = 0, list[Unreadable]()
    with _new_file(to) if to else nullcontext(sys.stdout) as stream:
        for entry in every_line(log.path):
            if isinstance(entry, Unreadable):
                unreadable.append(entry)
                continue
            stream.write(write(entry, __version__) + "\n")
            count += 1
    if to:
        output().say(f"wrote {count} events to {to}")
    value = {"file": str(to) if to else None, "format": form, "events": count}
    output().result(value | {"unreadable": [each.line for each in unreadable]})
    if unreadable:
        lines = "1 line" if len(unreadable) == 1 else f"{len(unreadable)} lines"
        raise AuditError(
            f"{lines} of the audit log cannot be exported, `{log.path}:{unreadable[0].line}` first: "
            f"{unreadable[0].message}",
            hint=f"see `cloister audit verify {name}`",
        )


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file that is the owner's alone, and is there once it is whole; what fails on the way leaves nothing."""
    if path.is_symlink() or path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(handle)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
