# SPDX-License-Identifier: Apache-2.0
"""Admission: a site decides on a job before anything of it is unpacked into its workspace.

NVFlare calls a site's `app_deployer` with the raw bytes of the app and takes an exception for a refusal, which its
event hooks do not. Here, in this order: the site's configuration is what Cloister wrote; the bytes hold exactly what
Cloister writes; one person of the roster signed them; the same person's manifest counts here and now, and lists these
files and this site; the server says no more of the job than that; it was not used before; the site's own policy is in
force and allows what the job asks for; the sandbox that the policy demands is there. Only then does NVFlare unpack.
What was decided is written down, and the job's process here starts from that record alone.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.lighter.utils import verify_folder_signature_and_get_signers
from nvflare.private.fed.utils.app_deployer import AppDeployer

from cloister.audit import Fact, Kind
from cloister.certificates import pem
from cloister.errors import CloisterError, DeniedError
from cloister.files import private_folder, sha256_of
from cloister.flare.admitted import Admitted, mode_of
from cloister.flare.app_archive import files_of
from cloister.flare.audit_log import facts_of_decision, log_of_site, record_policy, sentence
from cloister.flare.job_folder import SITE_APP, App, read_app
from cloister.flare.job_meta import check_meta
from cloister.flare.kit import check_kit_in_use
from cloister.flare.reason import reason_of
from cloister.flare.state import SiteSettings
from cloister.governance.in_force import policy_in_force
from cloister.governance.job_manifest import check_app, verify_manifest
from cloister.governance.policy_versions import PolicyVersions
from cloister.governance.replay import ReplayCache
from cloister.jobs.manifest import Manifest
from cloister.policies import Request, Submitter, decide
from cloister.repository import SiteDocuments
from cloister.sandbox import SandboxMode, missing
from cloister.trust import Trust, trust_in_force

_log = logging.getLogger(__name__)

# NVFlare's identifiers are UUIDs. The server names one, and it becomes a folder that NVFlare empties before it unpacks.
_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
        """Admit and unpack the job, or say why not; a decision that cannot be recorded is a refusal."""
        known: dict[str, Fact] = {"point": "admission"}
        try:
            place = Path(workspace.get_root_dir())
            admitted = admit(place, job_id, job_meta, app_name, app_data, known)
            log_of_site(SiteSettings.read(place)).append(Kind.DECISION, known, job=job_id)
            refusal = super().deploy(workspace, job_id, job_meta, app_name, app_data, fl_ctx)
            if refusal:
                _record_refusal(workspace, job_id, known, str(refusal))
                return str(refusal)
            admitted.write(place)
        except CloisterError as error:
            _log.warning("job %s was not admitted: %s", job_id, error)
            _record_refusal(workspace, job_id, known, reason_of(error))
            return f"{'denied' if isinstance(error, DeniedError) else 'refused'}: {reason_of(error)}"
        except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
            _log.exception("admission of job %s failed", job_id)
            _record_refusal(workspace, job_id, known, "admission failed")
            return "refused: admission failed at the site; its administrator finds the reason in the site's log"
        return ""


def _record_refusal(workspace: Workspace, job_id: str, known: Mapping[str, Fact], reason: str) -> None:
    """Record that the job was refused, and why; where even that fails it is refused all the same."""
    try:
        settings = SiteSettings.at(Path(workspace.get_root_dir()))  # whatever its file says now
        facts = {"rules": (), **known, "effect": "deny", "reason": sentence(reason)}
        job = job_id if _JOB_ID.fullmatch(job_id) else ""
        log_of_site(settings).append(Kind.DECISION, facts, job=job)
    except Exception:  # noqa: BLE001 - a gate that has denied already
        _log.exception("the refusal of job %s could not be recorded", job_id)


def admit(
    place: Path,
    job_id: str,
    job_meta: dict[str, Any],
    app_name: str,
    app_data: bytes,
    known: dict[str, Fact] | None = None,
) -> Admitted:
    """Decide on a job.

    Args:
        place: the site's workspace.
        job_id: NVFlare's identifier.
        job_meta: what the server says about the job.
        app_name: the app that the server sends to this site.
        app_data: the app as a ZIP archive.
        known: takes what is to be recorded of the decision, as far as it gets.

    Raises:
        CloisterError: where the job may not run here.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise DeniedError("the server names the job by something that is not a job's identifier")
    known = {} if known is None else known
    settings, now = SiteSettings.read(place), datetime.now(UTC)
    trust = trust_in_force(place)
    federation = trust.federation
    check_kit_in_use(settings, federation)
    check_fresh(trust, now)
    if app_name != SITE_APP:
        raise DeniedError("the job sends this site an app that is not a site's")
    files = files_of(app_data)
    app = read_app(SITE_APP, files)
    submitter = file_signer_of(files, trust)
    known |= {"submitter": submitter.name, "organisation": submitter.organisation, "role": submitter.role}
    known |= {"document": sha256_of(app.job.text)}
    if app.code is not None:
        known |= {"code": app.code.digest}
    manifest = _manifest(app, submitter, settings.site, trust, now)
    check_meta(job_meta, job_id, app.job.value, manifest.sites, submitter)
    ReplayCache(place).claim(manifest.nonce, job_id, now)
    versions = PolicyVersions(settings.workspace)
    in_force = policy_in_force(settings.root, settings.site, federation, trust.anchors, versions, now, take_up=True)
    record_policy(log_of_site(settings), in_force)
    site = in_force.site
    decision = decide(_request(settings.site, app, submitter, site), site.policies, now)
    known |= {"policy": site.policies.digest, **facts_of_decision(decision)}
    if not decision.allowed:
        raise DeniedError(decision.sentence())
    mode = mode_of(site.policies)
    if mode is SandboxMode.BUBBLEWRAP and (reason := missing()):
        raise DeniedError(f"the policy demands a sandbox, and this site has none: {reason}")
    return Admitted(job_id, app.digest, submitter, site, mode)


