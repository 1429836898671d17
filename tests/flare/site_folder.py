# SPDX-License-Identifier: Apache-2.0
"""A site with documents, records and a base model of a few bytes, and a job that it admitted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from cloister.documents import Document
from cloister.files import private_folder, sha256_of
from cloister.flare.admitted import Admitted
from cloister.flare.exchange import Prepared
from cloister.flare.job_folder import MANIFEST, SITE_APP, App, files_of_job, read_app
from cloister.flare.site_job import SiteJob
from cloister.flare.state import SiteSettings, State
from cloister.jobs import Code, Job
from cloister.policies import Submitter
from cloister.repository import load_site
from cloister.sandbox import SandboxMode
from tests.federation_folder import PERSON, fix_splits, make_federation, merged
from tests.flare.signed_jobs import authority_file, job_id, job_of, roster_in_force

SITE = "alpha"
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def tiny_base_model(folder: Path) -> str:
    """Write what the header of a very small BERT holds; returns the SHA-256 of its tensors' file."""
    folder.mkdir(parents=True, exist_ok=True)
    layer = "encoder.layer.0.attention.self"
    tensors = {f"{layer}.{name}.weight": np.zeros((4, 4), np.float32) for name in ("query", "value")}
    content = bytes(save(tensors))
    (folder / "model.safetensors").write_bytes(content)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 4}))
    return sha256_of(content)


def make_site(
    root: Path,
    *,
    records: list[tuple[str, str]] | None = None,
    job: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
    silo: Mapping[str, Any] | None = None,
    baseline: Mapping[str, Any] | None = None,
) -> Path:
    """A federation's folder whose base model is the tiny one; every piece can be changed, as in `make_federation`."""
    sha256 = tiny_base_model(root / "models" / "tiny")
    model = {"name": "all-minilm-l6-v2", "sha256": sha256, "licence": "apache-2.0"}
    sites = None if records is None else {SITE: records, "beta": records, "gamma": records}
    return make_federation(
        root,
        sites=sites,
        job=merged({"base_model": model}, job),
        policy=merged({"base_models": [model]}, policy),
        silo=merged({"base_models": {"all-minilm-l6-v2": {"path": "models/tiny"}}}, silo),
        baseline=baseline,
    )


def settings_of(root: Path) -> SiteSettings:
    """The settings of the site, written where its processes look for them."""
    state = State(root)
    private_folder(state.folder)
    workspace = private_folder(state.site(SITE))
    settings = SiteSettings(SITE, root, workspace, state.folder)
    shutil.copy(authority_file(), private_folder(workspace / "startup") / "rootCA.pem")
    shutil.copy(roster_in_force(), private_folder(workspace / "trust") / "roster.json")
    settings.write(private_folder(workspace / "local"))
    fix_splits(root, [SITE])
    return settings


def app_of(document: Document[Job], code: Code | None = None) -> App:
    """A site's app as it is after admission, which is where manifests are verified: this one's says nothing."""
    prefix = f"{SITE_APP}/"
    files = {
        path.removeprefix(prefix): content for path, content in files_of_job(document, code).items() if prefix in path
    }
    return read_app(SITE_APP, files | {MANIFEST: b"{}"})


def admitted_job(
    root: Path,
    document: Document[Job] | None = None,
    *,
    sandbox: SandboxMode = SandboxMode.BUBBLEWRAP,
    code: Code | None = None,
) -> tuple[SiteSettings, str, App]:
    """A job that the site has let in: settings, identifier, app."""
    settings, identifier = settings_of(root), job_id()
    app = app_of(document or job_of(root), code)
    submitter = Submitter(PERSON, "institute", "data-scientist")
    Admitted(identifier, app.digest, submitter, load_site(root, SITE), sandbox).write(settings.workspace)
    return settings, identifier, app


def open_job(root: Path, document: Document[Job] | None = None, **others: Any) -> SiteJob:
    """The admitted job, opened; its private folder is `private` below the site's workspace."""
    settings, identifier, app = admitted_job(root, document, **others)
    return SiteJob.open(settings, identifier, app, settings.workspace / "private", lambda: NOW)


def prepare(root: Path) -> tuple[SiteJob, Prepared]:
    """The admitted job, prepared, and what the site announced."""
    job = open_job(root)
    return job, job.prepare()


def view(job: SiteJob) -> Path:
    """Where the job's view is written."""
    return job.private / "view"
