# SPDX-License-Identifier: Apache-2.0
"""The server's look at a job when a person sends it: what one manifest lists and no more, from its submitter, once.

Every site verifies its own part again and trusts none of this. It is here so that the submitter hears at once, and so
that nothing of a job that no site will take is kept. The sites' roster may differ from the server's; theirs counts.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from cloister.errors import CloisterError, DeniedError
from cloister.flare.app_archive import content_of
from cloister.flare.app_check import MAXIMUM_APP_BYTES
from cloister.flare.job_folder import SERVER_APP, SIGNATURE_FILES, SITE_APP, meta_of, read_app
from cloister.governance.job_manifest import check_app, verify_manifest
from cloister.governance.replay import ReplayCache
from cloister.jobs.manifest import Manifest
from cloister.trust import trust_in_force

_META = "meta.json"
_APPS = (SERVER_APP, SITE_APP)
_HINT = "submit it with `cloister job submit`"

_log = logging.getLogger(__name__)


def refusal_of_job(workspace: Path, name: str, job_data: bytes | str, sender: str) -> str:
    """Why the server does not take a job, or nothing; a job that it takes is used up.

    NVFlare lets whoever sent a job stop it and fetch its result, so nobody may send one that another has signed.

    Args:
        workspace: the server's workspace.
        name: the job's folder inside the archive.
        job_data: the archive or, as NVFlare's server gives it, the name of its file.
        sender: whose session it comes from.
    """
    try:
        now = datetime.now(UTC)
        manifest = check_job(workspace, _files_in(name, job_data), now)
        if manifest.submitter != sender:
            raise DeniedError(f"`{manifest.submitter}` signed the job, and another person sends it", hint=_HINT)
        ReplayCache(workspace).claim(manifest.nonce, None, now)
    except CloisterError as error:
        _log.warning("a submitted job was refused: %s", error)
        return str(error)
    except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
        _log.exception("the check of a submitted job failed")
        return "the check of the job failed; the server's administrator finds the reason in the server's log"
    return ""


def check_job(workspace: Path, files: dict[str, bytes], now: datetime) -> Manifest:
    """The manifest of a whole job, if it counts here and now and lists exactly these files.

    Args:
        workspace: the server's workspace.
        files: content of each file by its path inside the job's folder.
        now: aware time.

    Raises:
        CloisterError: where it does not.
    """
    apps = {app: read_app(app, _below(app, files)) for app in _APPS}
    of_apps = tuple(f"{app}/" for app in _APPS)
    if beside := sorted(path for path in files.keys() - {_META, *SIGNATURE_FILES} if not path.startswith(of_apps)):
        raise DeniedError(f"the job carries `{beside[0][:200]}`", hint=_HINT)
    content = apps[SERVER_APP].manifest
    if content != apps[SITE_APP].manifest:
        raise DeniedError("the job's two apps carry two manifests", hint=_HINT)
    trust = trust_in_force(workspace)
    manifest = verify_manifest(content, trust.federation, trust.anchors, now).manifest
    for app, found in apps.items():
        check_app(manifest, app, found.files, found.job.value)
    if unknown := sorted(path for path in manifest.files if not path.startswith(of_apps)):
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
        DeniedError: where a file lies elsewhere, two have one name, or a folder holds none.
    """
    files: dict[str, bytes] = {}
    folders: set[str] = set()
    with ZipFile(BytesIO(job_data) if isinstance(job_data, bytes) else job_data) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                folders.add(entry.filename.removesuffix("/"))
                continue
            path = entry.filename.removeprefix(f"{name}/")
            if path == entry.filename or path in files:
                raise DeniedError("the job's archive holds a file outside the job's folder, or two of one name")
            files[path] = content_of(archive, entry, MAXIMUM_APP_BYTES)
    needed = {str(parent) for path in files for parent in PurePosixPath(f"{name}/{path}").parents}
    # NVFlare judges by folders, such as `custom`, whether anything is in them or not.
    if empty := sorted(folders - needed):
        raise DeniedError(f"the job carries an empty folder `{empty[0][:200]}`", hint=_HINT)
    return files
