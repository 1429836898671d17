# SPDX-License-Identifier: Apache-2.0
"""What the server reads of a job when a person sends it: a small archive, JSON, and what the sender's manifest lists.

NVFlare also reads HOCON and OmegaConf, which include files, fetch addresses and fill in environment variables of the
machine that reads them, and shows the outcome to the person. It unpacks an archive however large it becomes.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from contextvars import ContextVar
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from nvflare.fuel.hci.conn import Connection
from nvflare.fuel.hci.server.constants import ConnProps
from nvflare.fuel.utils.config import ConfigFormat
from nvflare.private.fed.server.job_cmds import JobCommandModule
from nvflare.private.fed.server.job_meta_validator import JobMetaValidator

from cloister.flare.app_check import MAXIMUM_APP_BYTES
from cloister.flare.submitted_job import refusal_of_job

_MAXIMUM_JOB_BYTES = 2 * MAXIMUM_APP_BYTES + (1 << 20)  # two apps and the meta
_MAXIMUM_ENTRIES = 100

_sender: ContextVar[str] = ContextVar("sender", default="")  # name of whose session a job is just coming from


def read_json_only() -> None:
    """Have NVFlare look for configuration in files of JSON only."""
    formats = OrderedDict({".json": ConfigFormat.JSON})
    ConfigFormat.config_ext_formats = classmethod(lambda _cls: formats)


def limit_submissions(workspace: Path) -> None:
    """Have NVFlare's server refuse a large archive before it reads anything in it, and then what nobody signed whole.

    Args:
        workspace: the server's workspace.
    """
    validate, submit = JobMetaValidator.validate, JobCommandModule.submit_job

    def submitted(self: JobCommandModule, conn: Connection, args: list[str]) -> None:
        token = _sender.set(
            str(conn.get_prop(ConnProps.USER_NAME, ""))
        )  # NVFlare's validator is not told whose job it is
        try:
            submit(self, conn, args)
        finally:
            _sender.reset(token)

    def checked(self: JobMetaValidator, job_name: str, job_data: bytes | str) -> tuple[bool, str, dict[str, Any]]:
        if refusal := refusal_of(job_data):
            outcome: tuple[bool, str, dict[str, Any]] = (False, refusal, {})
        else:
            outcome = validate(self, job_name, job_data)
            if outcome[0] and (refusal := refusal_of_job(workspace, job_name, job_data, _sender.get())):
                outcome = (False, refusal, {})
        if not outcome[0] and isinstance(job_data, str):
            with contextlib.suppress(OSError):  # NVFlare keeps what was refused, for ever
                Path(job_data).unlink()
        return outcome

    JobMetaValidator.validate, JobCommandModule.submit_job = checked, submitted


def refusal_of(job_data: bytes | str) -> str:
    """Why an archive is not looked into, or nothing.

    Args:
        job_data: the archive or, as NVFlare's server gives it, the name of its file.
    """
    try:
        with ZipFile(BytesIO(job_data) if isinstance(job_data, bytes) else job_data) as archive:
            entries = archive.infolist()
    except (BadZipFile, NotImplementedError, ValueError, OSError):
        return "the job is not a ZIP archive that can be read"
    if any(entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for entry in entries):
        return "the job is compressed in a way that jobs are not"  # and that is inflated all at once
    if len(entries) > _MAXIMUM_ENTRIES or sum(entry.file_size for entry in entries) > _MAXIMUM_JOB_BYTES:
        return "the job is larger than a job may be"
    return ""
