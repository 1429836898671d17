# SPDX-License-Identifier: Apache-2.0
"""`cloister audit show`: what a site or the server wrote into its log."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cloister.audit import Entry, Fact, Kind, Unreadable, every_line
from cloister.cli.local_log import local_log
from cloister.cli.options import FolderOption, JsonOption, output
from cloister.errors import UsageError

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A site, or the server.")]

_LONGEST = 120  # of a fact in the table; `--json` has all of it


def show(
    name: NameArgument,
    *,
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="Only events of this kind.")] = "",
    job: Annotated[
        str, typer.Option("--job", metavar="JOB_ID", help="Only events of this job; its first digits will do.")
    ] = "",
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Only from then on, such as 2026-11-20.")] = "",
    last: Annotated[int, typer.Option("--last", min=1, help="Only so many, the latest.")] = 1000,
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show the events of a site's or the server's audit log.

    The chain is not checked here; `cloister audit verify` does that.
    """
    del as_json
    log = local_log(folder, name)
    wanted, begin = _kind(kind), _time(since)
    found: deque[Entry] = deque(maxlen=last)
    unreadable = 0
    for entry in every_line(log.path):
        if isinstance(entry, Unreadable):
            unreadable += 1
            continue
        event = entry.event
        if wanted in (None, event.kind) and event.job.startswith(job) and (begin is None or event.time >= begin):
            found.append(entry)
    if job and not found:
        raise UsageError(f"no such event of a job `{job}`", hint="see `cloister job list`")
    out = output()
    table = Table("entry", "time (UTC)", "kind", "job", "round", "facts", box=None, pad_edge=False)
    for entry in found:
        event = entry.event
        facts = "; ".join(f"{key}={_text(fact)}" for key, fact in sorted(event.facts.items()))
        cells = (str(event.sequence), f"{event.time:%Y-%m-%d %H:%M:%S}", event.kind.value, event.job[:8])
        table.add_row(*cells, str(event.round or ""), facts)
    out.say(table if found else "no such event")
    if unreadable:
        out.say(f"{unreadable} lines cannot be read and are not shown; see `cloister audit verify {name}`")
    out.result([entry.to_json() for entry in found])


def _kind(word: str) -> Kind | None:
    try:
        return Kind(word) if word else None
    except ValueError as error:
        hint = f"kinds are {', '.join(Kind)}"
        raise UsageError(f"there is no kind of event `{word}`", hint=hint) from error


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError as error:
        hint = "write a day, 2026-11-20, or a moment, 2026-11-20T14:30, in UTC"
        raise UsageError(f"`{text}` is not a time", hint=hint) from error
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time


def _text(fact: Fact) -> str:
    text = ", ".join(map(str, fact)) if isinstance(fact, tuple) else str(fact)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
