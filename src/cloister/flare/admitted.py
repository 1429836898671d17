# SPDX-License-Identifier: Apache-2.0
"""What a site wrote down when it let a job in; the job's process at this site starts from this record alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cloister.documents import Document, T, parse
from cloister.errors import InvalidDocumentsError, JobError
from cloister.files import private_folder, sha256_of, sync_folder, write_json
from cloister.policies import Policies, Policy, Submitter
from cloister.repository import SiteDocuments
from cloister.sandbox import SandboxMode
from cloister.silos import Silo


@dataclass(frozen=True)
class Admitted:
    """A job that this site let in.

    Attributes:
        job_id: NVFlare's identifier.
        app: digest of the app that was let in: its manifest and every file.
        submitter: who signed it.
        site: the very documents that decided, whatever lies on the disk later.
        sandbox: how its trainer will be isolated.
    """

    job_id: str
    app: str
    submitter: Submitter
    site: SiteDocuments
    sandbox: SandboxMode

    @property
    def mode(self) -> SandboxMode:
        """How its trainer is isolated: without a sandbox only where the record and the policies in it both say so."""
        return self.sandbox if mode_of(self.site.policies) is SandboxMode.UNSAFE_NONE else SandboxMode.BUBBLEWRAP

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
            "policy": self.site.policies.digest,
            "documents": {name: _written(each) for name, each in _documents(self.site).items()},
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
            sync_folder(taken.parent)  # else a power cut could bring the record back, and the job start a second time
            value = json.loads(taken.read_text(encoding="utf-8"))
            taken.unlink()  # the audit log keeps what was decided; these would pile up
            submitter = Submitter(**value["submitter"])
            mode = SandboxMode(value["sandbox"])
            site = _site(value["documents"])
            if site.policies.digest != value["policy"]:
                raise ValueError("another policy than the one that decided")
            record = cls(value["job_id"], value["app"], submitter, site, mode)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidDocumentsError) as error:
            raise JobError("the site has no record of having admitted this job") from error
        if record.job_id != job_id:
            raise JobError("the site's record of having admitted this job is of another job")
        return record


def mode_of(policies: Policies) -> SandboxMode:
    """How a trainer is isolated under ``policies``."""
    return SandboxMode.UNSAFE_NONE if policies.sandbox == "unsafe-none" else SandboxMode.BUBBLEWRAP


def _documents(site: SiteDocuments) -> dict[str, Document[Silo] | Document[Policy]]:
    return {"silo": site.silo, "policy": site.policies.site, "baseline": site.policies.baseline}


def _written(document: Document[Silo] | Document[Policy]) -> dict[str, str]:
    text = document.text.decode("utf-8")
    return {"file": document.source.file, "sha256": sha256_of(document.text), "text": text}


def _site(value: dict[str, dict[str, str]]) -> SiteDocuments:
    policies = Policies(_read(value["policy"], Policy), _read(value["baseline"], Policy))
    return SiteDocuments(_read(value["silo"], Silo), policies)


def _read(value: dict[str, str], model: type[T]) -> Document[T]:
    text = value["text"].encode("utf-8")
    if sha256_of(text) != value["sha256"]:
        raise ValueError("another document than the one that decided")
    return parse(text, model, name=value["file"])
