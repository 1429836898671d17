# SPDX-License-Identifier: Apache-2.0
"""A provisioned federation that runs no process, and jobs as its people sign and its server sends them."""

from __future__ import annotations

import atexit
import functools
import io
import json
import shutil
import tempfile
import uuid
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from nvflare.lighter.utils import sign_folders

from cloister.certificates import PrivateKey
from cloister.documents import Document, load, parse
from cloister.files import write_json
from cloister.flare.job_folder import SITE_APP, write_job_folder
from cloister.flare.job_signing import signed_manifest
from cloister.flare.kit import site_files, write_kit
from cloister.flare.state import SiteSettings, State
from cloister.jobs import Job
from cloister.provisioning import Authority, hand_out, provision, retired
from cloister.provisioning.authority import AUTHORITY_FOLDER
from cloister.repository import load_repository
from cloister.roster import ROSTER, Federation
from cloister.trust import roster_file, take_up
from tests.federation_folder import JOB, OFFICER, PERSON, SITES, fix_splits, make_federation, merged
from tests.key_pool import different_keys
from tests.signed_policies import sign_policies

SITE = "alpha"
_TO_SEND = "jobs-to-send"
_PORT = 8002
META: Mapping[str, Any] = {
    "name": JOB,
    "resource_spec": {},
    "study": "default",
    "submitter_name": PERSON,
    "submitter_org": "institute",
    "submitter_role": "data-scientist",
    "deploy_map": {"server_app": ["server"], "site_app": ["alpha", "beta", "gamma"]},
    "min_clients": 2,
    "mandatory_clients": [],
}

# People whose certificates exist; the roster that a site reads may say otherwise of them.
EXTRA = [
    {"name": "eve@bank.example", "organisation": "other-institute", "role": "data-scientist"},
    {"name": "ivan@research.example", "organisation": "institute", "role": "it-admin"},
]


@functools.cache
def _provisioned(which: str) -> Path:
    """Documents, keys and certificates of the federation called ``which``; made once a session, copied by tests."""
    folder = tempfile.mkdtemp(prefix=f"{which}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root = make_federation(Path(folder), roster={"people": [*_people(), *EXTRA], "federation": which})
    roster = load_repository(root).federation.value
    keys = iter(different_keys())
    with mock.patch.object(PrivateKey, "generate", classmethod(lambda cls, bits=3072: next(keys))):
        provision(roster, State(root).folder, datetime.now(UTC))
    sign_policies(root)
    return root


def _people() -> list[dict[str, str]]:
    return [
        {"name": PERSON, "organisation": "institute", "role": "data-scientist"},
        {"name": OFFICER, "organisation": "institute", "role": "compliance-officer"},
    ]


def meta_of_person(name: str) -> dict[str, str]:
    """What NVFlare's server says of whoever submits, when that is the person called ``name``."""
    person = next(each for each in [*_people(), *EXTRA] if each["name"] == name)
    return {"submitter_name": name, "submitter_org": person["organisation"], "submitter_role": person["role"]}


def provisioned(folder: Path, which: str = "ours") -> Path:
    """A federation of the test's own at ``folder``, with the kit of its site `alpha` written."""
    root = Path(
        shutil.copytree(_provisioned(which), folder / "federation", ignore=shutil.ignore_patterns(_TO_SEND))
    ).resolve()
    workspace = State(root).site(SITE)
    files = site_files(load_repository(root).federation.value, SITE, _PORT)
    write_json(State(root).port, {"port": _PORT})
    write_kit(workspace, files, SiteSettings(SITE, root, workspace, State(root).folder))
    fix_splits(root, [SITE])
    return root


def authority_file(which: str = "ours") -> Path:
    """The authority's certificate of the federation called ``which``."""
    return State(_provisioned(which)).site(SITE) / "startup" / "rootCA.pem"


def roster_in_force(which: str = "ours") -> Path:
    """The signed roster of the federation called ``which``."""
    return roster_file(State(_provisioned(which)).site(SITE))


def publish_roster(root: Path) -> None:
    """Have the federation's authority state what its document says now, and everybody take it up, who left as well."""
    state, federation = State(root).folder, load(root / ROSTER, Federation).value
    content = hand_out(Authority.open(state / AUTHORITY_FOLDER), federation, state, datetime.now(UTC))
    for workspace in retired(federation, state):
        take_up(workspace, content)


def officers_keys(which: str = "ours") -> Path:
    """The folder of the federation called ``which``, for whoever needs a key of it and changes nothing there."""
    return _provisioned(which)


def job_id() -> str:
    return str(uuid.uuid4())


def job_of(root: Path, **changes: Any) -> Document[Job]:
    """The federation's job, with changes laid over it, as a person would write it."""
    text = (root / "jobs" / f"{JOB}.yaml").read_text(encoding="utf-8")
    if not changes:
        return parse(text.encode(), Job, name=f"jobs/{JOB}.yaml")
    changed = yaml.safe_dump(merged(yaml.safe_load(text), changes), sort_keys=False)
    return parse(changed.encode(), Job, name=f"jobs/{JOB}.yaml")


def manifest_of(
    root: Path,
    job: Document[Job],
    person: str = PERSON,
    *,
    sites: Iterable[str] = (),
    now: datetime | None = None,
    lifetime: timedelta = timedelta(hours=1),
) -> bytes:
    """A new manifest of ``job`` with ``person``'s signature; it asks the sites that the job names, or all."""
    asked = sites or job.value.federation.sites or SITES
    return signed_manifest(job, asked, State(root).person(person), person, now or datetime.now(UTC), lifetime)


def job_folder(root: Path, job: Document[Job], person: str = PERSON) -> Path:
    """The whole of ``job`` as a folder, with ``person``'s manifest and without NVFlare's signature."""
    return write_job_folder(job, SITES, manifest_of(root, job, person), root / _TO_SEND / job_id())


def site_app(root: Path, job: Document[Job], person: str = PERSON) -> Path:
    """The same, of the site's app alone."""
    return job_folder(root, job, person) / SITE_APP


def sign(app: Path, root: Path, person: str = PERSON) -> Path:
    """Sign a folder as NVFlare's console does, with a person's own key; returns it."""
    startup = State(root).person(person) / "startup"
    sign_folders(str(app), _key((startup / "client.key").read_bytes()), str(startup / "client.crt"))
    return app


@functools.cache
def _key(pem: bytes) -> Any:
    return load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)  # validation takes longer than signing


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """A ZIP archive of ``files``."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def files_of_folder(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def signed_app(*, person: str = PERSON, of: str = "ours", **changes: Any) -> bytes:
    """The federation's job with ``changes``, signed by ``person``, as the bytes that a server sends to a site.

    Args:
        person: who signs.
        of: the federation whose keys are used.
        changes: to the job's document.
    """
    return _signed_app(person, of, json.dumps(changes))


@functools.cache
def _signed_app(person: str, of: str, changes: str) -> bytes:
    root = _provisioned(of)
    return zip_of(files_of_folder(sign(site_app(root, job_of(root, **json.loads(changes)), person), root, person)))


def repacked(app: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """``app`` with its files changed after they were signed."""
    with zipfile.ZipFile(io.BytesIO(app)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    return zip_of(files)


def raw_zip(entries: Iterator[tuple[zipfile.ZipInfo, bytes]] | list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    """A ZIP archive of entries as they are given, however odd."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for info, content in entries:
            archive.writestr(info, content)
    return stream.getvalue()


def admitted_records(root: Path) -> list[dict[str, Any]]:
    """What the site wrote down of jobs that it let in."""
    folder = State(root).site(SITE) / "admitted"
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*"))]
