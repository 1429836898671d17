# SPDX-License-Identifier: Apache-2.0
"""`cloister job watch`: follow a job until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.live import Live

from cloister.cli.console import Output
from cloister.cli.job_list import resolve
from cloister.cli.options import (
    FolderOption,
    JobIdArgument,
    JsonOption,
    PersonOption,
    caller_of,
    federation_of,
    output,
    repository,
)
from cloister.cli.progress_table import lines_of, table_of
from cloister.errors import FederationError
from cloister.flare.job_view import JobView
from cloister.flare.session import PersonSession, connect

_POLL_SECONDS = 0.5
_QUICK_POLL_SECONDS = 0.1
_QUICK_ROUND_SECONDS = 2.0
_PATIENCE_SECONDS = 20.0


def watch(
    job_id: JobIdArgument, person: PersonOption = "", folder: FolderOption = Path(), as_json: JsonOption = False
) -> None:
    """Follow a job until it ends.

    Shows rounds, and each site's state, loss, metric and bytes sent.
    """
    del as_json
    repo = repository(folder)
    name = caller_of(repo, person)
    out = output()
    with connect(federation_of(repo).state.person(name), name) as session:
        found = resolve(session, job_id)
        view = follow(session, found, out)
        if not view.completed:
            raise session.failure(view)
    out.say(f"completed; fetch the result with: cloister job fetch {found}")
    out.result(view.to_json())


def follow(session: PersonSession, job_id: str, out: Output) -> JobView:
    """Show a job's progress until it ends; returns what the server then says, with the last progress seen.

    On a terminal a live table is drawn, elsewhere a line is printed for whatever is new.
    """
    if out.console.is_terminal:
        with Live(console=out.console, refresh_per_second=4) as live:
            return _poll(session, job_id, lambda view: live.update(table_of(view)))
    seen: set[str] = set()

    def print_new(view: JobView) -> None:
        for line in lines_of(view):
            if line not in seen:
                seen.add(line)
                out.say(line)

    return _poll(session, job_id, print_new)


def _poll(session: PersonSession, job_id: str, show: Callable[[JobView], None]) -> JobView:
    last: JobView | None = None
    heard = time.monotonic()
    while True:
        try:
            view = session.job(job_id)
        except FederationError:
            if time.monotonic() - heard > _PATIENCE_SECONDS:
                raise
            time.sleep(_POLL_SECONDS)  # a busy server is late now and then; that must not end hours of training
            continue
        heard = time.monotonic()
        if not view.progress and last is not None:
            view = replace(view, progress=last.progress)
        show(view)
        if view.finished:
            return view
        last = view
        time.sleep(_pause(view))


def _pause(view: JobView) -> float:
    """Seconds until the next look: soon where rounds are quick, as a job that has ended tells of them no more."""
    history = view.progress.get("history")
    quick = history and history[-1]["seconds"] < _QUICK_ROUND_SECONDS
    return _QUICK_POLL_SECONDS if quick else _POLL_SECONDS
