# SPDX-License-Identifier: Apache-2.0
"""What the server says of a job, and why one that ended did not complete."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvflare.apis.job_def import RunStatus
from nvflare.private.defs import ERROR_MSG_PREFIX

from cloister.errors import DeniedError, JobError
from cloister.flare.controller import RESULT
from cloister.flare.grouped_reasons import grouped

_FINISHED = "FINISHED"
_DEPLOYED = "OK"


@dataclass(frozen=True)
class JobView:
    """What the server says of a job.

    Attributes:
        job_id: NVFlare's identifier.
        name: the job's.
        status: NVFlare's word.
        submitter: who submitted it.
        submitted: when, ISO 8601.
        refusals: sites that did not admit it, with their reasons.
        progress: see `cloister.flare.rounds.Rounds.progress`; empty where the job's process does not run.
    """

    job_id: str
    name: str
    status: str
    submitter: str = ""
    submitted: str = ""
    refusals: dict[str, str] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status.startswith(_FINISHED)

    @property
    def completed(self) -> bool:
        """Whether it ended as it should."""
        return self.status == str(RunStatus.FINISHED_COMPLETED.value)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "job_id": self.job_id,
            "name": self.name,
            "status": self.status,
            "submitter": self.submitter,
            "submitted": self.submitted,
            "refusals": self.refusals,
            "progress": self.progress,
        }


def view_of(meta: Any, progress: dict[str, Any] | None = None) -> JobView:
    """What NVFlare's ``meta`` says of a job, with the job's own ``progress`` while it runs."""
    values: dict[str, Any] = dict(_printable(meta))
    refusals: dict[str, str] = {}
    for line in values.get("job_deploy_detail") or []:
        site, _, said = str(line).partition(": ")
        if said and said.strip() != _DEPLOYED and site != "server":
            refusals[site] = said.removeprefix(f"{ERROR_MSG_PREFIX}: ").strip()
    return JobView(
        job_id=str(values.get("job_id", "")),
        name=str(values.get("name") or values.get("job_name") or ""),
        status=str(values.get("status", "")),
        submitter=str(values.get("submitter_name", "")),
        submitted=str(values.get("submit_time_iso") or values.get("submit_time") or ""),
        refusals=refusals,
        progress=_printable(progress or {}),
    )


def failure_of(view: JobView, location: Path | None, *, hint: str = "") -> JobError | DeniedError:
    """The error that says why a job did not complete.

    Args:
        view: what the server says of the job, with the last progress that was seen.
        location: what was downloaded of it; None where nothing could be.
        hint: where more is to be learned.
    """
    if view.refusals and view.status == RunStatus.FAILED_TO_RUN.value:
        return not_admitted(view.name, view.refusals)
    progress = _written_progress(location) or view.progress
    if reason := progress.get("reason"):
        return (DeniedError if progress.get("denied") is True else JobError)(f"job `{view.name}` failed: {reason}")
    if view.status == RunStatus.ABANDONED.value:
        return JobError(f"job `{view.name}` was lost: the server was stopped while it ran", hint="submit it again")
    if view.status == RunStatus.FINISHED_ABORTED.value:
        return JobError(f"job `{view.name}` was aborted")
    hint = hint or f"the server's administrator finds the reason in its log, .cloister/server/{view.job_id}/log.txt"
    said = view.status.removeprefix("FINISHED:").replace("_", " ").lower()
    sites = progress.get("sites", {})
    hindered = grouped((name, str(site["reason"])) for name, site in sites.items() if site.get("reason"))
    seen = "".join(f"\n  {who}: {why}" for who, why in hindered)
    message = f"job `{view.name}` ended without a result: the server's job process ended with {said}{seen}"
    return JobError(message, hint=hint)


def not_admitted(job: str, refusals: Mapping[str, str]) -> JobError | DeniedError:
    """The error that says why too few sites admitted ``job``; ``refusals`` are their reasons."""
    reasons = "\n".join(f"  {who}: {why}" for who, why in grouped(refusals.items()))
    kind = DeniedError if any("denied:" in reason for reason in refusals.values()) else JobError
    return kind(f"job `{job}` was not admitted by enough sites\n{reasons}")


def _written_progress(location: Path | None) -> dict[str, Any]:
    """What the server's job process wrote when it failed; empty where it wrote nothing that can be read."""
    for path in sorted(location.rglob(f"{RESULT}/failure.json")) if location else ():
        with contextlib.suppress(OSError, ValueError, RecursionError):
            return dict(_printable(json.loads(path.read_bytes())))
    return {}


def _printable(value: Any) -> Any:
    """``value`` without what a terminal would obey; a server may have put anything into it."""
    if isinstance(value, str):
        return "".join(character if character.isprintable() else " " for character in value)
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list) else value
