# SPDX-License-Identifier: Apache-2.0
"""`cloister audit compare`: is what the sites released what the server received?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from cloister.audit import Kind, Row, Verdict, compare, entries
from cloister.cli.audit_log import LocalLog, local_logs
from cloister.cli.options import FolderOption, JobIdArgument, JsonOption, output
from cloister.errors import AuditError, UsageError


def compare_logs(job_id: JobIdArgument, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Set the sites' logs of one job beside the server's.

    Each message of a site must be in both, with one digest.
    """
    del as_json
    logs = local_logs(folder)
    server = next((log for log in logs if log.kind == "server"), None)
    sites = [log for log in logs if log.kind == "site"]
    if server is None or not sites:
        hint = "it needs the server's and at least one site's log; copy them into one folder's `.cloister/`"
        raise UsageError("there are not enough audit logs on this machine", hint=hint)
    job = _newest(server) if job_id == "last" else job_id
    rows = compare(job, {log.name: entries(log.path) for log in sites}, entries(server.path))
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
    out.say(f"{len(rows)} messages, {len(wrong)} contradictions, {lost} that did not arrive")
    out.result({"job": job, "messages": [_value(row) for row in rows]})
    if wrong:
        site = wrong[0].site
        raise AuditError(
            f"the logs of `{site}` and `{server.name}` contradict each other on job `{job}`",
            hint="verify both with `cloister audit verify`",
        )


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
