# SPDX-License-Identifier: Apache-2.0
"""`cloister audit compare`: is what the sites released what the server received?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from cloister.audit import Kind, Row, Verdict, compare, entries
from cloister.cli.local_log import LocalLog, expected_logs
from cloister.cli.options import FolderOption, JobIdArgument, JsonOption, output
from cloister.errors import AuditError, UsageError
from cloister.flare.not_recorded import NOT_RECORDED_DIGEST


def compare_logs(job_id: JobIdArgument, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Set the sites' logs of one job beside the server's.

    Each message of a site must be in both, with one digest. Each log is verified first.
    """
    del as_json
    logs = expected_logs(folder)
    server = next((log for log in logs if log.kind == "server"), None)
    sites = [log for log in logs if log.kind == "site"]
    if server is None or not sites:
        hint = (
            "it needs the workspaces of the server and of at least one site; copy them into one folder's `.cloister/`"
        )
        raise UsageError("there are not enough audit logs on this machine", hint=hint)
    for log in logs:
        if broken := log.verified().broken:
            raise AuditError(
                f"the audit log of `{log.name}` is not what was written: {broken.message}",
                hint="nothing was compared; see `cloister audit verify`",
            )
    job = _newest(server) if job_id == "last" else job_id
    rows = compare(job, {log.name: entries(log.path) for log in sites}, entries(server.path), [NOT_RECORDED_DIGEST])
    if not rows:
        raise UsageError(f"no log here tells of a message in job `{job}`", hint="see `cloister audit show`")
    out = output()
    table = Table("site", "round", "message", "bytes", "released", "received", "", box=None, pad_edge=False)
    for row in rows:
        digests = (row.released[:16] or "-", row.received[:16] or "-")
        table.add_row(row.site, str(row.round or ""), row.reply, str(row.bytes), *digests, row.verdict.value)
    out.say(table)
    lost = sum(row.verdict is Verdict.NOT_RECEIVED for row in rows)
    wrong = [row for row in rows if row.verdict.is_contradiction]
    without = sorted({row.site for row in rows if row.verdict is Verdict.NO_LOG})
    out.say(f"{len(rows)} messages, {len(wrong)} contradictions, {lost} that did not arrive")
    out.result({"job": job, "messages": [_value(row) for row in rows]})
    if wrong:
        site = wrong[0].site
        raise AuditError(
            f"the logs of `{site}` and `{server.name}` contradict each other on job `{job}`",
            hint="both logs verify, so one of the two participants wrote down what did not happen",
        )
    if without:
        names = ", ".join(f"`{site}`" for site in without)
        hint = "copy its workspace into this folder's `.cloister/` and compare again"
        raise AuditError(f"there is no log of {names} here, which sent messages in job `{job}`", hint=hint)


def _newest(server: LocalLog) -> str:
    jobs = [entry.event.job for entry in entries(server.path) if entry.event.kind is Kind.RECEIVE]
    return jobs[-1] if jobs else "last"


def _value(row: Row) -> dict[str, Any]:
    return {
        "site": row.site,
        "round": row.round,
        "message": row.reply,
        "bytes": row.bytes,
        "released": row.released or None,
        "received": row.received or None,
        "verdict": row.verdict.value,
    }
