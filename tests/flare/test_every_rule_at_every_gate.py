# SPDX-License-Identifier: Apache-2.0
"""Every rule at every gate of a site where it can deny: one case let through, one refused, by that rule and its line.

The gates are the real ones: admission of a signed job under signed policies, the job process's start, the view, and the
egress gate. Only the trainer stands in memory, and the clock is set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import yaml
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace

from cloister.audit import FILE, Kind
from cloister.certificates import PrivateKey
from cloister.certificates.pem import read_certificate
from cloister.documents import Document, load, parse
from cloister.errors import DeniedError
from cloister.flare import admission, site_job
from cloister.flare.admission import Admission
from cloister.flare.admitted import Admitted
from cloister.flare.app_check import files_in
from cloister.flare.job_folder import MANIFEST, SITE_APP, files_of_job, meta_of, read_app
from cloister.flare.site_job import SiteJob
from cloister.flare.state import SiteSettings, State
from cloister.governance.job_manifest import sign_manifest
from cloister.jobs import Job
from cloister.jobs.manifest import Manifest
from cloister.policies import RULES, Effect, Leaving, Policies, Policy, Request, Submitter, ViewFacts
from cloister.policies.check import Check
from cloister.repository import SiteDocuments
from cloister.sandbox import SandboxMode
from cloister.silos import Silo
from tests.federation_folder import (
    PERSON,
    SITES,
    Tree,
    change_document,
    merged,
    records_of,
    write_document,
    write_records,
)
from tests.flare.gate_table import DENIALS, EXCUSES, NOON, NOT_COUNTED, NOTHING_LEAVES, POINTS, TABLE, Denial, Point
from tests.flare.signed_jobs import META, SITE, job_id, job_of, provisioned, sign, zip_of
from tests.flare.site_folder import tiny_base_model
from tests.flare.trainer_in_memory import TrainerInMemory
from tests.flare.wire_form import trained
from tests.signed_policies import sign_policies

_SUBMITTER = Submitter(PERSON, "institute", "data-scientist")
_RULE_NAMED = re.compile(r"(?:^(?:denied: )?|; )`([a-z-]+)`: ")


@dataclass
class Site:
    """A provisioned site, and the one person who signs jobs for it."""

    root: Path
    policy: Tree
    silo: Tree
    key: PrivateKey
    version: int = 1
    let_through: list[tuple[Denial, Point]] = field(default_factory=list)

    @property
    def workspace(self) -> Path:
        return State(self.root).site(SITE)

    def write_records(self, *, naming: bool) -> None:
        """The site's notes; with one more in which somebody is named, if so asked."""
        named = [("write to jo.doe@example.org about the itching skin", "routine")] if naming else []
        write_records(self.root / "records" / f"{SITE}.csv", [*records_of(SITE), *named])

    def write(self, policy: Tree, silo: Tree) -> None:
        """Put changed documents in force, under a higher version that the officer signed."""
        self.version += 1
        write_document(self.root, f"policies/{SITE}.yaml", merged(self.policy, {**policy, "version": self.version}))
        write_document(self.root, f"silos/{SITE}.yaml", merged(self.silo, silo))
        sign_policies(self.root, SITE)

    def app(self, case: Denial, moment: datetime) -> tuple[dict[str, Any], bytes]:
        """What the server says of the signed job, and the site's app as a ZIP archive."""
        job = job_of(self.root, **case.job)
        files = files_of_job(job, case.brings)
        lifetime = timedelta(hours=1)
        manifest = Manifest.of(job.value, files, sites=SITES, submitter=PERSON, now=moment, lifetime=lifetime)
        certificate = read_certificate(State(self.root).person(PERSON) / "startup" / "client.crt")
        folder = self.root / "to-send" / job_id() / SITE_APP
        own = {path.removeprefix(f"{SITE_APP}/"): text for path, text in files.items() if path.startswith(SITE_APP)}
        for path, text in {**own, MANIFEST: sign_manifest(manifest, self.key, certificate)}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text)
        told = {**META, **meta_of(job.value, SITES)}
        return told, zip_of(files_in(sign(folder, self.root)))

    def decided(self, identifier: str, point: Point) -> dict[str, Any]:
        """What the audit log says of the decision on one job at ``point``."""
        written = (self.workspace / "audit" / FILE).read_text(encoding="utf-8").splitlines()
        of_job = [json.loads(line) for line in written if identifier in line]
        decisions = [event["facts"] for event in of_job if event["kind"] == Kind.DECISION.value]
        (facts,) = [facts for facts in decisions if facts["point"] == point]
        return dict(facts)

    def documents(self) -> SiteDocuments:
        """What lies there, whatever it says."""
        names = ("silos/alpha.yaml", "policies/alpha.yaml", "policies/baseline.yaml")
        silo, policy, baseline = (self.root / name for name in names)
        policies = Policies(load(policy, Policy, name=names[1]), load(baseline, Policy, name=names[2]))
        return SiteDocuments(load(silo, Silo, name=names[0]), policies)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = provisioned(tmp_path_factory.mktemp("gates"))
    model = {"sha256": tiny_base_model(root / "models" / "tiny")}
    change_document(root, "jobs/tiny-triage.yaml", {"base_model": model})
    policy, silo = (yaml.safe_load((root / folder / f"{SITE}.yaml").read_text()) for folder in ("policies", "silos"))
    policy["base_models"] = [{**policy["base_models"][0], **model}]
    silo["base_models"] = {policy["base_models"][0]["name"]: {"path": "models/tiny"}}
    return Site(root, policy, silo, PrivateKey.load(State(root).person(PERSON) / "startup" / "client.key"))


