# SPDX-License-Identifier: Apache-2.0
"""Admission: a site decides on a job before anything of it is unpacked into its workspace.

NVFlare calls a site's `app_deployer` with the raw bytes of the app and takes an exception for a refusal, which its
event hooks do not. Here, in this order: the bytes hold exactly what Cloister writes; one person of the roster signed
them; the site's own policy allows what the job asks for; the sandbox that the policy demands is there. Only then does
NVFlare unpack. What was decided is written down, and the job's process at this site starts from that record alone.
"""

from __future__ import annotations

import io
import json
import logging
import re
import stat
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.lighter.utils import verify_folder_signature_and_get_signers
from nvflare.private.fed.utils.app_deployer import AppDeployer

from cloister.documents import Document, load
from cloister.errors import CloisterError, DeniedError, JobError
from cloister.files import private_folder, sha256_of, write_json
from cloister.flare.app_check import MAXIMUM_APP_BYTES
from cloister.flare.job_folder import SITE_APP, read_app
from cloister.flare.reason import reason_of
from cloister.flare.state import SiteSettings
from cloister.jobs import Job
from cloister.policies import Decision, Request, Submitter, decide
from cloister.repository import load_site
from cloister.roster import ROSTER, Federation
from cloister.sandbox import SandboxMode, missing

_log = logging.getLogger(__name__)

# NVFlare's identifiers are UUIDs. The server names one, and it becomes a folder that NVFlare empties before it unpacks.
_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_MAXIMUM_ENTRIES = 100

# What a job's meta may not ask of a site, with the values that ask for nothing.
_META_THAT_ASKS_NOTHING: dict[str, tuple[Any, ...]] = {
    "scope": (None, ""),
    "study": (None, "", "default"),
    "launcher_spec": (None, {}),
    "resource_spec": (None, {}),
    "stats_pool_config": (None, {}),
    "byoc": (None, False),
    "flower_predeployed": (None, False),
    "edge_method": (None, ""),
    "custom_props": (None, {}),
}


@dataclass(frozen=True)
class Admitted:
    """A job that this site let in.

    Attributes:
        job_id: NVFlare's identifier.
        document: SHA-256 of the job's document.
        submitter: who signed it.
        policy: digest of the policy that decided.
        sandbox: how its trainer will be isolated.
    """

    job_id: str
    document: str
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
            "document": self.document,
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
            record = cls(value["job_id"], value["document"], submitter, value["policy"], mode)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JobError("the site has no record of having admitted this job") from error
        if record.job_id != job_id:
            raise JobError("the site's record of having admitted this job is of another job")
        return record


class Admission(AppDeployer):
    """NVFlare's `app_deployer` at a site."""

    def deploy(
        self,
        workspace: Workspace,
        job_id: str,
        job_meta: dict[str, Any],
        app_name: str,
        app_data: bytes,
        fl_ctx: FLContext,
    ) -> str:
        """Admit and unpack the job, or say why not."""
        try:
            place = Path(workspace.get_root_dir())
            admitted = admit(place, job_id, job_meta, app_name, app_data)
            refusal = super().deploy(workspace, job_id, job_meta, app_name, app_data, fl_ctx)
            if refusal:
                return str(refusal)
            admitted.write(place)
        except CloisterError as error:
            _log.warning("job %s was not admitted: %s", job_id, error)
            return f"{'denied' if isinstance(error, DeniedError) else 'refused'}: {reason_of(error)}"
        except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
            _log.exception("admission of job %s failed", job_id)
            return "refused: admission failed at the site; its administrator finds the reason in the site's log"
        return ""


