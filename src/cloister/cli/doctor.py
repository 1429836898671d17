# SPDX-License-Identifier: Apache-2.0
"""`cloister doctor`: what is wrong on this machine, and what to do about it, before anybody is called."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cloister.cli.options import FolderOption, JsonOption, output
from cloister.doctor import Finding, Here, Level, Section, ServerState, asked_for, examine
from cloister.documents import load
from cloister.errors import FederationError, ProblemsFoundError
from cloister.flare.processes import LocalFederation
from cloister.flare.session import connect
from cloister.repository import find_root
from cloister.roster import ROSTER, Federation

_HELP = "The server, a site or a person; everybody whose key lies here where not given."
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help=_HELP)]

_MARKS = {Level.OK: "ok", Level.WARNING: "warning", Level.PROBLEM: "PROBLEM"}


def doctor(name: NameArgument = "", folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Say what is wrong here, and what to do about it.

    Looks at network, TLS, clock, keys, roster, policy, sandbox, room, base models and datasets. Changes nothing.
    """
    del as_json
    out = output()
    root = find_root(folder.resolve())
    document = load(root / ROSTER, Federation, name=ROSTER).value
    running = frozenset(LocalFederation(root, document).running())
    here = Here(root, document, running, datetime.now(UTC), os.environ, _ask_server)
    sections: list[Section] = []
    for section in examine(here, asked_for(here, name), out.busy):
        sections.append(section)
        out.say("\n".join(_said(section)))
    problems, warnings = (_count(sections, level) for level in (Level.PROBLEM, Level.WARNING))
    out.say(f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}; what a code means: docs/doctor.md")
    out.result({"problems": problems, "warnings": warnings, "subjects": [_value(section) for section in sections]})
    if problems:
        raise ProblemsFoundError(f"doctor found {_counted(problems, 'problem')}", hint="what to do stands beside each")


def _ask_server(workspace: Path, person: str) -> ServerState:
    with connect(workspace, person) as session:
        state = session.server_state()
        asked_at = datetime.now(UTC)
    try:
        return ServerState(datetime.fromisoformat(state["time"]).astimezone(UTC), asked_at, state["version"])
    except (ValueError, OverflowError) as error:
        raise FederationError("the server does not say what time it is") from error


def _said(section: Section) -> list[str]:
    lines = [section.name if section.kind == "machine" else f"{section.name} ({section.kind})"]
    for finding in section.findings:
        lines.append(f"  {_MARKS[finding.level]:<7}  {finding.code}  {finding.message}")
        if finding.hint:
            lines.append(f"{'':<18}{finding.hint}")
    return lines


def _count(sections: list[Section], level: Level) -> int:
    return sum(section.count(level) for section in sections)


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}" + ("" if count == 1 else "s")


def _value(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "kind": section.kind,
        "findings": [_finding(finding) for finding in section.findings],
    }


def _finding(finding: Finding) -> dict[str, str]:
    return {
        "code": finding.code,
        "level": finding.level.value,
        "message": finding.message,
        "hint": finding.hint,
    }