@pytest.fixture(autouse=True)
def edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no gate depends on: whether bubblewrap works on this machine, and a trainer that learns."""
    monkeypatch.setattr(admission, "missing", lambda: None)
    monkeypatch.setattr(site_job, "Trainer", TrainerInMemory)


def _moved(blob: bytes) -> bytes:
    arrays = safetensors.numpy.load(blob)
    return bytes(safetensors.numpy.save({name: array + np.float32(1) for name, array in arrays.items()}))


def _clock_of(moment: datetime) -> type[datetime]:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return moment.astimezone(tz)

    return Clock


def _ask(site: Site, case: Denial, point: Point, patch: pytest.MonkeyPatch, *, changed: bool) -> tuple[str, str]:
    """Bring a job as far as ``point``; which job it was, and how it was refused there, if it was."""
    moments = dict.fromkeys(POINTS, NOON) | ({point: NOON + case.but_later} if changed else {})
    policy, silo = merged(case.policy, case.but_policy), case.but_silo
    at_once = changed and not case.unadmitted
    site.write_records(naming=case.names_somebody)
    site.write(policy if at_once else case.policy, silo if at_once else {})
    patch.setattr(admission, "datetime", _clock_of(moments["admission"]))
    identifier, workspace = job_id(), Workspace(str(site.workspace), site_name=SITE)
    told, archive = site.app(case, moments["admission"])
    refusal = Admission().deploy(workspace, identifier, told, SITE_APP, archive, FLContext())
    app_folder = Path(workspace.get_app_dir(identifier))
    if point == "admission":
        assert app_folder.exists() is not bool(refusal), "a job that is refused is not unpacked"
        return identifier, refusal
    assert refusal == ""
    app = read_app(SITE_APP, files_in(app_folder))
    if changed and case.unadmitted:
        site.write(policy, silo)
        record = Admitted(identifier, app.digest, _SUBMITTER, site.documents(), SandboxMode.BUBBLEWRAP)
        record.write(site.workspace)
    asked = iter(POINTS[1:])
    settings, private = SiteSettings.read(site.workspace), site.workspace / identifier / "private"
    job = SiteJob.open(settings, identifier, app, private, lambda: moments[next(asked)])
    try:
        return identifier, _refusal_in_process(job, point)
    finally:
        job.close()


def _refusal_in_process(job: SiteJob, point: Point) -> str:
    gate: Callable[[], object] = job.prepare
    if point == "egress":
        job.prepare()
        TrainerInMemory.last.answer = _moved
        gate = lambda: trained(job)  # noqa: E731 - a gate is one call
    try:
        gate()
    except DeniedError as error:
        assert job.egress.sent == 0
        assert point == "egress" or not (job.private / "view").exists()
        return str(error)
    return ""


@pytest.mark.parametrize(("rule", "point"), DENIALS, ids=[" at ".join(each) for each in DENIALS])
def test_a_rule_lets_one_case_through_and_refuses_the_other(
    site: Site, rule: str, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = DENIALS[rule, point]
    unchanged = replace(case, line="", but_policy={}, but_silo={}, but_later=timedelta(), unadmitted=False)
    if (unchanged, point) not in site.let_through:  # rules share some of these cases
        identifier, refusal = _ask(site, unchanged, point, monkeypatch, changed=False)
        assert refusal == ""
        assert site.decided(identifier, point)["effect"] == "allow"
        site.let_through.append((unchanged, point))

    identifier, refusal = _ask(site, case, point, monkeypatch, changed=True)
    assert set(_RULE_NAMED.findall(refusal)) == {rule}, refusal
    assert re.search(rf"\({re.escape(_place(site, case.line))}[;)]", refusal), refusal
    facts = site.decided(identifier, point)
    assert facts["effect"] == "deny"
    # Whether a policy is within its dates is asked before there is a decision with rules in it.
    assert facts["rules"] == ([] if (rule, point) == ("validity", "admission") else [rule])


def _place(site: Site, line: str) -> str:
    """`file:line` of a key of the policy that lies there."""
    policy = load(site.root / "policies" / f"{SITE}.yaml", Policy, name=f"policies/{SITE}.yaml")
    path = tuple(int(part) if part.isdecimal() else part for part in line.split(".")) if line else ()
    assert path == () or path in policy.source.lines
    return policy.source.at(*path)


def test_a_silo_document_of_another_site_admits_no_job_before_any_rule_is_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = replace(DENIALS["silo", "start"], unadmitted=False)
    _, refusal = _ask(site, case, "admission", monkeypatch, changed=True)
    assert "silos/alpha.yaml: is named otherwise than the `beta` it holds" in refusal


# --- the table itself


def test_the_table_holds_every_rule_at_every_point() -> None:
    assert list(TABLE) == [rule.id for rule in RULES]
    assert all(tuple(row) == POINTS for row in TABLE.values())


@pytest.mark.parametrize(("rule", "point"), EXCUSES, ids=[" at ".join(each) for each in EXCUSES])
def test_where_the_table_says_never_the_rule_says_nothing_new(site: Site, rule: str, point: Point) -> None:
    """With the very policy that denies elsewhere, and long after it: nothing to say yet, or what admission said."""
    excuse = EXCUSES[rule, point]
    judge = next(each for each in RULES if each.id == rule)
    for case in (case for (name, _), case in DENIALS.items() if name == rule):
        for change in ({}, case.but_policy):
            facts = _facts_at(point)
            answer = _effects(site, rule, case, change, NOON + timedelta(days=1000), **facts)
            if excuse in (NOT_COUNTED, NOTHING_LEAVES):
                assert answer == {Effect.NOT_APPLICABLE}
            else:
                assert not judge.waivable, "a waiver may end between two gates"
                assert answer == _effects(site, rule, case, change, NOON)


def _facts_at(point: Point) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if point in ("view", "egress"):
        known["view"] = ViewFacts(1, {"urgent": 1})
    if point == "egress":
        known["leaving"] = Leaving(10**12, 10**12, 1e9, {"accuracy": 0.5}, ("adapter", "head"))
    return known


def _effects(site: Site, rule: str, case: Denial, change: Tree, now: datetime, **facts: Any) -> set[Effect]:
    tree = merged(site.policy, merged(case.policy, change))
    policy: Document[Policy] = parse(yaml.safe_dump(tree).encode(), Policy, name="policies/alpha.yaml")
    job: Document[Job] = job_of(site.root, **case.job)
    request = Request(SITE, _SUBMITTER, job, site.documents().silo, **facts)
    judge = next(each.judge for each in RULES if each.id == rule)
    return {outcome.effect for outcome in judge(Check(rule, request, policy, of_baseline=False, now=now))}