def check_fresh(trust: Trust, now: datetime) -> None:
    """See that the roster in force is one under which a job may be admitted.

    Raises:
        DeniedError: where it is stale: somebody may be keeping from the site whom the authority has revoked since.
    """
    if trust.is_stale(now):
        message = f"the site's roster, version {trust.version}, is stale since {trust.next_update:%Y-%m-%d %H:%M} UTC"
        raise DeniedError(message, hint="the authority signs a newer one: cloister authority publish")


def _manifest(app: App, submitter: Submitter, site: str, trust: Trust, now: datetime) -> Manifest:
    """The app's manifest, if it counts here and now, is the submitter's, lists the app's files and asks ``site``.

    Raises:
        CloisterError: where it does not, or cannot be judged.
    """
    signed = verify_manifest(app.manifest, trust.federation, trust.anchors, now)
    manifest = signed.manifest
    if signed.signer.name != submitter.name:
        raise DeniedError(f"`{submitter.name}` signed the job's files, and `{signed.signer.name}` its manifest")
    check_app(manifest, SITE_APP, app.files, app.job.value)
    if site not in manifest.sites:
        raise DeniedError(f"the job's manifest does not ask `{site}`", hint="name the site in `federation.sites`")
    return manifest


def _request(site: str, app: App, submitter: Submitter, documents: SiteDocuments) -> Request:
    code = None if app.code is None else app.code.digest
    return Request(site, submitter, app.job, documents.silo, code)


def file_signer_of(files: dict[str, bytes], trust: Trust) -> Submitter:
    """Who NVFlare's own signatures say signed the files: one person of the roster, certified by this federation.

    NVFlare decides by this signer who submitted the job, so it must be the manifest's; docs/adr/0010 says what else the
    check adds. What the files are, the manifest says.

    Raises:
        DeniedError: where nobody did, several did, or the roster says otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="admission-") as name:
        folder = Path(name)
        for path, content in files.items():
            private_folder((folder / path).parent)
            (folder / path).write_bytes(content)
        found = {signer for root in trust.anchors.roots for signer in _signers(folder, root)}
    signers = sorted(found, key=str)
    if len(signers) != 1:
        raise DeniedError("the job is not signed by one person of this federation")
    signed_as, organisation, role = (str(part or "") for part in signers[0])
    person = trust.federation.person(signed_as)
    if person is None or (person.organisation, person.role.value) != (organisation, role):
        raise DeniedError(f"`{signed_as}` signed the job and is not in the roster as `{role}` of `{organisation}`")
    return Submitter(signed_as, organisation, role)


def _signers(folder: Path, root: x509.Certificate) -> list[tuple[str, str, str]]:
    """Who NVFlare says signed all of ``folder``, certified by ``root``; nobody where it does not verify."""
    with tempfile.TemporaryDirectory(prefix="authority-") as name:
        path = Path(name) / "rootCA.pem"  # NVFlare reads one authority from a file
        path.write_bytes(pem.certificate_pem(root))
        try:
            verified, signers = verify_folder_signature_and_get_signers(str(folder), str(path))
        except Exception:  # noqa: BLE001 - a gate: a signature that NVFlare stumbles over is none
            return []
    return [tuple(each) for each in signers] if verified else []
