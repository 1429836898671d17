# SPDX-License-Identifier: Apache-2.0
"""What a site wrote down when it let a job in; the job's process at this site starts from this record alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import JobError
from cloister.files import private_folder, write_json
from cloister.policies import Submitter
from cloister.sandbox import SandboxMode


@dataclass(frozen=True)
class Admitted:
    """A job that this site let in.

    Attributes:
        job_id: NVFlare's identifier.
        app: digest of the app that was let in: its manifest and every file.
        submitter: who signed it.
        policy: digest of the policy that decided.
        sandbox: how its trainer will be isolated.
    """

    job_id: str
    app: str
    submitter: Submitter
    policy: str
    sandbox: SandboxMode

    def write(self, workspace: Path) -> None:
        """Write the record where the job's process looks for it."""
        folder = private_folder(workspace / "admitted")
        submitter = {
            "name": self.submitter.name,
            "organisation": self.submitter.organisation,
            "role": self.submitter.role,
        }
        value = {
            "job_id": self.job_id,
            "app": self.app,
            "submitter": submitter,
            "policy": self.policy,
            "sandbox": self.sandbox.value,
        }
        write_json(folder / f"{self.job_id}.json", value)

    @classmethod
    def take(cls, workspace: Path, job_id: str) -> Admitted:
        """Take the record of ``job_id``; it is there for one start of the job and no more.

        Raises:
            JobError: where there is none, or it was taken before.
        """
        written = workspace / "admitted" / f"{job_id}.json"
        try:
            taken = written.rename(written.with_suffix(".taken"))
            value = json.loads(taken.read_text(encoding="utf-8"))
            submitter = Submitter(**value["submitter"])
            mode = SandboxMode(value["sandbox"])
            record = cls(value["job_id"], value["app"], submitter, value["policy"], mode)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JobError("the site has no record of having admitted this job") from error
        if record.job_id != job_id:
            raise JobError("the site's record of having admitted this job is of another job")
        return record
