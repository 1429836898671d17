# SPDX-License-Identifier: Apache-2.0
"""Is the audit log on this machine what its participant wrote?"""

from __future__ import annotations

from cloister.audit import Report
from cloister.doctor.codes import Topic
from cloister.doctor.finding import Finding, in_order


def judge_report(report: Report) -> Finding:
    """What a verification of the log says (pure)."""
    if report.broken is not None:
        place = f"line {report.broken.line}: " if report.broken.line else ""
        message = f"the audit log is not what was written: {place}{report.broken.fault}: {report.broken.message}"
        hint = "keep the folder as it is, and tell the compliance officer; see docs/audit.md"
        return Finding("D1701", message, hint)
    words = f"{report.entries} entries in order, {report.checkpoints} checkpoints"
    return in_order(Topic.AUDIT, f"the audit log has {words}, {report.uncovered} entries after the last")
