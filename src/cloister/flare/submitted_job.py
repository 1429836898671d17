# SPDX-License-Identifier: Apache-2.0
"""The server's look at a job when a person sends it: the whole archive is what one manifest lists, and comes once.

Every site verifies its own part again and trusts none of this. It is here so that the submitter hears at once, and so
that nothing of a job that no site will take is kept. The sites' roster may differ from the server's; theirs counts.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from cloister.documents import load
from cloister.errors import CloisterError, DeniedError
from cloister.flare.app_check import MAXIMUM_APP_BYTES
from cloister.flare.job_folder import SERVER_APP, SIGNATURE_FILES, SITE_APP, meta_of, read_app
from cloister.governance.job_manifest import check_app, verify_manifest
from cloister.governance.replay import ReplayCache
from cloister.jobs.manifest import Manifest
from cloister.provisioning.kit import ROOT_FILE
from cloister.provisioning.pem import read_certificate
from cloister.roster import ROSTER, Federation

_META = "meta.json"
_APPS = (SERVER_APP, SITE_APP)

_log = logging.getLogger(__name__)


def refusal_of_job(root: Path, workspace: Path, name: str, job_data: bytes | str) -> str:
    """Why the server does not take a job, or nothing; a job that it takes is used up.

    Args:
        root: the folder with the server's documents.
        workspace: the server's workspace.
        name: the job's folder inside the archive.
        job_data: the archive or, as NVFlare's server gives it, the name of its file.
    """
    try:
        manifest = check_job(root, workspace, _files_in(name, job_data), datetime.now(UTC))
        ReplayCache(workspace).claim(manifest.nonce, None, datetime.now(UTC))
    except CloisterError as error:
        _log.warning("a submitted job was refused: %s", error)
        return str(error)
    except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
        _log.exception("the check of a submitted job failed")
        return "the check of the job failed; the server's administrator finds the reason in the server's log"
    return ""


def check_job(root: Path, workspace: Path, files: dict[str, bytes], now: datetime) -> Manifest:
    """The manifest of a whole job, if it counts here and now and lists exactly these files.

    Args:
        root: the folder with the server's documents.
        workspace: the server's workspace.
        files: content of each file by its path inside the job's folder.
        now: aware time.

    Raises:
        CloisterError: where it does not.
    """
    apps = {app: read_app(app, _below(app, files)) for app in _APPS}
    if beside := sorted(path for path in files if path.split("/")[0] not in {*_APPS, _META, *SIGNATURE_FILES}):
        raise DeniedError(f"the job carries `{beside[0][:200]}`", hint="submit it with `cloister job submit`")
    content = apps[SERVER_APP].manifest
    if content != apps[SITE_APP].manifest:
        raise DeniedError("the job's two apps carry two manifests", hint="submit it with `cloister job submit`")
    federation = load(root / ROSTER, Federation, name=ROSTER).value
    certificate = read_certificate(workspace / "startup" / ROOT_FILE)
    manifest = verify_manifest(content, federation, certificate, now).manifest
    for app, found in apps.items():
        check_app(manifest, app, found.files, found.job.value)
    if unknown := sorted(path for path in manifest.files if path.split("/")[0] not in _APPS):
        raise DeniedError(f"the job's manifest lists `{unknown[0][:200]}`, which is in neither app")
    if _meta_in(files) != meta_of(apps[SITE_APP].job.value, manifest.sites):
        raise DeniedError(f"the job's `{_META}` asks for something else than its manifest")
    return manifest


def _below(app: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {path.removeprefix(f"{app}/"): content for path, content in files.items() if path.startswith(f"{app}/")}


def _meta_in(files: dict[str, bytes]) -> object:
    try:
        return json.loads(files.get(_META, b""))
    except (ValueError, RecursionError) as error:
        raise DeniedError(f"the job's `{_META}` is missing or not JSON") from error


def _files_in(name: str, job_data: bytes | str) -> dict[str, bytes]:
    """Content of each file of the archive by its path inside the folder ``name``; its size was looked at before.

    Raises:
        DeniedError: where a file lies elsewhere, or two have one name.
    """
    files: dict[str, bytes] = {}
    with ZipFile(BytesIO(job_data) if isinstance(job_data, bytes) else job_data) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            path = entry.filename.removeprefix(f"{name}/")
            if path == entry.filename or path in files:
                raise DeniedError("the job's archive holds a file outside the job's folder, or two of one name")
            if entry.file_size > MAXIMUM_APP_BYTES:
                raise DeniedError("the job is larger than a job may be")
            files[path] = archive.read(entry)
    return files
