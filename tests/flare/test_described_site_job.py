# SPDX-License-Identifier: Apache-2.0
"""A site's part in a job on columns: what it describes may leave, and what the server makes of it can be so."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.audit import Kind, entries
from cloister.documents import load
from cloister.errors import CloisterError, DeniedError
from cloister.flare import site_job
from cloister.flare.exchange import Prepared
from cloister.flare.site_job import SiteJob
from cloister.jobs import Job, layout_of
from cloister.jobs.statistics import FeatureStatistics
from cloister.policies.check import Check, Outcomes
from tests.flare.signed_jobs import officers_keys
from tests.flare.site_folder import open_job
from tests.flare.trainer_in_memory import TrainerInMemory
from tests.signed_policies import revoke_policy
from tests.tabular_federation import STATISTICS_JOB, TABULAR_JOB, make_tabular_federation


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> type[TrainerInMemory]:
    monkeypatch.setattr(site_job, "Trainer", TrainerInMemory)
    return TrainerInMemory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tabular_federation(tmp_path / "federation").resolve()


def prepare(root: Path, name: str = TABULAR_JOB) -> tuple[SiteJob, Prepared]:
    job = open_job(root, load(root / "jobs" / f"{name}.yaml", Job, name=f"jobs/{name}.yaml"))
    return job, job.prepare()


def own(prepared: Prepared) -> FeatureStatistics:
    assert prepared.statistics is not None
    return prepared.statistics


def is_over(job: SiteJob) -> bool:
    return not (job.private / "view").exists()


def test_a_site_describes_all_records_of_its_view(root: Path) -> None:
    job, prepared = prepare(root)
    assert prepared.layout is None
    assert own(prepared).records == prepared.training + prepared.validation
    job.close()


def test_what_is_told_does_not_depend_on_the_split(root: Path) -> None:
    told = []
    for share in ("0.2", "0.4"):
        path = root / "jobs" / f"{TABULAR_JOB}.yaml"
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if "validation_share" not in line]
        place = next(index for index, line in enumerate(lines) if line.startswith("dataset:"))
        lines.insert(place + 1, f"  validation_share: {share}")
        path.write_text("\n".join(lines), encoding="utf-8")
        job, prepared = prepare(root)
        told.append((prepared.training, own(prepared)))
        job.close()
    (few, one), (many, other) = told
    assert few != many
    assert one.records == other.records
    assert [each.present for each in one.features.values()] == [each.present for each in other.features.values()]
    assert one.features["ward"] == other.features["ward"]


def test_the_network_is_made_once_the_server_says_what_can_be_so(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, prepared = prepare(root)
    settled = job.settle(own(prepared))
    assert settled.layout == layout_of(job.job, statistics=own(prepared)).to_json()
    with pytest.raises(DeniedError, match="waits for no such thing"):
        job.settle(own(prepared))  # a second time
    assert is_over(job)


@pytest.mark.parametrize("changes", [{"records": 1}, {"features": {}}])
def test_what_cannot_be_so_ends_the_job_here(
    root: Path, trainer: type[TrainerInMemory], changes: dict[str, object]
) -> None:
    job, prepared = prepare(root)
    with pytest.raises(DeniedError, match="cannot be so"):
        job.settle(own(prepared).model_copy(update=changes))
    assert is_over(job)


def test_a_mean_that_no_other_site_explains_ends_the_job_here(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, prepared = prepare(root)
    age = own(prepared).features["age"].model_copy(update={"mean": 1e6})
    with pytest.raises(DeniedError, match="cannot be so"):
        job.settle(own(prepared).model_copy(update={"features": {**own(prepared).features, "age": age}}))
    assert is_over(job)


def test_a_job_that_trains_nothing_is_settled_by_nobody(root: Path) -> None:
    job, prepared = prepare(root, STATISTICS_JOB)
    with pytest.raises(DeniedError, match="waits for no such thing"):
        job.settle(own(prepared))
    assert is_over(job)


def test_a_policy_revoked_meanwhile_starts_no_trainer(root: Path, trainer: type[TrainerInMemory]) -> None:
    job, prepared = prepare(root)
    revoke_policy(root, "alpha", keys=officers_keys())
    with pytest.raises(CloisterError, match="revoked"):
        job.settle(own(prepared))
    assert is_over(job)


def test_a_check_of_the_servers_word_that_fails_ends_the_job_here(
    root: Path, trainer: type[TrainerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, prepared = prepare(root)

    def fails(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(site_job, "covers", fails)
    with pytest.raises(ZeroDivisionError):
        job.settle(own(prepared))
    assert is_over(job)


def test_a_rule_that_fails_where_a_description_would_leave_denies(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decide = importlib.import_module("cloister.policies.decide")
    (statistics,) = (rule for rule in decide.RULES if rule.id == "statistics")

    def judge(check: Check) -> Outcomes:
        if check.request.leaving is not None:
            raise ZeroDivisionError
        return statistics.judge(check)  # type: ignore[no-any-return]

    broken = replace(statistics, judge=judge)
    monkeypatch.setattr(decide, "RULES", tuple(broken if rule is statistics else rule for rule in decide.RULES))
    job = open_job(root, load(root / "jobs" / f"{TABULAR_JOB}.yaml", Job, name="job.yaml"))
    with pytest.raises(DeniedError, match="the rule failed: ZeroDivisionError"):
        job.prepare()
    assert is_over(job)


def test_a_description_is_decided_and_counted_in_bytes(root: Path) -> None:
    job, prepared = prepare(root)
    decisions = [entry.event.facts for entry in entries(job.log.path) if entry.event.kind is Kind.DECISION]
    assert [facts["point"] for facts in decisions] == ["start", "view", "egress"]
    assert job.egress.sent == len(own(prepared).model_dump_json().encode())
    job.close()