def admit(place: Path, job_id: str, job_meta: dict[str, Any], app_name: str, app_data: bytes) -> Admitted:
    """Decide on a job.

    Args:
        place: the site's workspace.
        job_id: NVFlare's identifier.
        job_meta: what the server says about the job; only checked for what it may not ask.
        app_name: the app that the server sends to this site.
        app_data: the app as a ZIP archive.

    Raises:
        CloisterError: where the job may not run here.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise DeniedError("the server names the job by something that is not a job's identifier")
    settings = SiteSettings.read(place)
    if app_name != SITE_APP:
        raise DeniedError("the job sends this site an app that is not a site's")
    for key, harmless in _META_THAT_ASKS_NOTHING.items():
        if job_meta.get(key) not in harmless:
            raise DeniedError(f"the job's meta sets `{key}`", hint="submit it with `cloister job submit`")
    files = files_of(app_data)
    job = read_app(SITE_APP, files)
    submitter = signer_of(files, place / "startup" / "rootCA.pem", settings.root)
    decision, policy, mode = _decision(settings, job, submitter)
    if not decision.allowed:
        raise DeniedError(decision.sentence())
    if mode is SandboxMode.BUBBLEWRAP and (reason := missing()):
        raise DeniedError(f"the policy demands a sandbox, and this site has none: {reason}")
    return Admitted(job_id, sha256_of(job.text), submitter, policy, mode)


def _decision(settings: SiteSettings, job: Document[Job], submitter: Submitter) -> tuple[Decision, str, SandboxMode]:
    site = load_site(settings.root, settings.site)
    request = Request(settings.site, submitter, job, site.silo)
    unsafe = site.policies.sandbox == SandboxMode.UNSAFE_NONE.value
    mode = SandboxMode.UNSAFE_NONE if unsafe else SandboxMode.BUBBLEWRAP
    return decide(request, site.policies, datetime.now(UTC).date()), site.policies.digest, mode


def files_of(app_data: bytes) -> dict[str, bytes]:
    """Content of every file of a ZIP archive, none of it written anywhere.

    Raises:
        DeniedError: where the archive holds anything but a few small files with plain names.
    """
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(app_data)) as archive:
            if len(archive.infolist()) > _MAXIMUM_ENTRIES:
                raise DeniedError("the job is larger than a job may be")
            left = MAXIMUM_APP_BYTES
            for entry in archive.infolist():
                _check_entry(entry)
                if entry.filename in files:
                    raise DeniedError("the job carries two files of one name")
                if not entry.is_dir():
                    files[entry.filename] = _content_of(archive, entry, left)
                    left -= len(files[entry.filename])
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise DeniedError("the job is not a ZIP archive that can be read") from error
    return files


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """See that an entry is a plain file inside the app, or a folder that one of them lies in."""
    parts = entry.filename.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or {"..", "."}.intersection(parts) or "" in parts:
        raise DeniedError("the job carries a file with an unsafe name or kind")
    if "\\" in entry.filename or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DeniedError("the job carries a file with an unsafe name or kind")
    if entry.is_dir() and entry.filename != "config/":
        raise DeniedError("the job carries a folder beside `config`", hint="jobs carry a document and no code")


def _content_of(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, maximum: int) -> bytes:
    """Content of an entry; never inflates more than ``maximum`` bytes, whatever size the archive declares."""
    with archive.open(entry) as stream:
        content = stream.read(maximum + 1)
    if len(content) > maximum or entry.file_size > maximum:
        raise DeniedError("the job is larger than a job may be")
    return content


def signer_of(files: dict[str, bytes], authority: Path, root: Path) -> Submitter:
    """Who signed the files: one person, with a certificate of this federation, who is still in the roster.

    Raises:
        DeniedError: where nobody did, several did, or the roster says otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="admission-") as name:
        folder = Path(name)
        for path, content in files.items():
            private_folder((folder / path).parent)
            (folder / path).write_bytes(content)
        try:
            verified, signers = verify_folder_signature_and_get_signers(str(folder), str(authority))
        except Exception:  # noqa: BLE001 - a gate: a signature that NVFlare stumbles over is none
            verified, signers = False, []
    if not verified or len(signers) != 1:
        raise DeniedError("the job is not signed by one person of this federation")
    signed_as, organisation, role = (str(part or "") for part in signers[0])
    person = load(root / ROSTER, Federation, name=ROSTER).value.person(signed_as)
    if person is None or (person.organisation, person.role.value) != (organisation, role):
        raise DeniedError(f"`{signed_as}` signed the job and is not in the roster as `{role}` of `{organisation}`")
    return Submitter(signed_as, organisation, role)
