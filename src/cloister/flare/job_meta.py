# SPDX-License-Identifier: Apache-2.0
"""What a server says of a job beside its app: NVFlare's meta, which nobody signs, so each word of it is checked.

NVFlare acts on the meta: by it people may stop a job and fetch its result, a job goes on with few sites, gets another
privacy scope, or is started from an image. A site therefore takes it only where it says

1. of the job what follows from document and manifest (`meta_of`), and of its submitter what its signature says;
2. under the keys that NVFlare's server writes for itself whatever it likes: nothing at a site reads them;
3. under any other key nothing: no value, an empty one, or the study that everybody is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloister.errors import DeniedError
from cloister.flare.job_folder import meta_of
from cloister.jobs import Job
from cloister.policies import Submitter

# NVFlare 2.9's server: job_cmds.py (submit_job), job_def_manager.py (create), job_scheduler.py, job_runner.py.
_NOTES_OF_THE_SERVER = frozenset(
    {
        "data_storage_format",
        "duration",
        "job_deploy_detail",
        "job_folder_name",
        "last_schedule_time",
        "schedule_count",
        "schedule_history",
        "start_time",
        "status",
        "submit_time",
        "submit_time_iso",
    }
)
_EMPTY: tuple[object, ...] = (None, "", False, [], {})


def check_meta(meta: Mapping[str, Any], job_id: str, job: Job, sites: Iterable[str], submitter: Submitter) -> None:
    """See that ``meta`` says of a job what its manifest and its signature say, and asks for nothing else.

    Args:
        meta: as the server sends it.
        job_id: under which identifier it sends the job.
        job: the job's document.
        sites: whom the manifest asks.
        submitter: who signed the job.

    Raises:
        DeniedError: where it says otherwise, or asks for more.
    """
    told = meta_of(job, sites) | {
        "submitter_name": submitter.name,
        "submitter_org": submitter.organisation,
        "submitter_role": submitter.role,
    }
    harmless = {"study": "default", "job_id": job_id}
    for key in sorted(set(meta) - set(told) - _NOTES_OF_THE_SERVER, key=str):
        if meta[key] not in (*_EMPTY, harmless.get(key)):
            hint = "submit it with `cloister job submit`"
            raise DeniedError(f"the job's meta sets `{str(key)[:200]}`", hint=hint)
    for key, wanted in told.items():
        said = meta.get(key)
        if type(said) is not type(wanted) or said != wanted:  # to Python 1, 1.0 and True are equal
            raise DeniedError(f"the server says another `{key}` of the job than its manifest or its signature")
