# SPDX-License-Identifier: Apache-2.0
"""IMPORTED.md: what became of each line of a project file, for whoever reviews the documents that were made of it."""

from __future__ import annotations

from datetime import date

from cloister.documents.source import printable
from cloister.nvflare_project.changes import Change, Outcome
from cloister.nvflare_project.convert import Imported
from cloister.roster import Role

REPORT = "IMPORTED.md"
"""Where it lies in the federation's folder."""

_LONGEST = 300


def report(imported: Imported, today: date) -> str:
    """The page, in Markdown."""
    lost = [each for each in imported.changes if each.outcome is not Outcome.KEPT]
    stayed = [each for each in imported.changes if each.outcome is Outcome.KEPT and each.became]
    file = _cell(imported.file)
    return "\n".join(
        [
            f"# What became of {file}",
            "",
            f"`cloister import` read it on {today}. Lines that are not named here hold no value.",
            "",
            "## Who takes part",
            "",
            "| Line | In the project file | Here | As |",
            "|---|---|---|---|",
            *(
                f"| {each.line} | {_code(each.was)} | `{each.name}` | {each.role or each.kind} |"
                for each in imported.kept
            ),
            "",
            "## To be done before the first job",
            "",
            *(f"- {each}" for each in to_do(imported)),
            "",
            "## Changed and dropped",
            "",
            "| Place | Key | Written there | Here | Why |",
            "|---|---|---|---|---|",
            *(_row(file, each) for each in lost),
            "",
            "## Kept",
            "",
            "| Place | Key | Written there | Here |",
            "|---|---|---|---|",
            *(
                f"| {file}:{each.line} | {_code(each.key)} | {_code(each.written)} | {_code(each.became)} |"
                for each in stayed
            ),
            "",
        ]
    )


def to_do(imported: Imported) -> list[str]:
    """What people must decide, because no project file says it."""
    roles = {each.role for each in imported.kept}
    lines = []
    if Role.DATA_SCIENTIST not in roles:
        lines.append("nobody may submit jobs yet: give somebody in `people` the role `data-scientist`")
    if Role.COMPLIANCE_OFFICER not in roles:
        lines.append("nobody could sign a policy: give somebody in `people` the role `compliance-officer`")
    if Role.IT_ADMIN not in roles:
        lines.append("nobody is `it-admin`, who carries requests and certificates between server and authority")
    return [
        *lines,
        "name the people who may sign each site's policy (`officers`) and the baseline (`baseline_officers`)",
        "declare each site's records in its file in `silos/`",
        "write what each site allows in its file in `policies/`, with cases, and have it signed",
        "have every participant enrolled; who has an old kit may prove by it who they are (docs/coming-over.md)",
    ]


def _row(file: str, change: Change) -> str:
    became = _code(change.became) if change.outcome is Outcome.CHANGED else "dropped"
    return f"| {file}:{change.line} | {_code(change.key)} | {_code(change.written)} | {became} | {_cell(change.why)} |"


def _code(text: str) -> str:
    shown = _cell(text).replace("`", "'")
    return f"`{shown}`" if shown else ""


def _cell(text: str) -> str:
    """``text`` so that it cannot leave its cell of a table."""
    shown = printable(" ".join(text.split()))
    return (shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…").replace("|", "\\|")
