# SPDX-License-Identifier: Apache-2.0
"""`cloister audit export`: a log for a SIEM."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, TextIO

import typer

from cloister import __version__
from cloister.audit import FORMATS, entries
from cloister.cli.audit_log import local_log
from cloister.cli.audit_show import NameArgument
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.errors import UsageError
from cloister.files import PRIVATE_FILE


def export(
    name: NameArgument,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="json (a line each) or cef.")] = "json",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="A new file; standard output where not given.")
    ] = None,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write an audit log as JSON lines or as CEF."""
    log = local_log(folder, name)
    write = FORMATS.get(form)
    if write is None:
        raise UsageError(f"there is no format `{form}`", hint=f"formats are {', '.join(FORMATS)}")
    if to is None and as_json:
        raise UsageError("standard output cannot carry the log and a JSON value", hint="name a file with --to")
    with _private(to) if to else nullcontext(sys.stdout) as stream:
        count = 0
        for entry in entries(log.path):
            stream.write(write(entry, __version__) + "\n")
            count += 1
    if to:
        output().say(f"wrote {count} events to {to}")
    output().result({"file": str(to) if to else None, "format": form, "events": count})


def _private(path: Path) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    return os.fdopen(descriptor, "w", encoding="utf-8")
